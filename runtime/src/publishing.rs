//! The input, from its sources to confirmed tasks: split on a thread of its own, published with a bounded number unconfirmed.
//!
//! It does not know how a job ends. What would surprise: the splitter runs to its end even where only some chunks are sent,
//! since a chunk's number follows from all before it; by reference that reads next to nothing.

use crate::broker::stored::{Throttle, publish_stored};
use crate::broker::{Broker, BrokerError, Route};
use crate::crash_point;
use crate::process::joined::joined;
use crate::process::shutdown::Shutdown;
use crate::process::{clock, compute};
use crate::reader::Reader;
use crate::shown::Shown;
use bytes::Bytes;
use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::message::{self, Failure, MAX_BODY_BYTES, Task, TaskPiece};
use rabbit_reduce_core::program::NamedProgram;
use rabbit_reduce_core::selection::{Column, ColumnError, MAX_HEADER_BYTES, Selection};
use rabbit_reduce_core::spec::{By, Source, Spec};
use rabbit_reduce_core::split::{ChunkPlan, PieceRange, Sources, Splitter};
use rabbit_reduce_core::topology::{MAP_MESSAGES, REDUCE_QUEUES, queue};
use std::collections::BTreeSet;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Tasks that are published and not yet confirmed: enough to keep the broker busy, few enough to hold in memory.
const UNCONFIRMED: usize = 8;
/// Tasks that are read ahead.
const READ_AHEAD: usize = 2;
/// What is read of a source for the names of its columns at first, in bytes.
const HEADER_BYTES: usize = 64 << 10;

/// Why the input was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Its sources.
    #[error(transparent)]
    Input(#[from] io::Error),
    /// One of them has not what the job looks at.
    #[error("{}: {cause}", Shown(.source_name))]
    Column {
        /// Its name.
        source_name: Vec<u8>,
        /// What is wrong.
        cause: ColumnError,
    },
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Somebody wants us to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What becomes of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Workers map them.
    Mapping,
    /// Their chunks are lost already; aggregators keep them with the dead letters, so that they can be sent again.
    Keeping,
}

/// Whether the bytes of chunks are packed on their way to workers: it pays where a link is slower than packing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// They are sent as they are.
    #[default]
    None,
    /// By LZ4, at some 350 MB/s of a core.
    Lz4,
}

/// What to publish.
pub struct Publishing {
    /// The job.
    pub spec: Arc<Spec>,
    /// The store that it lives in.
    pub store: String,
    /// Its sources.
    pub sources: Arc<[Source]>,
    /// Their bytes.
    pub reader: Reader,
    /// What is done with them.
    pub program: NamedProgram,
    /// These chunks only, or all.
    pub only: Option<BTreeSet<u32>>,
    /// What for.
    pub purpose: Purpose,
    /// Whether what travels by value is packed.
    pub packing: Packing,
}

impl Publishing {
    /// Publishes every chunk, hears after each how many chunks and input bytes are confirmed, and tells C.
    ///
    /// # Errors
    /// See [`PublishError`]. What was published stays; the job can be resumed.
    pub async fn run(
        self,
        broker: Arc<dyn Broker>,
        shutdown: &Shutdown,
        mut confirmed: impl FnMut(u32, u64),
    ) -> Result<u32, PublishError> {
        let queue = match self.purpose {
            Purpose::Mapping => queue::MAP,
            Purpose::Keeping => queue::DEAD,
        };
        let body_bytes = if self.spec.by == By::Value { self.spec.chunk_bytes } else { 1 };
        let route = Route::Queue(queue.to_owned());
        let throttle = Arc::new(Throttle::new(route.clone(), MAP_MESSAGES, body_bytes));
        let (made, mut tasks) = mpsc::channel::<Result<(Bytes, u64), PublishError>>(READ_AHEAD);
        let mut splitting = pin!(compute::blocking(move || self.split(&made)));
        let mut split = None;
        let mut publishing: JoinSet<Result<u64, BrokerError>> = JoinSet::new();
        let (mut chunks, mut open) = (0, true);
        while open || !publishing.is_empty() {
            tokio::select! {
                biased;
                () = shutdown.graceful() => return Err(PublishError::Interrupted),
                all = &mut splitting, if split.is_none() => split = Some(all),
                Some(done) = publishing.join_next(), if !publishing.is_empty() => {
                    let bytes = joined(done).await?;
                    crash_point::reached("producer.confirmed");
                    chunks += 1;
                    confirmed(chunks, bytes);
                }
                task = tasks.recv(), if open && publishing.len() < UNCONFIRMED => match task {
                    None => open = false,
                    Some(task) => {
                        let (message, bytes) = task?;
                        crash_point::reached("producer.split");
                        let (broker, throttle) = (Arc::clone(&broker), Arc::clone(&throttle));
                        let route = route.clone();
                        publishing.spawn(async move {
                            throttle.pass(&*broker).await;
                            publish_stored(&*broker, &route, message, None).await.map(|()| bytes)
                        });
                    }
                },
            }
        }
        match split {
            Some(chunks) => Ok(chunks),
            None => Ok(splitting.await),
        }
    }

    /// Splits to the end and tells C, or sends what failed.
    fn split(mut self, made: &mpsc::Sender<Result<(Bytes, u64), PublishError>>) -> u32 {
        let mut splitter = Splitter::new(self.program.boundary(), self.spec.chunk_bytes);
        let (mut chunks, mut columns) = (0, Columns::default());
        loop {
            let next = splitter.next(&mut self.reader).map_err(PublishError::from);
            // Before the beginnings of streams are let go.
            let next = next.and_then(|plan| {
                plan.map(|plan| Ok((columns.of(&plan, &self.program, &self.sources, &mut self.reader)?, plan)))
                    .transpose()
            });
            let (columns, plan) = match next {
                Ok(Some(plan)) => plan,
                Ok(None) => return chunks,
                Err(error) => {
                    // Nobody listens any more if the publishing stopped first.
                    drop(compute::wait(made.send(Err(error))));
                    return chunks;
                }
            };
            chunks += 1;
            if self.only.as_ref().is_some_and(|only| !only.contains(&plan.number.0)) {
                self.reader.pass(&plan.pieces);
                continue;
            }
            let bytes = plan.bytes();
            let task = self.task(&plan, &columns).map(|task| (task, bytes)).map_err(PublishError::from);
            let failed = task.is_err();
            if compute::wait(made.send(task)).is_err() || failed {
                return chunks;
            }
        }
    }

    fn task(&mut self, plan: &ChunkPlan, columns: &[Option<Column>]) -> io::Result<Bytes> {
        // A stream cannot be read twice: a chunk with a piece of one travels by value, whatever the rest does.
        let files = plan.pieces.iter().all(|piece| self.sources[piece.source.index()].file.is_some());
        let by_reference = self.spec.by == By::Reference && files;
        let piece = |(piece, column): (&PieceRange, &Option<Column>)| {
            let source = &self.sources[piece.source.index()];
            TaskPiece {
                source: piece.source,
                name: source.name.clone(),
                offset: piece.offset,
                length: piece.length,
                continues: piece.continues,
                ends: piece.ends,
                file: source.file.clone().filter(|_| by_reference),
                column: *column,
            }
        };
        let task = Task {
            job: self.spec.job,
            chunk: plan.number,
            attempt: 1,
            crashes: 0,
            died_at: None,
            record: None,
            strikes: 0,
            retry: 0,
            rounds: 0,
            program: self.spec.program.clone(),
            partitions: self.spec.partitions,
            reduce_queues: REDUCE_QUEUES,
            segment_bytes: self.spec.segment_bytes,
            output_bytes: self.spec.output_bytes,
            store: self.store.clone(),
            pieces: plan.pieces.iter().zip(columns).map(piece).collect(),
            too_long: plan.too_long.clone(),
            skips: Vec::new(),
            history: Vec::new(),
        };
        let carried = if by_reference { &[] } else { plan.pieces.as_slice() };
        let message = message::encode_with(&task, carried.iter().map(length_of).sum(), |mut body| {
            for piece in carried {
                let into = body.split_off_mut(..length_of(piece)).expect("it is as long as all of them");
                self.reader.read_piece(*piece, into)?;
            }
            Ok::<_, io::Error>(())
        })?;
        let message = match self.packing {
            Packing::Lz4 if !carried.is_empty() => message::pack(message),
            _ => message,
        };
        match self.purpose {
            Purpose::Mapping => Ok(message),
            Purpose::Keeping if message.len() <= MAX_BODY_BYTES => Ok(message::encode(&read_again(&task), &message)),
            Purpose::Keeping => Err(io::Error::other(format!(
                "chunk {} with the names of its pieces is more than a dead letter holds: push its input again, as a job of \
                 its own, in smaller chunks",
                plan.number
            ))),
        }
    }
}

/// Which columns sources have that a job looks at. It is asked about every chunk, in order, before the beginnings of streams are
/// let go.
#[derive(Default)]
pub struct Columns {
    /// Of the source that was split last.
    last: Option<(SourceNumber, Option<Column>)>,
}

impl Columns {
    /// Those of a chunk's pieces.
    ///
    /// # Errors
    /// If a source cannot be read, or has no such column.
    pub fn of(
        &mut self,
        plan: &ChunkPlan,
        program: &NamedProgram,
        sources: &[Source],
        reader: &mut Reader,
    ) -> Result<Vec<Option<Column>>, PublishError> {
        let Some(selection) = program.selection().filter(|selection| selection.needs_column()) else {
            return Ok(vec![None; plan.pieces.len()]);
        };
        let mut column = |piece: &PieceRange| match self.last {
            Some((source, column)) if source == piece.source => Ok(column),
            _ => {
                let column = column_of(selection, sources, piece.source, reader)?;
                self.last = Some((piece.source, column));
                Ok(column)
            }
        };
        plan.pieces.iter().map(&mut column).collect()
    }
}

/// The column that a job looks at in a source, by its first record.
///
/// # Errors
/// If it cannot be read, or has no such column.
pub fn column_of(
    selection: &Selection,
    sources: &[Source],
    source: SourceNumber,
    reader: &mut Reader,
) -> Result<Option<Column>, PublishError> {
    let mut column = Err(ColumnError::TooLong);
    for length in [HEADER_BYTES, MAX_HEADER_BYTES + 1] {
        let beginning = match reader.window(source, 0, length) {
            // It was passed over, as a record too long to travel.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => break,
            beginning => beginning?,
        };
        column = selection.column(beginning, beginning.len() < length);
        if column != Err(ColumnError::TooLong) {
            break;
        }
    }
    column.map_err(|cause| PublishError::Column { source_name: sources[source.index()].name.0.clone(), cause })
}

fn length_of(piece: &PieceRange) -> usize {
    usize::try_from(piece.length).expect("a piece is no longer than the largest chunk")
}

/// The letter that keeps a task. That its chunk is lost is known, so it decides nothing.
fn read_again(task: &Task) -> Failure {
    Failure {
        job: task.job,
        chunk: task.chunk,
        reason: "no letter held it, so it was read from its source again".to_owned(),
        attempts: 0,
        retry: 0,
        record: None,
        retried: None,
        worker: "producer".to_owned(),
        version: task.program.version,
        time_ms: clock::now_ms(),
    }
}
