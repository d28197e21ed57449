//! The result of a job as the input of the step after it: printed, split and published, as a producer does with a file, and sealed.
//!
//! It decides nothing about what is counted. What would surprise: it may be done twice, and by several aggregators at once,
//! each from the beginning. The first of them puts down which version of the result is read, so all of them give the same
//! chunks; the others begin only when nothing is seen of the first for long.

use crate::archive::{Archive, ArchiveError, Seal};
use crate::folding::Event;
use bytes::{Buf, Bytes};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{self, End, News, Outcome};
use rabbit_reduce_core::parts;
use rabbit_reduce_core::program::NamedProgram;
use rabbit_reduce_core::rows::format::{self, Format};
use rabbit_reduce_core::spec::{MAX_CHUNKS, Source, Spec};
use rabbit_reduce_runtime::broker::{Broker, Route};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::process::compute::{self, blocking};
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start;
use rabbit_reduce_runtime::publishing::{Packing, PublishError, Publishing, Purpose};
use rabbit_reduce_runtime::reader::Reader;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Whoever publishes a step of which nothing more is counted for so long may have died over it. The others look as often.
const SILENCE: Duration = Duration::from_secs(10);
/// How often it is looked at whether a step is still wanted.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of rows that are handed over at once, and how many times that may wait.
const BLOCK: (usize, usize) = (256 << 10, 4);

/// Steps under way in this process, one at a time.
#[derive(Clone)]
pub(crate) struct Steps {
    /// And what came meanwhile for each: what was seen of it may be older than that.
    going: Arc<Mutex<BTreeMap<JobId, Meanwhile>>>,
    turn: Arc<Semaphore>,
}

/// What came for a step while somebody was at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meanwhile {
    Nothing,
    /// It may go on by now.
    Told,
    /// Somebody wants it taken, whoever is at it.
    Asked,
}

/// Which result a step reads: put once, before anything of it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Input {
    /// The version of its end.
    version: u32,
}

/// What there is to do for a step.
enum Found {
    /// Nothing, or nothing yet.
    Nothing,
    /// Somebody else is at it, and its newest run was made then, in milliseconds since 1970.
    Busy(u64),
    /// It has no input, and has ended for that; the step after it will have none either.
    Over(End, Option<JobId>),
    /// This.
    Work(Box<Work>),
}

/// A step that is to be published.
struct Work {
    spec: Arc<Spec>,
    program: NamedProgram,
    sources: Arc<[Source]>,
    /// C, if it is sealed, and then these only.
    chunks: Option<(u32, BTreeSet<u32>)>,
    result: Printing,
}

/// A result as it is printed.
struct Printing {
    program: NamedProgram,
    sources: Vec<Vec<u8>>,
    parts: Vec<Box<dyn Read + Send>>,
}

/// Why a step was not published.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { going: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Gives a step its input, if it can be had and nobody is at it. What fails is tried again by a later sweep.
    pub(crate) async fn go_on(
        &self,
        archive: Archive,
        broker: Arc<dyn Broker>,
        shutdown: &Shutdown,
        job: JobId,
        asked: bool,
    ) -> Vec<Event> {
        {
            let mut going = self.going.lock().expect("nobody panics with it");
            if let Some(meanwhile) = going.get_mut(&job) {
                *meanwhile = (*meanwhile).max(if asked { Meanwhile::Asked } else { Meanwhile::Told });
                return Vec::new();
            }
            going.insert(job, Meanwhile::Nothing);
        }
        let mut asked = asked;
        loop {
            let published = tokio::select! {
                biased;
                () = shutdown.graceful() => Ok(Some(Vec::new())),
                published = self.look_and_publish(archive.clone(), Arc::clone(&broker), shutdown, job, asked) => published,
            };
            let done = published.unwrap_or_else(|error| {
                tracing::warn!(%job, error = start::chain(&error), "a step is not given all of its input; it will be tried again");
                Some(Vec::new())
            });
            let mut going = self.going.lock().expect("nobody panics with it");
            let meanwhile = going.remove(&job);
            match (done, meanwhile) {
                (Some(events), _) => return events,
                (None, Some(Meanwhile::Told | Meanwhile::Asked)) => {
                    going.insert(job, Meanwhile::Nothing);
                    asked = meanwhile == Some(Meanwhile::Asked);
                }
                (None, _) => return Vec::new(),
            }
        }
    }

    /// What has come of it; nothing if there was nothing to do, as far as could be seen.
    async fn look_and_publish(
        &self,
        archive: Archive,
        broker: Arc<dyn Broker>,
        shutdown: &Shutdown,
        job: JobId,
        asked: bool,
    ) -> Result<Option<Vec<Event>>, StepError> {
        let (mut take, mut seen) = (asked, None);
        loop {
            let looking = archive.clone();
            match blocking(move || looking.step(job, take)).await? {
                Found::Nothing => return Ok(None),
                Found::Busy(newest) => {
                    take = seen == Some(newest);
                    if !take {
                        seen = Some(newest);
                        tokio::time::sleep(SILENCE).await;
                    }
                }
                Found::Over(end, then) => {
                    let ended = Event::Ended(job, Ok(Some(end)));
                    return Ok(Some([ended].into_iter().chain(then.map(|then| Event::Waits(then, false))).collect()));
                }
                Found::Work(work) => {
                    let _turn = self.turn.acquire().await;
                    return publish(archive, broker, shutdown, job, *work).await.map(Some);
                }
            }
        }
    }
}

async fn publish(
    archive: Archive,
    broker: Arc<dyn Broker>,
    shutdown: &Shutdown,
    job: JobId,
    work: Work,
) -> Result<Vec<Event>, StepError> {
    let Work { spec, program, sources, chunks: sealed, result } = work;
    tracing::debug!(%job, "the result of the step before becomes its input");
    let (blocks, rows) = mpsc::channel(BLOCK.1);
    let mut rows = Some(Rows { blocks: rows, block: Bytes::new(), ended: false });
    let publishing = Publishing {
        spec,
        store: archive.store_id.clone(),
        reader: Reader::of_streams(Arc::clone(&sources), move |_| {
            Ok(Box::new(rows.take().expect("a stream is opened once")))
        }),
        sources,
        program,
        only: sealed.as_ref().map(|(_, open)| open.clone()),
        purpose: Purpose::Mapping,
        packing: Packing::None,
    };
    let publishing = publishing.run(Arc::clone(&broker), shutdown, |_, _| ());
    let printing = blocking(move || result.print(blocks));
    let chunks = tokio::select! {
        biased;
        () = unwanted(&archive, job) => return Ok(Vec::new()),
        ((), chunks) = async { tokio::join!(printing, publishing) } => chunks?,
    };
    crash_point::reached("aggregator.step_published");
    if sealed.is_some() {
        return Ok(vec![Event::Look(job)]);
    }
    let event = blocking(move || archive.seal_step(job, chunks)).await?;
    crash_point::reached("aggregator.step_sealed");
    // A hint, as all news.
    drop(broker.publish(&Route::News, message::encode(&News::Sealed(job), &[])).await);
    Ok(vec![event])
}

/// Comes back when a job has ended, or is gone.
async fn unwanted(archive: &Archive, job: JobId) {
    loop {
        tokio::time::sleep(LOOK).await;
        let archive = archive.clone();
        let over = move || Ok::<_, ArchiveError>(archive.end(job)?.is_some() || archive.is_removed(job)?);
        if blocking(over).await.unwrap_or(false) {
            return;
        }
    }
}

impl Archive {
    /// What there is to do for a step; `take` it, whoever is at it.
    fn step(&self, job: JobId, take: bool) -> Result<Found, ArchiveError> {
        if self.is_removed(job)? || self.end(job)?.is_some() {
            return Ok(Found::Nothing);
        }
        let Some(file) = self.job(job)? else { return Ok(Found::Nothing) };
        let Some(after) = file.spec.after else { return Ok(Found::Nothing) };
        let then = file.spec.then;
        let over = |why: String| Ok(Found::Over(self.end_without_result(job, Outcome::Failed(why))?, then));
        if self.is_removed(after)? {
            return over(format!("the step before it, job {after}, was removed: push its input again"));
        }
        let Some(before) = self.job(after)? else { return Ok(Found::Nothing) };
        let (input, is_ours) = match self.input(job)? {
            Some(input) => (input, false),
            None => {
                let Some(end) = self.end(after)? else { return Ok(Found::Nothing) };
                if !end.outcome.has_result() {
                    let how = match end.outcome {
                        Outcome::Failed(reason) => format!("failed: {reason}"),
                        _ => "was cancelled".to_owned(),
                    };
                    return over(format!("the step before it, job {after}, {how}"));
                }
                let input = Input { version: end.version };
                let put = self.put(&Self::input_path(job), &input)?;
                crash_point::reached("aggregator.step_begun");
                (self.input(job)?.unwrap_or(input), put)
            }
        };
        let seal = self.seal(job)?;
        if !(is_ours || take) {
            // Sealed, there is nothing left to do but what somebody asks for.
            return Ok(if seal.is_none() { Found::Busy(self.last_run(job)?) } else { Found::Nothing });
        }
        let parts = match self.end_of_version(after, input.version)? {
            Some(end) => self.open_parts(after, &end)?,
            None => None,
        };
        let Some(parts) = parts else {
            return over(format!(
                "version {} of the result of job {after}, which it reads, is gone: push the input again",
                input.version
            ));
        };
        let chunks = match seal {
            Some(seal) => {
                let open = self.open_chunks(job, file.spec.partitions, seal.chunks)?;
                Some((seal.chunks, open.into_iter().map(|chunk| chunk.0).collect()))
            }
            None => None,
        };
        // Whoever submitted it may have named a file: nothing is read but the rows.
        let listed = self.sources(&file.spec)?;
        let [source] = &listed[..] else {
            return over(format!("its list has {} sources, and the rows before it are one", listed.len()));
        };
        let sources = [Source::stream(source.name.0.clone())].into();
        let names = self.sources(&before.spec)?.into_iter().map(|source| source.name.0).collect();
        let result = Printing { program: before.program, sources: names, parts };
        Ok(Found::Work(Box::new(Work { spec: Arc::new(file.spec), program: file.program, sources, chunks, result })))
    }

    /// Which result a step reads, once that is decided.
    fn input(&self, job: JobId) -> Result<Option<Input>, ArchiveError> {
        self.read(&Self::input_path(job))
    }

    /// The parts of a result; nothing if one of them is gone.
    fn open_parts(&self, job: JobId, end: &End) -> Result<Option<Vec<Box<dyn Read + Send>>>, ArchiveError> {
        let mut parts: Vec<Box<dyn Read + Send>> = Vec::with_capacity(end.parts.len());
        for part in &end.parts {
            let Some(opened) = self.store.open(&format!("jobs/{job}/{}", part.name), 0)? else { return Ok(None) };
            parts.push(Box::new(opened));
        }
        Ok(Some(parts))
    }

    /// The sources of a job.
    fn sources(&self, spec: &Spec) -> Result<Vec<Source>, ArchiveError> {
        let mut sources: Vec<Source> = Vec::new();
        for page in 0..spec.sources.pages {
            let path = Self::sources_path(spec.job, page);
            let missing = ArchiveError::Damaged { path: path.clone(), reason: "it is missing".to_owned() };
            sources.extend(self.read::<Vec<Source>>(&path)?.ok_or(missing)?);
        }
        Ok(sources)
    }

    /// Seals a step of which everything is published.
    fn seal_step(&self, job: JobId, chunks: u32) -> Result<Event, ArchiveError> {
        let fail = |why: String| {
            let end = self.end_without_result(job, Outcome::Failed(why))?;
            Ok(Event::Ended(job, Ok(Some(end))))
        };
        if u64::from(chunks) > MAX_CHUNKS {
            return fail(format!(
                "its input has {chunks} chunks, {MAX_CHUNKS} are the most: make them larger (--chunk-size)"
            ));
        }
        let sealed = self.put_seal(job, Seal { chunks })?;
        if sealed.chunks != chunks {
            return fail(format!("its input was {} chunks, and {chunks} when it was read again", sealed.chunks));
        }
        Ok(Event::Sealed(job, chunks))
    }
}

impl Printing {
    /// Prints all rows into the pipe, or hands over why not.
    fn print(self, blocks: mpsc::Sender<io::Result<Bytes>>) {
        let mut out = BufWriter::with_capacity(BLOCK.0, Blocks(&blocks));
        let printed = self.rows(&mut out).and_then(|()| out.flush());
        // What is left of a failure goes nowhere: whoever reads has been told, or is gone.
        drop(out.into_parts());
        // An empty block is the end.
        drop(compute::wait(blocks.send(printed.map(|()| Bytes::new()))));
    }

    fn rows(self, out: &mut dyn Write) -> io::Result<()> {
        let mut pairs = parts::parts(self.parts)?;
        let mut rows = format::writer(Format::Tsv, self.program.columns(), out)?;
        self.program.rows(&self.sources, &mut pairs, &mut *rows)?;
        rows.finish()
    }
}

/// The end of the pipe that rows go into.
struct Blocks<'b>(&'b mpsc::Sender<io::Result<Bytes>>);

impl Write for Blocks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = compute::wait(self.0.send(Ok(Bytes::copy_from_slice(bytes))));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end. It ends only where all is printed: what is cut short is an error, and never taken for a whole result.
struct Rows {
    blocks: mpsc::Receiver<io::Result<Bytes>>,
    block: Bytes,
    ended: bool,
}

impl Read for Rows {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() && !self.ended {
            let next = compute::wait(self.blocks.recv());
            self.block = next.ok_or_else(|| io::Error::other("the result was not printed to its end"))??;
            self.ended = self.block.is_empty();
        }
        let length = into.len().min(self.block.len());
        self.block.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
