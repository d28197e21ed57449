//! The producer: splits the input, publishes it, watches the job, prints the answer.
//!
//! Each command is a few steps of a [`session::Session`]; this file puts them in order and says which exit code they mean.

pub mod cli;
mod config_check;
pub mod dead;
pub mod doctor;
pub mod embedded;
pub mod explain;
pub mod last_job;
pub mod output;
mod plan;
pub mod progress;
pub mod report;
pub mod roles;
pub mod screen;
pub mod session;
mod set_up;
pub mod sources;
mod top;
mod watch;

use crate::cli::{Cli, Command, JobName, OutputConfig};
use crate::embedded::Embedded;
use crate::last_job::LastJob;
use crate::output::destination::{Destination, Printed};
use crate::screen::Screen;
use crate::session::{Known, Session, SessionError};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{Answer, Ask, End, Losses, Outcome, Status};
use rabbit_reduce_core::output::check_parts;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::spec::{By, MAX_CHUNKS, Mappers, SEGMENT_BYTES};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::client::{Client, ClientError, SHORT};
use rabbit_reduce_runtime::command::{Host, Permission, with_commands};
use rabbit_reduce_runtime::module::with_modules;
use rabbit_reduce_runtime::process::args::BrokerArgs;
use rabbit_reduce_runtime::process::broker::{connect, connect_and_declare, failure as broker_failure, topology};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::config::{self, Parsed};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::{self, Failure};
use rabbit_reduce_runtime::process::{complain, tell};
use rabbit_reduce_runtime::publishing::{Packing, PublishError};
use rabbit_reduce_runtime::reader::STANDARD_INPUT;
use rabbit_reduce_runtime::shown::{Shown, one_line};
use rabbit_reduce_runtime::store::temporary::TemporaryStore;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// What becomes of a job by `cancel`.
const CANCELLED: &str = "cancelled";
/// Losses that are listed of a job that failed: enough to see what is wrong.
const FAILED_LOSSES: usize = 100;

/// A producer that knows these programs, from its command line (with a name first) to its exit code.
#[must_use]
pub fn main_with(programs: Programs, line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Parsed { flags: cli, from }: Parsed<Cli> = match config::parse("producer", line) {
        Ok(parsed) => parsed,
        Err(exit) => return exit,
    };
    let printing = printing(programs.clone());
    let logs = cli.log().clone();
    match cli.into_command(&printing) {
        Ok(command) => start::run(&logs, |shutdown| execute(command, programs, logs.quiet, shutdown)),
        Err(error) => {
            complain(&one_line(&error));
            config::tell_of(from.as_deref());
            Exit::Usage.into()
        }
    }
}

/// Does what was asked for.
///
/// # Errors
/// With the exit code that the failure means.
pub async fn execute(command: Command, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Exit, Failure> {
    match command {
        Command::Run(run) => run_here(run, programs, Screen::new(quiet), shutdown).await,
        Command::Push(push) => push_out(push, programs, quiet, shutdown).await,
        Command::Plan(plan) => plan::execute(plan, programs, quiet, shutdown).await,
        Command::ConfigCheck(named) => config_check::execute(named),
        Command::Resume(resume) => take_up(resume, programs, quiet, shutdown).await,
        Command::Jobs(jobs) => {
            let session = session(&jobs.broker, programs, quiet, shutdown).await?;
            let (Answer::Jobs(found), _) = session.ask(Ask::Jobs, &[]).await.map_err(failure)? else {
                return Err(failure(ClientError::Confused.into()));
            };
            print_text(&if jobs.json {
                rabbit_reduce_runtime::standing::json::jobs_json(&found)
            } else {
                report::jobs_text(&found, clock::now_ms())
            })
        }
        Command::Status(status) => {
            let session = session(&status.broker, programs, quiet, shutdown).await?;
            let job = named(status.job, &status.broker)?;
            let steps = session.steps(job).await.map_err(failure)?;
            let found = steps.iter().find(|step| step.job == job).expect("it is one of its steps");
            let names = session.find(job).await.map(|known| source_names(&known)).unwrap_or_default();
            print_text(&if status.json {
                rabbit_reduce_runtime::standing::json::status_json(found, &steps, &names)
            } else {
                report::status_text(found, &steps, &names, clock::now_ms())
            })
        }
        Command::Watch(watch) => watch::execute(watch, programs, quiet, shutdown).await,
        Command::Explain(explain) => explain::execute(explain, programs, quiet, shutdown).await,
        Command::Top(top) => top::execute(top, programs, quiet, shutdown).await,
        Command::Doctor(doctor) => doctor::execute(doctor, shutdown).await,
        Command::Completions(shell) => print_text(&cli::completions(shell)),
        Command::Results(results) => {
            let session = session(&results.broker, programs, quiet, shutdown).await?;
            let job = named(results.job, &results.broker)?;
            let status = session.status(job).await.map_err(failure)?;
            let Some(end) = status.end else {
                let of = status.chunks.map_or_else(|| "an unknown number of".to_owned(), |chunks| chunks.to_string());
                let reason = format!("job {job} has not ended: {} of {of} chunks are counted", status.covered);
                return Err(Failure::new(Exit::Failed, format!("{reason}; see `producer status {job}`")));
            };
            let known = session.find(job).await.map_err(failure)?;
            let to = open(&results.output)?;
            conclude(&session, &known, &end, to, &results.output).await
        }
        Command::Cancel(change) => {
            change_job(change, programs, quiet, shutdown, |job| Ask::Cancel { job }, CANCELLED).await
        }
        Command::Remove(change) => {
            change_job(change, programs, quiet, shutdown, |job| Ask::Remove { job }, "removed").await
        }
        Command::Dead(dead) => dead::execute(dead, programs, quiet, shutdown).await,
        Command::SetUp(set_up) => set_up::execute(set_up, shutdown).await,
        Command::Teardown(teardown) => {
            let broker = tokio::select! {
                broker = connect(&teardown.broker) => broker?,
                () = shutdown.graceful() => return Err(failure(SessionError::Interrupted)),
            };
            broker.teardown(&topology(&teardown.broker)).await.map_err(broker_failure)?;
            tell(&format!("namespace {} is gone from the broker", teardown.broker.namespace));
            Ok(Exit::Done)
        }
    }
}

/// The programs whose results a process prints and runs none of.
fn printing(programs: Programs) -> Programs {
    with_modules(with_commands(programs, Permission::NeverAsked), None)
}

async fn run_here(run: cli::Run, programs: Programs, screen: Screen, shutdown: Shutdown) -> Result<Exit, Failure> {
    let sources = collect(&run.inputs, &screen)?;
    let to = open(&run.output)?;
    let scratch = std::env::temp_dir();
    let store = TemporaryStore::new(Some(&scratch)).map_err(|error| Failure::new(Exit::InputOutput, error))?;
    let files = Embedded::files(&store);
    let commands = Host { scratch: scratch.clone(), files: files.clone(), limits: run.commands, alone: true };
    let programs = with_commands(programs, Permission::Allowed(commands));
    let working = with_modules(programs.clone(), Some(run.modules.host(&files, run.memory_bytes, run.threads)));
    let started = Embedded::start(run.threads, run.memory_bytes, scratch, Arc::new(store), working).await;
    let mut embedded = started.map_err(|error| Failure::new(Exit::InputOutput, error))?;
    let session = Session {
        client: Client::new(Arc::clone(&embedded.broker)),
        shutdown,
        screen,
        patience: None,
        packing: Packing::None,
        // The roles here look whether modules can be run; of these it only prints the results.
        programs: with_modules(programs, None),
        as_is: run.inputs.choice.as_is,
    };
    let segment_bytes = embedded.segment_bytes;
    let mappers = Mappers { threads: run.threads, memory_bytes: run.memory_bytes };
    let work = async {
        let steps = session.submit_steps(&run.steps, By::Reference, segment_bytes, Some(mappers), sources).await?;
        session.publish(&steps[0], None).await?;
        watch_steps(&session, steps).await
    };
    let done = tokio::select! {
        done = work => done.map_err(failure),
        error = embedded.failed() => Err(Failure::new(Exit::Failed, error)),
    };
    let concluded = match done {
        Ok((known, end)) => conclude(&session, &known, &end, to, &run.output).await,
        Err(failure) => Err(failure),
    };
    tokio::select! {
        () = embedded.stop() => {}
        () = session.shutdown.now() => {}
    }
    concluded
}

async fn push_out(push: cli::Push, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Exit, Failure> {
    let screen = Screen::new(quiet);
    let sources = collect(&push.inputs, &screen)?;
    let to = open(&push.output)?;
    let session = Session {
        patience: None,
        packing: push.packing,
        as_is: push.inputs.choice.as_is,
        ..session(&push.broker, programs, quiet, shutdown).await?
    };
    let steps = session.submit_steps(&push.steps, push.by, SEGMENT_BYTES, None, sources).await.map_err(failure)?;
    let job = steps[steps.len() - 1].spec.job;
    remember(job, &push.broker, &session.screen);
    session.screen.say(&format!("job {job}"));
    drive(&session, steps, Some(None), push.detach, to, &push.output).await
}

async fn take_up(resume: cli::Resume, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Exit, Failure> {
    let session = Session {
        patience: None,
        packing: resume.packing,
        ..session(&resume.broker, programs, quiet, shutdown).await?
    };
    let job = named(resume.job, &resume.broker)?;
    let found = session.steps(job).await.map_err(failure)?;
    let mut steps = Vec::new();
    for status in &found {
        steps.push(session.find(status.job).await.map_err(failure)?);
    }
    let last = steps.len() - 1;
    let output = &resume.output;
    output.options.selection.check(&steps[last].job).map_err(|error| Failure::new(Exit::Usage, error))?;
    if output.parts.is_some() {
        check_parts(&steps[last].job).map_err(|error| Failure::new(Exit::Usage, error))?;
    }
    let to = open(&resume.output)?;
    if let Some(end) = &found[last].end {
        return conclude(&session, &steps[last], end, to, &resume.output).await;
    }
    remember(steps[last].spec.job, &resume.broker, &session.screen);
    let open = found.iter().position(|status| status.end.is_none()).unwrap_or(last);
    let (known, status) = (&steps[open], &found[open]);
    let open = if known.spec.after.is_some() {
        session.ask(Ask::Step { job: status.job }, &[]).await.map_err(failure)?;
        None
    } else {
        sources::check_again(&known.sources).map_err(|error| Failure::new(Exit::InputOutput, error))?;
        // Every number that there may be: what is beyond the last chunk is never asked for.
        let chunks = status.chunks.unwrap_or(u32::MAX - 1).min(most_chunks(known));
        Some(Some(session.uncovered(status.job, chunks).await.map_err(failure)?))
    };
    drive(&session, steps, open, resume.detach, to, &resume.output).await
}

/// Publishes these chunks of the first step, or all of them, unless nothing of it is to be published; watches all steps and
/// prints the last. Says how to go on if it is interrupted.
async fn drive(
    session: &Session,
    steps: Vec<Known>,
    chunks: Option<Option<std::collections::BTreeSet<u32>>>,
    detach: bool,
    to: Destination,
    output: &OutputConfig,
) -> Result<Exit, Failure> {
    let (first, job) = (&steps[0], steps[steps.len() - 1].spec.job);
    if let Some(only) = chunks
        && let Err(error) = session.publish(first, only).await
    {
        session.screen.finish();
        let streams = first.sources.iter().any(|source| source.file.is_none() && source.packed.is_none());
        let after = if let SessionError::Publish(PublishError::Column { .. }) = error {
            format!("no more of it can be: `producer cancel {job}`, then push with another --field")
        } else if streams {
            format!("standard input cannot be read again: `producer cancel {job}`, then push anew")
        } else {
            format!("go on with `producer resume {job}`")
        };
        tell(&format!("job {job} is not wholly published; {after}"));
        return Err(failure(error));
    }
    if detach {
        session.screen.finish();
        print_text(&format!("{job}\n"))?;
        return Ok(Exit::Done);
    }
    match watch_steps(session, steps).await {
        Ok((known, end)) => {
            let concluded = conclude(session, &known, &end, to, output).await;
            if !end.losses.is_empty() {
                session.screen.say(&format!("`producer dead ls {}` shows what is kept of it", known.spec.job));
            }
            concluded
        }
        Err(error) => {
            session.screen.finish();
            if let SessionError::Interrupted = error {
                tell(&format!("job {job} goes on without us; wait for it again with `producer resume {job}`"));
            }
            Err(failure(error))
        }
    }
}

/// Watches steps to their ends: the last of them, or the first that has no result.
async fn watch_steps(session: &Session, steps: Vec<Known>) -> Result<(Known, End), SessionError> {
    let of = steps.len();
    for (number, known) in (1..).zip(steps) {
        if of > 1 {
            session.screen.say(&format!("step {number} of {of}: {}", Shown(known.spec.program.name.as_bytes())));
        }
        let end = session.watch(known.spec.job).await?;
        if number == of || !end.outcome.has_result() {
            return Ok((known, end));
        }
    }
    unreachable!("there is a last step")
}

/// Prints the result of a job that has ended and says what is missing.
async fn conclude(
    session: &Session,
    known: &Known,
    end: &End,
    to: Destination,
    output: &OutputConfig,
) -> Result<Exit, Failure> {
    session.screen.finish();
    let exit = match &end.outcome {
        Outcome::Done => Exit::Done,
        Outcome::DoneWithLosses => Exit::Losses,
        Outcome::Failed(reason) => {
            tell_losses(&first_losses(&end.losses), known);
            return Err(Failure::new(Exit::Failed, format!("job {} failed: {reason}", known.spec.job)));
        }
        Outcome::Cancelled => {
            return Err(Failure::new(Exit::Interrupted, format!("job {} was cancelled", known.spec.job)));
        }
    };
    // Whole or not: a reader that had enough is a quiet end.
    match session.print(known, end, to, output.options.clone()).await.map_err(failure)? {
        Printed::Whole | Printed::ReaderLeft => {}
    }
    let before = tell_losses_before(session, known).await.map_err(failure)?;
    if exit == Exit::Losses {
        tell_losses(&end.losses, known);
    }
    // What is counted of every job, `status` tells; what a program counts, whoever waits for it wants to see.
    for (name, number) in end.counters.iter().filter(|(name, _)| name.contains('.')) {
        session.screen.say(&format!("counter {} {number}", Shown(name.as_bytes())));
    }
    Ok(if before { Exit::Losses } else { exit })
}

/// Tells what the steps before a job have lost; whether that is anything.
async fn tell_losses_before(session: &Session, known: &Known) -> Result<bool, SessionError> {
    let mut any = false;
    if known.spec.after.is_none() {
        return Ok(any);
    }
    let steps = session.steps(known.spec.job).await?;
    for step in steps.iter().take_while(|step| step.job != known.spec.job).filter(|step| !step.losses.is_empty()) {
        any = true;
        tell(&format!("the step before, job {}, lost some of its input:", step.job));
        tell_losses(&step.losses, &session.find(step.job).await?);
    }
    Ok(any)
}

fn first_losses(losses: &Losses) -> Losses {
    let mut first = losses.clone();
    first.chunks.truncate(FAILED_LOSSES);
    first.records.truncate(FAILED_LOSSES - first.chunks.len());
    first.keys.truncate(FAILED_LOSSES - first.chunks.len() - first.records.len());
    first
}

fn tell_losses(losses: &Losses, known: &Known) {
    let text = report::losses_text(losses, &source_names(known));
    if !text.is_empty() {
        tell(text.trim_end());
    }
}

/// Before the work, so that nobody works for a place that takes nothing.
fn open(output: &OutputConfig) -> Result<Destination, Failure> {
    let opened = match &output.parts {
        Some(folder) => Destination::open_folder(folder),
        None => Destination::open(output.path.as_deref()),
    };
    opened.map_err(|error| Failure::new(Exit::InputOutput, error))
}

async fn change_job(
    change: cli::Change,
    programs: Programs,
    quiet: bool,
    shutdown: Shutdown,
    ask: fn(JobId) -> Ask,
    done: &str,
) -> Result<Exit, Failure> {
    let session = session(&change.broker, programs, quiet, shutdown).await?;
    let job = named(change.job, &change.broker)?;
    let is_meant = |step: &Status| step.job == job || done != CANCELLED || step.end.is_none();
    let steps: Vec<JobId> = match session.steps(job).await {
        // The last comes first: none is left that waits for what does not come.
        Ok(steps) => steps.iter().rev().filter(|step| is_meant(step)).map(|step| step.job).collect(),
        // What cannot be read, or was never submitted, can go all the same.
        Err(SessionError::Client(ClientError::Unknown | ClientError::Refused(_))) => vec![job],
        Err(error) => return Err(failure(error)),
    };
    for step in steps {
        match session.ask(ask(step), &[]).await {
            Ok(_) => tell(&format!("job {step} is {done}")),
            // One beside it has ended since it was looked at.
            Err(SessionError::Client(ClientError::Refused(_))) if step != job && done == CANCELLED => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Ok(Exit::Done)
}

async fn session(args: &BrokerArgs, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Session, Failure> {
    let broker = tokio::select! {
        broker = connect_and_declare(args) => broker?,
        () = shutdown.graceful() => return Err(failure(SessionError::Interrupted)),
    };
    let (client, screen) = (Client::new(broker), Screen::new(quiet));
    let programs = printing(programs);
    Ok(Session { client, shutdown, screen, patience: Some(SHORT), packing: Packing::None, programs, as_is: false })
}

fn collect(inputs: &cli::Inputs, screen: &Screen) -> Result<Vec<rabbit_reduce_core::spec::Source>, Failure> {
    let unreadable = |error: io::Error| {
        let list = inputs.list.as_deref().unwrap_or(Path::new(STANDARD_INPUT)).display();
        Failure::new(Exit::InputOutput, format!("--files-from {list} cannot be read: {error}"))
    };
    let mut typed = inputs.typed.clone();
    match inputs.list.as_deref() {
        None => {}
        Some(list) if list.as_os_str() == STANDARD_INPUT => {
            typed.extend(sources::listed(io::stdin().lock()).map_err(unreadable)?);
        }
        Some(list) => {
            let list = File::open(list).map_err(unreadable)?;
            typed.extend(sources::listed(io::BufReader::new(list)).map_err(unreadable)?);
        }
    }
    if typed[inputs.typed.len()..].iter().any(|input| input.as_os_str() == STANDARD_INPUT) {
        let reason = "a list of --files-from names -, standard input: say that on the command line";
        return Err(Failure::new(Exit::Usage, reason));
    }
    let collected = sources::collect_chosen(&typed, &inputs.choice);
    let collected = collected.map_err(|error| Failure::new(Exit::InputOutput, error))?;
    let chosen = !inputs.choice.include.is_empty() || !inputs.choice.exclude.is_empty();
    if collected.sources.is_empty() && (chosen || inputs.list.is_some()) {
        let reason = if chosen {
            "no file is left to read: --include and --exclude leave nothing; patterns with a slash are about paths beneath the folder"
        } else {
            "no file is left to read: --files-from names none"
        };
        return Err(Failure::new(Exit::InputOutput, reason));
    }
    if collected.skipped.count > 0 {
        screen.say(&collected.skipped.to_string());
    }
    Ok(collected.sources)
}

fn named(job: JobName, broker: &BrokerArgs) -> Result<JobId, Failure> {
    match job {
        JobName::Id(job) => Ok(job),
        JobName::Last => {
            last_job(broker).and_then(|last| last.read()).map_err(|error| Failure::new(Exit::Usage, error))
        }
    }
}

fn last_job(broker: &BrokerArgs) -> Result<LastJob, last_job::LastJobError> {
    LastJob::of(&broker.namespace, |name| std::env::var_os(name))
}

fn remember(job: JobId, broker: &BrokerArgs, screen: &Screen) {
    if let Err(error) = last_job(broker).and_then(|last| last.write(job)) {
        screen.say(&format!("warning: {}", one_line(&error)));
    }
}

fn source_names(known: &Known) -> Vec<Vec<u8>> {
    known.sources.iter().map(|source| source.name.0.clone()).collect()
}

/// More chunks than the sources can give.
fn most_chunks(known: &Known) -> u32 {
    let least = known.spec.chunk_bytes / 2;
    let bytes = known.spec.sources.bytes.unwrap_or(u64::MAX);
    let most = (bytes / least.max(1)).saturating_add(2 * u64::from(known.spec.sources.count)).saturating_add(1);
    u32::try_from(most.min(MAX_CHUNKS)).expect("fewer than there are numbers")
}

fn print_text(text: &str) -> Result<Exit, Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if rabbit_reduce_runtime::process::shutdown::reader_left(&error) => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::InputOutput, error)),
    }
}

fn failure(error: SessionError) -> Failure {
    let exit = match &error {
        SessionError::Client(
            ClientError::Broker(_)
            | ClientError::Nobody
            | ClientError::Blocked(_)
            | ClientError::Waits(_)
            | ClientError::Confused,
        ) => Exit::Broker,
        SessionError::Client(ClientError::Refused(_) | ClientError::Unknown) => Exit::Failed,
        SessionError::Publish(PublishError::Broker(_)) => Exit::Broker,
        SessionError::Publish(PublishError::Input(_)) => Exit::InputOutput,
        SessionError::Spec(_) | SessionError::Order(_) => Exit::Usage,
        // A field that the input has not.
        SessionError::Publish(PublishError::Column { .. }) => Exit::Usage,
        SessionError::Output(_) | SessionError::Print(_) => Exit::InputOutput,
        SessionError::Interrupted | SessionError::Publish(PublishError::Interrupted) => Exit::Interrupted,
    };
    Failure::new(exit, error)
}
