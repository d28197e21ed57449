//! The wish to stop, as a value: asked for once it means "finish what you hold", twice "now".
//!
//! It does not know what finishing means, and it never ends the process. What would surprise: a signal that was ignored
//! when the process started (`nohup`, a background job of a script) stays ignored.

use std::io;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How urgent the wish is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody wants us to stop.
    #[default]
    None,
    /// Take nothing new, finish what is held, leave everything resumable.
    Graceful,
    /// Leave at once; whatever is held comes back to others. A `main` that waits for blocking threads after this must not.
    Now,
}

/// A handle on the wish; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    urgency: Arc<watch::Sender<Urgency>>,
}

impl Shutdown {
    /// A handle that only code triggers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that SIGINT, SIGTERM and SIGHUP escalate: the first to graceful, the second to now. Call it once, within a
    /// tokio runtime, which listens until it ends.
    ///
    /// # Errors
    /// Fails if the system does not let us listen.
    pub fn on_signals() -> io::Result<Self> {
        // Unreadable where there is no /proc; then nothing counts as ignored.
        let ignored = ignored_signals(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let listen = |kind: SignalKind| {
            let bit = 1_u64 << (kind.as_raw_value() - 1);
            (ignored & bit == 0).then(|| signal(kind)).transpose()
        };
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let shutdown = Self::new();
        let escalated = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    () = next(&mut interrupt) => "SIGINT",
                    () = next(&mut terminate) => "SIGTERM",
                    () = next(&mut hangup) => "SIGHUP",
                };
                escalated.escalate();
                tracing::debug!(signal = name, urgency = ?escalated.urgency(), "asked to stop");
            }
        });
        Ok(shutdown)
    }

    /// One step further: from none to graceful, from graceful to now.
    pub fn escalate(&self) {
        let further = if self.urgency() == Urgency::None { Urgency::Graceful } else { Urgency::Now };
        self.ask(further);
    }

    /// Asks for at least this; a wish is never taken back.
    pub fn ask(&self, urgency: Urgency) {
        self.urgency.send_if_modified(|present| {
            let raised = urgency > *present;
            *present = urgency.max(*present);
            raised
        });
    }

    /// What is asked for at present.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        *self.urgency.borrow()
    }

    /// Whether to stop at all, gracefully or now.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.urgency() >= Urgency::Graceful
    }

    /// Waits until someone asks to stop, gracefully or now. Cancel safe.
    pub async fn graceful(&self) {
        self.at_least(Urgency::Graceful).await;
    }

    /// Waits until someone asks to stop now. Cancel safe.
    pub async fn now(&self) {
        self.at_least(Urgency::Now).await;
    }

    async fn at_least(&self, urgency: Urgency) {
        let reached = self.urgency.subscribe().wait_for(|present| *present >= urgency).await.is_ok();
        debug_assert!(reached, "the sender lives as long as self");
    }
}

async fn next(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// The mask of ignored signals in the text of `/proc/self/status`.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Whether writing to stdout failed because its reader left (`| head`): a quiet end. Ask it of stdout's errors only; a
/// broker's connection breaks with the same error.
#[must_use]
pub fn reader_left(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(signal: &str) {
        let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} $PPID")]).status().unwrap();
        assert!(sent.success());
    }

    #[tokio::test]
    async fn the_first_signal_is_graceful_and_the_second_means_now() {
        let shutdown = Shutdown::on_signals().unwrap();
        let clone = shutdown.clone();
        assert!(!shutdown.is_asked());
        send("TERM");
        clone.graceful().await;
        assert_eq!(shutdown.urgency(), Urgency::Graceful);
        send("TERM");
        clone.now().await;
        assert_eq!(shutdown.urgency(), Urgency::Now);
    }

    #[tokio::test]
    async fn a_wish_made_by_code_wakes_everyone_and_is_never_taken_back() {
        let shutdown = Shutdown::new();
        let waiting = shutdown.clone();
        let woken = tokio::spawn(async move { waiting.graceful().await });
        shutdown.ask(Urgency::Now);
        woken.await.unwrap();
        shutdown.ask(Urgency::Graceful);
        shutdown.ask(Urgency::None);
        shutdown.now().await;
        assert_eq!(shutdown.urgency(), Urgency::Now);
    }

    #[test]
    fn it_is_read_which_signals_are_ignored() {
        assert_eq!(ignored_signals("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000180000000\n"), 0x1001);
        assert_eq!(ignored_signals(""), 0);
    }

    #[test]
    fn a_reader_that_left_is_recognised() {
        use std::io::Write;
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        assert!(reader_left(&writer.write(b"x").unwrap_err()));
        assert!(!reader_left(&io::Error::other("else")));
    }
}
