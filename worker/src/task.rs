//! One delivery from its arrival to its settlement: map, publish, confirm, then ack, in this one place.
//!
//! What would surprise: a task of a job that is known to have ended is acked unmapped, and a message that is no task goes to the
//! dead letters as it is.

use crate::Shared;
use crate::apart::{Apart, Said, Verdict};
use crate::fate::{self, Fate};
use crate::mapping::{TaskError, While, map_task};
use crate::partials::{self, Addressed};
use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use rabbit_reduce_core::jobs::JobError;
use rabbit_reduce_core::map::{MapError, Mapped};
use rabbit_reduce_core::message::{self, Attempt};
use rabbit_reduce_core::skip::{Place, said, short_reason};
use rabbit_reduce_core::spec::PROGRAM_VERSION;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::stored::{pause_before, publish_stored};
use rabbit_reduce_runtime::broker::{BrokerError, Delivery, Receipt, Route};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::start::chain;
use rabbit_reduce_runtime::process::{clock, compute};
use rabbit_reduce_runtime::scratch::ScratchFolder;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Messages of one chunk that are published at once.
const WINDOW: usize = 16;
/// Who cannot publish for so long gives the task back.
const PATIENCE: Duration = Duration::from_secs(120);

/// One delivery.
pub(crate) struct Task {
    shared: Arc<Shared>,
    queue: &'static str,
    delivery: Delivery,
}

/// What came of an attempt.
enum Tried {
    /// All of it is published and confirmed.
    Published,
    /// The worker stops: nothing came of it.
    Stopped,
    /// The job has ended meanwhile: nobody wants it any more.
    Unwanted,
    /// It cannot be mapped here and now, for this reason, which is no fault of its own.
    NotHere(String),
    /// It failed for this reason; another attempt may succeed.
    Failed(String, bool),
    /// It failed on this record, and would again.
    FailedOn(String, Place),
    /// Who had it alone died, at this record if anybody knows.
    Crashed(String, Option<Place>),
}

impl Tried {
    fn of_failure(reason: String, may_pass: bool, record: Option<Place>) -> Self {
        match record {
            Some(place) => Self::FailedOn(reason, place),
            None => Self::Failed(reason, may_pass),
        }
    }
}

impl Task {
    pub(crate) const fn new(shared: Arc<Shared>, queue: &'static str, delivery: Delivery) -> Self {
        Self { shared, queue, delivery }
    }

    /// Settles the delivery, whatever comes.
    pub(crate) async fn settle(self) {
        let Self { shared, queue, delivery } = self;
        let Delivery { body, mut receipt, returns, .. } = delivery;
        if mistake::makes(Mistake::AckBeforeConfirm) {
            std::mem::replace(&mut receipt, Receipt::spent()).ack().await;
        }
        let handled = match message::decode::<message::Task>(&body) {
            Ok((task, input)) => handle(&shared, queue, task, &input, &body, returns).await,
            Err(error) if error.is_newer() => {
                tracing::error!(%error, "a task of a later release goes back: start workers of that release");
                shared.publish(queue::RETRY, body).await.map(|()| true)
            }
            Err(error) => {
                tracing::error!(%error, "a message that is no task goes to the dead letters");
                shared.publish(queue::DEAD, body).await.map(|()| true)
            }
        };
        settle(receipt, handled).await;
    }
}

/// Acks after success; gives back what was not handled.
async fn settle(receipt: Receipt, handled: Result<bool, BrokerError>) {
    let counted = match handled {
        Ok(true) => {
            crash_point::reached("worker.unacked");
            let counted = receipt.ack().await;
            crash_point::reached("worker.acked");
            counted
        }
        Ok(false) => receipt.give_back().await,
        Err(error) => {
            tracing::error!(%error, "cannot publish; the task goes back");
            let counted = receipt.give_back().await;
            pause_before(9).await;
            counted
        }
    };
    if !counted {
        tracing::debug!("the channel of a settled task is gone; it comes again");
    }
}

/// `true`: to be acked. `false`: to be given back.
async fn handle(
    shared: &Arc<Shared>,
    from: &'static str,
    mut task: message::Task,
    input: &Bytes,
    raw: &Bytes,
    returns: u32,
) -> Result<bool, BrokerError> {
    let (job, chunk) = (task.job, task.chunk);
    if mistake::makes(Mistake::LeaveOutOnReturn) && returns > 0 {
        task.pieces.pop();
    }
    crash_point::reached("worker.taken");
    let attempt = |reason: String| {
        let (worker, reason) = (shared.config.name.clone(), short_reason(reason));
        Attempt { worker, reason, time_ms: clock::now_ms() }
    };
    if let Err(claim) = task.check() {
        return give_up(shared, task, attempt(format!("the task is not well formed: {claim}")), raw).await;
    }
    if !shared.wants(&task) {
        return Ok(true);
    }
    if task.program.version != PROGRAM_VERSION {
        // By way of `retry`, since a return is counted, and enough of them would be taken for a failure.
        tracing::error!(%job, theirs = task.program.version, ours = PROGRAM_VERSION, "a task of another release goes back");
        return shared.publish(queue::RETRY, raw.clone()).await.map(|()| true);
    }
    if !shared.config.programs.knows(&task.program.name) {
        let program = task.program.name;
        tracing::error!(%job, program, "a task of a program that is not known here goes back: start workers that know it");
        return shared.publish(queue::RETRY, raw.clone()).await.map(|()| true);
    }
    if task.rounds > 0 {
        let waiting = message::Task { rounds: task.rounds - 1, ..task };
        let sent = send_on(shared, queue::RETRY, waiting, input, raw, attempt).await;
        crash_point::reached("worker.waiting");
        return sent;
    }
    let alone = from == queue::SUSPECT;
    let fate = if returns >= fate::SUSPICIOUS_RETURNS {
        let attempt = attempt(format!("it came back {returns} times: who had it may have died of it"));
        if alone { fate::crashed(task, attempt, None) } else { fate::returned(task, attempt) }
    } else {
        let tried = tokio::select! {
            biased;
            tried = try_task(shared, alone, &task, input, raw) => tried?,
            // Even in the middle of publishing: what is published already is dropped by whoever folds it.
            () = shared.until_unwanted(&task) => Tried::Unwanted,
        };
        match tried {
            Tried::Published => {
                shared.tally.published(&task);
                return Ok(true);
            }
            Tried::Unwanted => {
                tracing::debug!(%job, %chunk, "its job has ended; a task is given up");
                shared.tally.unwanted();
                return Ok(true);
            }
            Tried::Stopped => return Ok(false),
            Tried::NotHere(reason) => {
                tracing::error!(%job, %chunk, reason, "a task cannot be mapped here and goes back");
                return shared.publish(queue::RETRY, raw.clone()).await.map(|()| true);
            }
            Tried::Failed(reason, may_pass) => fate::failed(task, attempt(reason), may_pass),
            Tried::FailedOn(reason, place) => fate::failed_on(&task, attempt(reason), place),
            Tried::Crashed(reason, place) => fate::crashed(task, attempt(reason), place),
        }
    };
    match fate {
        Fate::Retry(next) => {
            let reason = last_reason(&next);
            tracing::warn!(%job, %chunk, attempt = next.attempt - 1, reason, "a task failed and is tried again");
            let sent = send_on(shared, queue::RETRY, *next, input, raw, attempt).await;
            shared.tally.retried();
            crash_point::reached("worker.retried");
            sent
        }
        Fate::Suspect(next) => {
            let reason = last_reason(&next);
            tracing::warn!(%job, %chunk, crashes = next.crashes, reason, "a task is set apart from all others");
            let sent = send_on(shared, queue::SUSPECT, *next, input, raw, attempt).await;
            shared.tally.set_apart();
            crash_point::reached("worker.suspected");
            sent
        }
        Fate::Dead(failure) => bury(shared, &failure, raw).await,
    }
}

/// Sends a task on. One that says more of itself than a message can carry is a loss.
async fn send_on(
    shared: &Arc<Shared>,
    queue: &str,
    next: message::Task,
    input: &Bytes,
    raw: &Bytes,
    attempt: impl Fn(String) -> Attempt,
) -> Result<bool, BrokerError> {
    match message::try_encode(&next, input) {
        Ok(message) => shared.publish(queue, message).await.map(|()| true),
        Err(error) => give_up(shared, next, attempt(format!("the task cannot be sent on: {error}")), raw).await,
    }
}

async fn give_up(
    shared: &Arc<Shared>,
    task: message::Task,
    attempt: Attempt,
    raw: &Bytes,
) -> Result<bool, BrokerError> {
    bury(shared, &fate::failure(&task, attempt), raw).await
}

/// Sends a task to the dead letters.
async fn bury(shared: &Arc<Shared>, failure: &message::Failure, raw: &Bytes) -> Result<bool, BrokerError> {
    let message::Failure { job, chunk, attempts, reason, .. } = failure;
    tracing::error!(%job, %chunk, attempts, reason, "a task failed for good");
    shared.publish(queue::DEAD, message::encode(failure, raw_of(raw))).await?;
    shared.tally.lost();
    crash_point::reached("worker.buried");
    Ok(true)
}

fn last_reason(task: &message::Task) -> &str {
    task.history.last().map_or("", |attempt| attempt.reason.as_str())
}

/// A raw task inside a failure must fit a body; one that does not is told of without its bytes.
fn raw_of(raw: &Bytes) -> &[u8] {
    if raw.len() <= message::MAX_BODY_BYTES { raw } else { &[] }
}

async fn try_task(
    shared: &Arc<Shared>,
    alone: bool,
    task: &message::Task,
    input: &Bytes,
    raw: &Bytes,
) -> Result<Tried, BrokerError> {
    if let Err(error) = shared.fetch_files(task).await {
        let reason = chain(&error);
        return Ok(if error.is_silence() { Tried::NotHere(reason) } else { Tried::Failed(reason, true) });
    }
    let Ok(turn) = Arc::clone(&shared.compute).acquire_owned().await else { return Ok(Tried::Stopped) };
    if let Some(program) = shared.config.program.as_deref().filter(|_| alone) {
        if let Err(error) = build(shared, task).await
            && error.is_only_here()
        {
            return Ok(Tried::NotHere(error.to_string()));
        }
        return try_apart(shared, program, raw).await;
    }
    let began = clock::instant();
    let mapped = map(shared, task, input, turn).await;
    shared.tally.mapping(clock::since(began));
    match mapped {
        Ok(mapped) => {
            crash_point::reached("worker.mapped");
            let messages = partials::messages(task.clone(), mapped, shared.config.name.clone());
            shared.publish_all(messages).await
        }
        Err(TaskError::Map(MapError::Stopped)) => Ok(Tried::Unwanted),
        Err(TaskError::Program(error)) if error.is_only_here() => Ok(Tried::NotHere(error.to_string())),
        Err(error) => Ok(Tried::of_failure(error.to_string(), error.may_pass(), error.record())),
    }
}

/// Looks whether its program can be run here.
async fn build(shared: &Arc<Shared>, task: &message::Task) -> Result<(), JobError> {
    let (shared, program) = (Arc::clone(shared), task.program.clone());
    compute::blocking(move || shared.kept.program(&program).map(drop)).await
}

/// Maps on a compute thread, whose turn ends with the work, even if nobody waits for that any more: while what is mapped is
/// published another may be mapped, but never more side by side than there is memory for.
async fn map(
    shared: &Arc<Shared>,
    task: &message::Task,
    input: &Bytes,
    turn: OwnedSemaphorePermit,
) -> Result<Mapped, TaskError> {
    let (shared, task, input) = (Arc::clone(shared), task.clone(), input.clone());
    let mapping = compute::caught(move || {
        let config = &shared.config;
        let scratch = ScratchFolder(config.scratch.clone());
        let mut wanted = While(|| shared.wants(&task));
        let mapped = map_task(&task, &input, &shared.kept, &config.roots, &scratch, config.budget_bytes(), &mut wanted);
        drop(turn);
        mapped
    });
    mapping.await.unwrap_or_else(|panic| Err(TaskError::Panic(said(&*panic))))
}

/// Maps in a process of its own. What that has said before it died does no harm: it would be said again.
async fn try_apart(shared: &Arc<Shared>, program: &Path, raw: &Bytes) -> Result<Tried, BrokerError> {
    let unable =
        |error: io::Error| Ok(Tried::Failed(format!("there can be no process to map it apart: {error}"), true));
    let mut apart = match Apart::start(program, &shared.config, raw).await {
        Ok(apart) => apart,
        Err(error) => return unable(error),
    };
    let mut publishing = FuturesUnordered::new();
    loop {
        match apart.next().await {
            Ok(Said::Message((name, message))) => {
                publishing.push(async move { shared.publish_mapped(&name, message).await });
                if publishing.len() == WINDOW {
                    publishing.try_next().await?;
                }
            }
            Ok(Said::Verdict(Verdict::Mapped)) => {
                publishing.try_collect::<()>().await?;
                return Ok(Tried::Published);
            }
            Ok(Said::Verdict(Verdict::Failed { reason, may_pass, record })) => {
                return Ok(Tried::of_failure(reason, may_pass, record));
            }
            Ok(Said::Died(how, place)) => return Ok(Tried::Crashed(how, place)),
            Err(error) => return unable(error),
        }
    }
}

impl Shared {
    /// Whether a task is still to be mapped. A chunk that is sent again amends a result: its job may well have ended.
    fn wants(&self, task: &message::Task) -> bool {
        task.retry > 0 || !self.has_ended(task.job)
    }

    /// Comes back once a task is not to be mapped any more.
    async fn until_unwanted(&self, task: &message::Task) {
        loop {
            let mut heard = std::pin::pin!(self.heard.notified());
            // From here on nothing that is heard is missed.
            heard.as_mut().enable();
            if !self.wants(task) {
                return;
            }
            heard.await;
        }
    }

    /// Publishes every message and waits for every confirm.
    async fn publish_all(
        &self,
        messages: impl Iterator<Item = io::Result<Addressed>> + Send,
    ) -> Result<Tried, BrokerError> {
        let mut publishing = stream::iter(messages)
            .map(|message| async move {
                match message {
                    Ok((name, message)) => self.publish_mapped(&name, message).await.map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            })
            .buffer_unordered(WINDOW);
        while let Some(published) = publishing.try_next().await? {
            if let Err(error) = published {
                return Ok(Tried::Failed(format!("temporary files failed: {error}"), true));
            }
        }
        Ok(Tried::Published)
    }

    async fn publish_mapped(&self, queue: &str, message: Bytes) -> Result<(), BrokerError> {
        self.publish(queue, message).await?;
        crash_point::reached("worker.published");
        Ok(())
    }

    async fn publish(&self, queue: &str, message: Bytes) -> Result<(), BrokerError> {
        publish_stored(&*self.broker, &Route::Queue(queue.to_owned()), message, Some(PATIENCE)).await
    }
}
