//! One delivery from its arrival to its settlement: map, publish, confirm, then ack, in this one place.
//!
//! What would surprise: a task of a job that is known to have ended is acked unmapped, and a message that is no task goes to the
//! dead letters as it is.

use crate::Shared;
use crate::fate::{self, Fate};
use crate::mapping::{TaskError, map_task};
use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};
use rabbit_reduce_core::id::PartitionNumber;
use rabbit_reduce_core::map::Mapped;
use rabbit_reduce_core::message::{self, Home, Partial};
use rabbit_reduce_core::spec::PROGRAM_VERSION;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::stored::{pause_before, publish_stored};
use rabbit_reduce_runtime::broker::{BrokerError, Delivery, Receipt, Route};
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::{clock, compute};
use rabbit_reduce_runtime::scratch::ScratchFolder;
use std::sync::Arc;
use std::time::Duration;

/// Partials of one chunk that are published at once.
const WINDOW: usize = 16;
/// Who cannot publish for so long gives the task back.
const PATIENCE: Duration = Duration::from_secs(120);

/// One delivery.
pub(crate) struct Task {
    shared: Arc<Shared>,
    delivery: Delivery,
}

impl Task {
    pub(crate) const fn new(shared: Arc<Shared>, delivery: Delivery) -> Self {
        Self { shared, delivery }
    }

    /// Settles the delivery, whatever comes.
    pub(crate) async fn settle(self) {
        let Self { shared, delivery } = self;
        let Delivery { body, mut receipt, returns, .. } = delivery;
        if mistake::makes(Mistake::AckBeforeConfirm) {
            std::mem::replace(&mut receipt, Receipt::spent()).ack().await;
        }
        let handled = match message::decode::<message::Task>(&body) {
            Ok((task, input)) => handle(&shared, task, &input, &body, returns).await,
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
        Ok(true) => receipt.ack().await,
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
    mut task: message::Task,
    input: &Bytes,
    raw: &Bytes,
    returns: u32,
) -> Result<bool, BrokerError> {
    let (job, chunk) = (task.job, task.chunk);
    if mistake::makes(Mistake::LeaveOutOnReturn) && returns > 0 {
        task.pieces.pop();
    }
    if shared.has_ended(job) {
        return Ok(true);
    }
    if task.program.version != PROGRAM_VERSION {
        // By way of `retry`, since a return is counted, and enough of them would be taken for a failure.
        tracing::error!(%job, theirs = task.program.version, ours = PROGRAM_VERSION, "a task of another release goes back");
        return shared.publish(queue::RETRY, raw.clone()).await.map(|()| true);
    }
    if task.rounds > 0 {
        let waiting = message::Task { rounds: task.rounds - 1, ..task };
        return shared.publish(queue::RETRY, message::encode(&waiting, input)).await.map(|()| true);
    }
    if returns >= fate::SUSPICIOUS_RETURNS && task.crashes < fate::CRASHES {
        let crashes = task.crashes + 1;
        tracing::warn!(%job, %chunk, returns, crashes, "a task that came back too often is set apart");
        let suspect = message::Task { crashes, ..task };
        return shared.publish(queue::SUSPECT, message::encode(&suspect, input)).await.map(|()| true);
    }
    let failed = if task.crashes >= fate::CRASHES {
        TaskError::Suspect(task.crashes)
    } else {
        match map(shared, &task, input).await {
            None => return Ok(false),
            Some(Ok(mapped)) => return publish_partials(shared, &task, mapped).await.map(|()| true),
            Some(Err(error)) => error,
        }
    };
    let reason = failed.to_string();
    match fate::decide(task, &reason, failed.may_pass(), &shared.config.name, clock::now_ms()) {
        Fate::Retry(next) => {
            tracing::warn!(%job, %chunk, attempt = next.attempt - 1, reason, "a task failed and is tried again");
            shared.publish(queue::RETRY, message::encode(&*next, input)).await?;
        }
        Fate::Dead(failure) => {
            tracing::error!(%job, %chunk, attempts = failure.attempts, reason, "a task failed for good");
            shared.publish(queue::DEAD, message::encode(&failure, raw_of(raw))).await?;
        }
    }
    Ok(true)
}

/// A raw task inside a failure must fit a body; one that does not is told of without its bytes.
fn raw_of(raw: &Bytes) -> &[u8] {
    if raw.len() <= message::MAX_BODY_BYTES { raw } else { &[] }
}

/// Maps on a compute thread; `None` if the worker stops before a thread is free.
async fn map(shared: &Arc<Shared>, task: &message::Task, input: &Bytes) -> Option<Result<Mapped, TaskError>> {
    let _turn = shared.compute.acquire().await.ok()?;
    let (shared, task, input) = (Arc::clone(shared), task.clone(), input.clone());
    let mapping = compute::caught(move || {
        let config = &shared.config;
        let scratch = ScratchFolder(config.scratch.clone());
        map_task(&task, &input, &shared.programs, &config.roots, &scratch, config.budget_bytes())
    });
    Some(mapping.await.unwrap_or_else(|panic| Err(TaskError::Panic(compute::said(&*panic)))))
}

/// Publishes every segment and waits for every confirm.
async fn publish_partials(shared: &Arc<Shared>, task: &message::Task, mut mapped: Mapped) -> Result<(), BrokerError> {
    let mut messages = Vec::new();
    for partition in 0..mapped.partials.len() {
        for segment in 0..mapped.partials[partition].len() {
            messages.push((partition, segment));
        }
    }
    let home = task.chunk.index() % mapped.partials.len();
    let encode = |(partition, segment): (usize, usize)| {
        let body = mapped.body(partition, segment).map_err(|error| BrokerError::Denied {
            action: "publish what was mapped".to_owned(),
            reason: error.to_string(),
        })?;
        let number = PartitionNumber(u32::try_from(partition).expect("partitions are numbered in 32 bits"));
        let segments = &mapped.partials[partition];
        let partial = Partial {
            job: task.job,
            chunk: task.chunk,
            attempt: task.attempt,
            partition: number,
            partitions: task.partitions,
            segment: u32::try_from(segment).expect("segments are numbered in 32 bits"),
            last: segment + 1 == segments.len(),
            store: task.store.clone(),
            digest: mapped.digest,
            worker: shared.config.name.clone(),
            pairs: segments[segment].pairs,
            strikes: 0,
            skips: (segment == 0).then(|| mapped.skips.clone()),
            home: (segment == 0 && partition == home)
                .then(|| Home { pairs: mapped.pairs, counters: mapped.counters.clone() }),
        };
        let name = if body.len() > task.segment_bytes {
            queue::REDUCE_LARGE.to_owned()
        } else {
            queue::reduce(number, task.reduce_queues)
        };
        Ok((name, message::encode(&partial, &body)))
    };
    stream::iter(messages.into_iter().map(encode))
        .map_ok(|(name, message)| async move { shared.publish(&name, message).await })
        .try_buffer_unordered(WINDOW)
        .try_collect::<()>()
        .await
}

impl Shared {
    async fn publish(&self, queue: &str, message: Bytes) -> Result<(), BrokerError> {
        publish_stored(&*self.broker, &Route::Queue(queue.to_owned()), message, Some(PATIENCE)).await
    }
}
