//! The commands that this process runs, so that it leaves none of them behind, nor their folders, when it leaves.
//!
//! What would surprise: it is one for the whole process, as leaving is; and once it is left, no command runs in it any more.

use rustix::process::{Pid, Signal, kill_process_group};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long is waited for those who run a command to clean up after it.
const PATIENCE: Duration = Duration::from_secs(5);

struct AtWork {
    left: bool,
    /// How many have a command's folder.
    visits: usize,
    /// The groups of the commands that run.
    groups: Vec<Pid>,
}

static AT_WORK: Mutex<AtWork> = Mutex::new(AtWork { left: false, visits: 0, groups: Vec::new() });
static ENDED: Condvar = Condvar::new();

fn at_work() -> MutexGuard<'static, AtWork> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody with a command's folder; it is to be dropped after that.
pub(super) struct Visit(());

/// Begins a visit, unless the process is being left.
pub(super) fn visit() -> Option<Visit> {
    let mut at_work = at_work();
    (!at_work.left).then(|| {
        at_work.visits += 1;
        Visit(())
    })
}

impl Drop for Visit {
    fn drop(&mut self) {
        at_work().visits -= 1;
        ENDED.notify_all();
    }
}

/// A group that runs.
pub(super) struct Begun(Pid);

/// Knows of a group from now on. If the process is being left just now, the group ends at once.
pub(super) fn begin(group: Pid) -> Begun {
    let mut at_work = at_work();
    at_work.groups.push(group);
    if at_work.left {
        end(group);
    }
    Begun(group)
}

impl Drop for Begun {
    fn drop(&mut self) {
        at_work().groups.retain(|group| *group != self.0);
    }
}

fn end(group: Pid) {
    let _nobody_is_left = kill_process_group(group, Signal::KILL);
}

/// Ends every command that this process runs, and waits until nothing is left of them: it leaves. None runs afterwards.
pub fn leave() {
    let mut at_work = at_work();
    at_work.left = true;
    at_work.groups.iter().copied().for_each(end);
    let cleaned_up = ENDED.wait_timeout_while(at_work, PATIENCE, |at_work| at_work.visits > 0);
    drop(cleaned_up.unwrap_or_else(PoisonError::into_inner));
}
