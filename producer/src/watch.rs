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
use rabbit_reduce_core::message::{Answer, Ask, Outcome, SeenWorker, Status, Top};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::Depth;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// How often the screen is drawn.
const REDRAWN: Duration = Duration::from_secs(1);
/// How long what is shown beside the job may take.
const AT_ONCE: Duration = Duration::from_secs(2);
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
    let on_terminal = !quiet && io::stderr().is_terminal();
    let mut ended = None;
    for step in &steps[..=until.min(steps.len() - 1)] {
        // A screen for each: how it ended stays on the terminal's own.
        let end = if on_terminal {
            on_screen(&session, &Screen::enter(), &watch.broker.namespace, step.job).await
        } else {
            session.watch(step.job).await
        };
        let end = end.map_err(failure)?;
        session.screen.finish();
        tell(&format!("job {}: {}", step.job, report::end_text(&end, step.created_ms)));
        ended = Some(end.outcome);
    }
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
    let (began, mut rate, mut top) = (clock::instant(), Rate::default(), None);
    loop {
        let looking = look(session, job, &mut top);
        let (status, workers, waiting) = tokio::select! {
            biased;
            () = session.shutdown.graceful() => return Err(SessionError::Interrupted),
            looked = looking => looked?,
        };
        if let Some(end) = status.end {
            return Ok(end);
        }
        rate.take(status.covered_bytes, clock::since(began));
        screen.draw(&Seen {
            namespace,
            status: &status,
            rate: rate.bytes_per_second(),
            workers: &workers,
            waiting,
            blocked: session.client.broker.blocked(),
            top: top.as_ref(),
            now_ms: clock::now_ms(),
        });
        tokio::select! {
            biased;
            () = session.shutdown.graceful() => return Err(SessionError::Interrupted),
            () = tokio::time::sleep(REDRAWN) => {}
        }
    }
}

/// How a job stands, who works on it, and what waits. Keys that do not come at once stay what they were.
async fn look(
    session: &Session,
    job: JobId,
    top: &mut Option<Top>,
) -> Result<(Status, Vec<SeenWorker>, Option<Depth>), SessionError> {
    let status = status(session, job).await?;
    let quietly = |text: &str| tracing::debug!("{text}");
    let ask = |ask| session.client.ask(ask, &[], Some(AT_ONCE), &quietly);
    let workers = match ask(Ask::Workers).await {
        Ok((Answer::Workers(workers), _)) => workers,
        _ => Vec::new(),
    };
    if let Ok((Answer::Top(found), _)) = ask(Ask::Top { job, limit: KEYS }).await {
        *top = Some(found);
    }
    Ok((status, workers, session.client.broker.depth(queue::MAP).await.ok().flatten()))
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
        let lines: Vec<String> = board.lines(seen).into_iter().map(|line| format!("{CLEAR_LINE}{line}")).collect();
        self.write(&format!("{HOME}{}{CLEAR_BELOW}", lines.join("\n")));
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
