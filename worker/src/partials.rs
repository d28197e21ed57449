//! A mapped chunk as the messages to publish, one after the other, so that no more of them than are on their way are in memory.
//!
//! It publishes nothing. What would surprise: the records that the program refused travel too, to the dead letters.

use bytes::Bytes;
use rabbit_reduce_core::id::PartitionNumber;
use rabbit_reduce_core::map::Mapped;
use rabbit_reduce_core::message::{self, Home, Partial, Refused, Task};
use rabbit_reduce_core::topology::queue;
use std::collections::BTreeMap;
use std::io;

/// A message, and the queue it goes to.
pub(crate) type Addressed = (String, Bytes);

/// Every message of a mapped task.
pub(crate) fn messages(
    task: Task,
    mut mapped: Mapped,
    worker: String,
) -> impl Iterator<Item = io::Result<Addressed>> + Send {
    let letter = refused(&task, &mapped).map(Ok);
    let places: Vec<(usize, usize)> = (0..mapped.partials.len())
        .flat_map(|partition| (0..mapped.partials[partition].len()).map(move |segment| (partition, segment)))
        .collect();
    let partials =
        places.into_iter().map(move |(partition, segment)| partial(&task, &mut mapped, &worker, partition, segment));
    partials.chain(letter)
}

fn partial(task: &Task, mapped: &mut Mapped, worker: &str, partition: usize, segment: usize) -> io::Result<Addressed> {
    let body = mapped.body(partition, segment)?;
    let number = PartitionNumber(u32::try_from(partition).expect("partitions are numbered in 32 bits"));
    let home = task.chunk.index() % mapped.partials.len();
    let segments = &mapped.partials[partition];
    let partial = Partial {
        job: task.job,
        chunk: task.chunk,
        record: task.record,
        attempt: task.attempt,
        partition: number,
        partitions: task.partitions,
        segment: u32::try_from(segment).expect("segments are numbered in 32 bits"),
        last: segment + 1 == segments.len(),
        store: task.store.clone(),
        digest: mapped.digest,
        worker: worker.to_owned(),
        pairs: segments[segment].pairs,
        strikes: 0,
        agreed: u32::try_from(task.skips.len()).expect("what is agreed is bounded"),
        skips: (segment == 0).then(|| mapped.skips.clone()),
        home: (segment == 0 && partition == home).then(|| Home {
            pairs: mapped.pairs,
            counters: counters(task, mapped),
            release: Some(RELEASE.to_owned()),
        }),
    };
    let large = body.len() > task.segment_bytes;
    let name = if large { queue::REDUCE_LARGE.to_owned() } else { queue::reduce(number, task.reduce_queues) };
    Ok((name, message::encode(&partial, &body)))
}

/// Of this worker.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// A record by itself was counted on the way with its chunk.
fn counters(task: &Task, mapped: &Mapped) -> BTreeMap<String, u64> {
    if task.record.is_some() { BTreeMap::new() } else { mapped.counters.clone() }
}

/// The same for every attempt, so that the store keeps it once.
fn refused(task: &Task, mapped: &Mapped) -> Option<Addressed> {
    let records = mapped.refused.records.clone();
    let refused = Refused { job: task.job, chunk: task.chunk, records };
    let any = !refused.records.is_empty();
    any.then(|| (queue::DEAD.to_owned(), message::encode(&refused, &mapped.refused.bytes)))
}
