//! A job followed to its end: on a terminal as a screen that is drawn anew each second, elsewhere as lines now and then.
//!
//! It asks and draws; what stands on the screen is `board`'s. What would surprise: the screen is the terminal's other one, so
//! what was there before comes back, and how the job ended is told below that.

mod board;

use self::board::{Board, Seen};
use crate::cli::Watch;
use crate::progress::Rate;
use crate::session::{Session, SessionError};
use crate::{failure, named, report, session, tell};
use console::Term;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{Answer, Ask, Outcome, Status};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// How often the screen is drawn.
const REDRAWN: Duration = Duration::from_secs(1);
/// Keys that are asked for; fewer where the screen is low.
const KEYS: u32 = 50;
/// The terminal's other screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// The upper left, and whatever stands behind the cursor in its line, or below it, gone.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Follows a job, and the steps before it.
///
/// # Errors
/// With the exit code that the failure means.
pub(crate) async fn execute(
    watch: Watch,
    programs: Programs,
    quiet: bool,
    shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let session = Session { patience: None, ..session(&watch.broker, programs, quiet, shutdown).await? };
    let job = named(watch.job, &watch.broker)?;
    let steps = session.steps(job).await.map_err(failure)?;
    let until = steps.iter().take_while(|step| step.job != job).count();
    let screen = (!quiet && io::stderr().is_terminal()).then(Screen::enter);
    let mut ended = None;
    let mut told = Vec::new();
    for step in &steps[..=until.min(steps.len() - 1)] {
        let end = match &screen {
            Some(screen) => on_screen(&session, screen, &watch.broker.namespace, step.job).await,
            None => session.watch(step.job).await,
        };
        let end = end.map_err(failure)?;
        session.screen.finish();
        let line = format!("job {}: {}", step.job, report::end_text(&end, step.created_ms));
        if screen.is_some() {
            told.push(line)
        } else {
            tell(&line)
        }
        ended = Some(end.outcome);
    }
    drop(screen);
    told.iter().for_each(|line| tell(line));
    Ok(match ended {
        Some(Outcome::Done) | None => Exit::Done,
        Some(Outcome::DoneWithLosses) => Exit::Losses,
        Some(Outcome::Failed(_)) => Exit::Failed,
        Some(Outcome::Cancelled) => Exit::Interrupted,
    })
}

/// Draws a job until it has ended.
async fn on_screen(
    session: &Session,
    screen: &Screen,
    namespace: &str,
    job: JobId,
) -> Result<rabbit_reduce_core::message::End, SessionError> {
    let (began, mut rate) = (clock::instant(), Rate::default());
    loop {
        let status = status(session, job).await?;
        if let Some(end) = status.end {
            return Ok(end);
        }
        rate.take(status.covered_bytes, clock::since(began));
        let workers = match session.ask(Ask::Workers, &[]).await? {
            (Answer::Workers(workers), _) => workers,
            _ => Vec::new(),
        };
        // Of a job that counts nothing there are none, which is an answer too.
        let top = match session.ask(Ask::Top { job, limit: KEYS }, &[]).await {
            Ok((Answer::Top(top), _)) => Some(top),
            Err(SessionError::Interrupted) => return Err(SessionError::Interrupted),
            _ => None,
        };
        let broker = &session.client.broker;
        let waiting = broker.depth(queue::MAP).await.ok().flatten();
        let seen = Seen {
            namespace,
            status: &status,
            rate: rate.bytes_per_second(),
            workers: &workers,
            waiting,
            blocked: broker.blocked(),
            top: top.as_ref(),
            now_ms: clock::now_ms(),
        };
        screen.draw(&seen);
        tokio::select! {
            biased;
            () = session.shutdown.graceful() => return Err(SessionError::Interrupted),
            () = tokio::time::sleep(REDRAWN) => {}
        }
    }
}

async fn status(session: &Session, job: JobId) -> Result<Status, SessionError> {
    match session.ask(Ask::Status { job, detail: false }, &[]).await? {
        (Answer::Status(status), _) if status.end.is_some() => session.status(job).await,
        (Answer::Status(status), _) => Ok(*status),
        _ => Err(rabbit_reduce_runtime::client::ClientError::Confused.into()),
    }
}

/// The terminal's other screen, until it is dropped.
struct Screen {
    terminal: Term,
}

impl Screen {
    fn enter() -> Self {
        let terminal = Term::buffered_stderr();
        let screen = Self { terminal };
        screen.write(ENTER);
        screen
    }

    fn draw(&self, seen: &Seen<'_>) {
        let (height, width) = self.terminal.size();
        let board =
            Board { width: usize::from(width), height: usize::from(height), colours: console::colors_enabled_stderr() };
        let lines = board.lines(seen);
        self.write(&format!("{HOME}{}{CLEAR_BELOW}", lines.join(&format!("{CLEAR_LINE}\n")) + CLEAR_LINE));
    }

    /// Who cannot be written to is not there to be told.
    fn write(&self, text: &str) {
        drop(self.terminal.write_str(text).and_then(|()| self.terminal.flush()));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.write(LEAVE);
    }
}
