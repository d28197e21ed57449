//! Blocking work on the one thread of a simulation: it runs on a stack of its own, and leaves it where it waits.
//!
//! So several aggregators are in the middle of their work at once, and the dice say whose next step comes first. What would
//! surprise: work whose owner is gone is unwound where it waits, as if its process had died there.

use generator::{Generator, Gn};
use rabbit_reduce_runtime::process::compute::{Awaited, Bench, Work, Working};
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Words of a fiber's stack: as much as a thread has, since it is taken only as it is used.
const STACK_WORDS: usize = (2 << 20) / size_of::<usize>();

thread_local! {
    /// Of the task whose fiber runs.
    static WAKER: RefCell<Waker> = RefCell::new(Waker::noop().clone());
}

/// Does blocking work on fibers.
pub const BENCH: Bench = Bench { work, wait };

struct Fiber(Generator<'static, (), ()>);

fn work(work: Work) -> Working {
    Box::pin(Fiber(Gn::new_opt(STACK_WORDS, work)))
}

impl Future for Fiber {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        WAKER.with_borrow_mut(|waker| waker.clone_from(context.waker()));
        self.0.resume();
        if self.0.is_done() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[expect(deprecated, reason = "the scope that is offered instead does not reach through the code of the roles")]
fn wait(ready: &mut Awaited<'_>) {
    loop {
        let waker = WAKER.with_borrow(Waker::clone);
        if ready(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
        generator::yield_with(());
    }
}
