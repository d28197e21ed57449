//! Work that blocks, beside what must not: on a thread of its own, or on a simulation's bench.
//!
//! What would surprise: a simulation has one thread only. It puts a [`Bench`] there, which runs such work in the middle of the
//! thread's tasks and takes it up again where it waits.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Work on a bench.
pub type Work = Box<dyn FnOnce() + Send>;
/// What ends when such work does.
pub type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that is polled until it is ready.
pub type Awaited<'a> = dyn FnMut(&mut Context<'_>) -> Poll<()> + 'a;

/// Where a simulation has its blocking work done.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Does work, as far as it goes each time that it is polled. Dropped before its end, the work is unwound where it waits.
    pub work: fn(Work) -> Working,
    /// Called from within the work: polls until it is ready, and lets all else go on meanwhile.
    pub wait: fn(&mut Awaited<'_>),
}

thread_local! {
    static BENCH: Cell<Option<Bench>> = const { Cell::new(None) };
}

/// Has this thread do blocking work on a bench from now on, or on threads again.
pub fn simulate(bench: Option<Bench>) {
    BENCH.set(bench);
}

/// Does blocking work beside the caller; its panic comes back as an error.
///
/// # Errors
/// With what the work panicked with.
pub async fn caught<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::thread::Result<T> {
    let Some(bench) = BENCH.get() else { return on_a_thread(work).await };
    let (done, result) = oneshot::channel();
    (bench.work)(Box::new(move || drop(done.send(catch_unwind(AssertUnwindSafe(work)))))).await;
    result.await.expect("work that came to its end has a result")
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::thread::Result<T> {
    match tokio::task::spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => Ok(done),
        Err(Ok(panic)) => Err(panic),
        // Nobody aborts our work: the asynchronous runtime is ending, and whoever waits here ends with it.
        Err(Err(_cancelled)) => std::future::pending().await,
    }
}

/// Does blocking work beside the caller; its panic goes on here.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    caught(work).await.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Waits, from within blocking work, for something that is not.
///
/// # Panics
/// If the caller is no such work.
pub fn wait<F: Future>(awaited: F) -> F::Output {
    let Some(bench) = BENCH.get() else { return Handle::current().block_on(awaited) };
    let (mut awaited, mut output) = (pin!(awaited), None);
    (bench.wait)(&mut |context| awaited.as_mut().poll(context).map(|ready| output = Some(ready)));
    output.expect("a bench waits until it is ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_on_a_thread_may_wait_for_a_task_and_panic() {
        assert_eq!(
            blocking(|| wait(async {
                tokio::task::yield_now().await;
                7
            }))
            .await,
            7
        );
        let panic = caught(|| panic!("at work")).await.expect_err("it panicked");
        assert_eq!(rabbit_reduce_core::skip::said(&*panic), "at work");
    }
}
