//! What aggregators are asked, and the answers. Blocks; everything may be asked twice.
//!
//! It decides nothing about what is counted. What would surprise: a job's progress comes from memory where this aggregator has
//! the job, and is read from the store only where it has not, or where a person asks for the detail.

use crate::archive::{Archive, ArchiveError, Seal, ranges};
use crate::dead;
use crate::ending;
use crate::folding::Event;
use crate::repair::{Again, PutBack};
use crate::top::top;
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::message::{self, About, Answer, Ask, Losses, News, Outcome, Status};
use rabbit_reduce_core::shipped::{FILE_PAGE_BYTES, MAX_FILE_BYTES, Shipped};
use rabbit_reduce_core::skip::Place;
use rabbit_reduce_core::spec::{MAX_CHUNKS, PagesDigest, Spec};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::start;
use rabbit_reduce_runtime::store::StoreError;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use uuid::Uuid;

/// The most bytes of a page of a part.
const PAGE_BYTES: usize = 1 << 20;
/// Jobs that one answer lists.
const LISTED_JOBS: usize = 1000;
/// Chunks that a status says to be lacking, one by one.
const LISTED_LACKING: usize = 20;
/// Ranges of chunks that one answer lists; who is told as many asks again.
const LISTED_RANGES: usize = 100_000;
/// Chunks and records that one request sends again: more would take longer than who asks waits.
const RETRIED_AT_ONCE: usize = 1000;
/// The longest page of a source list.
const MAX_SOURCE_PAGE_BYTES: usize = 4 << 20;

/// What memory knows of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Chunks folded, in the partition that has the fewest.
    pub(crate) whole: u32,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Finished partitions.
    pub(crate) finished: u32,
    /// Losses, in the partition that has the most.
    pub(crate) losses: u64,
}

/// An answer, and what follows from it.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) body: Bytes,
    pub(crate) events: Vec<Event>,
    pub(crate) news: Option<News>,
    /// Chunks of a job that are sent again before the answer goes out.
    pub(crate) again: Option<(JobId, Vec<Again>)>,
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        Self { answer, body: Bytes::new(), events: Vec::new(), news: None, again: None }
    }
}

/// Answers. Who had a request that came back may have died in the middle of it: what it agreed to send is sent again then, since
/// what is sent once too often does no harm.
pub(crate) fn answer(
    archive: &Archive,
    ask: Ask,
    body: &Bytes,
    progress: &BTreeMap<JobId, Progress>,
    alarms: Vec<String>,
    came_back: bool,
) -> Answered {
    let answered = match ask {
        Ask::PutSources { job, page } => put_sources(archive, job, page, body),
        Ask::PutFile { job, file, page } => put_file(archive, job, &file, page, body),
        Ask::Submit { spec } => submit(archive, &spec),
        Ask::Seal { job, chunks } => seal(archive, job, chunks),
        Ask::Step { job } => step(archive, job),
        Ask::Status { job, detail } => status(archive, job, detail, progress.get(&job).copied(), alarms),
        Ask::Uncovered { job, chunks } => uncovered(archive, job, chunks),
        Ask::Jobs => jobs(archive, None, LISTED_JOBS, progress),
        Ask::JobsBefore { before, limit } => jobs(archive, before, LISTED_JOBS.min(limit as usize), progress),
        Ask::Top { job, limit } => top(archive, job, limit).map(Answered::from),
        Ask::About => {
            let release = env!("CARGO_PKG_VERSION").to_owned();
            Ok(Answer::About(About { release, time_ms: clock::now_ms() }).into())
        }
        Ask::Workers => unreachable!("who holds the partials tells of workers"),
        Ask::Spec { job } => spec(archive, job),
        Ask::Sources { job, page } => file(archive, &Archive::sources_path(job, page)),
        Ask::File { job, file: wanted, page } => file(archive, &Archive::file_path(job, &wanted, page)),
        Ask::Part { job, part, offset, length } => part_page(archive, job, &part, offset, length),
        Ask::Cancel { job } => cancel(archive, job),
        Ask::Remove { job } => remove(archive, job),
        Ask::Letters { job, after } => letters(archive, job, &after),
        Ask::Letter { job, name, offset, length } => letter_page(archive, job, &name, offset, length),
        Ask::Retry { job, chunks, records } => retry(archive, job, chunks, records, came_back),
        Ask::Rereduce { job } => rereduce(archive, job),
        Ask::Drop { job, names } => drop_letters(archive, job, &names),
    };
    answered.unwrap_or_else(|error| match error {
        // A store that is full or away may come back; who asks waits for it.
        ArchiveError::Store(error) => Answer::Later(error.to_string()).into(),
        error @ (ArchiveError::Damaged { .. } | ArchiveError::Spec { .. } | ArchiveError::File { .. }) => {
            Answer::Refused(start::chain(&error)).into()
        }
    })
}

type Answering = Result<Answered, ArchiveError>;

/// Why nothing is taken for a job: it was removed, or it would be one too many. What was begun may go on.
fn refused(archive: &Archive, job: JobId) -> Result<Option<String>, ArchiveError> {
    if archive.is_removed(job)? {
        return Ok(Some(format!("job {job} was removed")));
    }
    let too_many = || archive.limits.too_many_jobs(archive.open_jobs().len());
    if too_many().is_none() || !archive.store.list(&format!("jobs/{job}"))?.is_empty() {
        return Ok(None);
    }
    archive.recount_open()?;
    Ok(too_many())
}

fn put_sources(archive: &Archive, job: JobId, page: u32, body: &Bytes) -> Answering {
    if body.len() > MAX_SOURCE_PAGE_BYTES {
        return Ok(Answer::Refused(format!("a page of {} bytes is too long", body.len())).into());
    }
    if let Some(reason) = refused(archive, job)? {
        return Ok(Answer::Refused(reason).into());
    }
    archive.put_bytes(&Archive::sources_path(job, page), body)?;
    crash_point::reached("aggregator.sources_put");
    Ok(Answer::Done.into())
}

fn put_file(archive: &Archive, job: JobId, file: &Shipped, page: u32, body: &Bytes) -> Answering {
    if file.bytes > MAX_FILE_BYTES || page >= file.pages() || body.len() > FILE_PAGE_BYTES {
        let reason = format!("page {page} with {} bytes of a file of {} bytes is too much", body.len(), file.bytes);
        return Ok(Answer::Refused(reason).into());
    }
    if let Some(reason) = refused(archive, job)? {
        return Ok(Answer::Refused(reason).into());
    }
    archive.put_bytes(&Archive::file_path(job, file, page), body)?;
    crash_point::reached("aggregator.file_put");
    Ok(Answer::Done.into())
}

fn submit(archive: &Archive, spec: &Spec) -> Answering {
    let job = spec.job;
    match archive.fetch_files(spec) {
        Err(ArchiveError::File { reason, .. }) => return Ok(Answer::Refused(reason).into()),
        fetched => fetched?,
    }
    if let Err(error) = spec.check(&archive.programs) {
        return Ok(Answer::Refused(error.to_string()).into());
    }
    if let Some(reason) = refused(archive, job)? {
        return Ok(Answer::Refused(reason).into());
    }
    // One page at a time is held: who asks says how many there are.
    let mut digest = PagesDigest::default();
    for page in 0..spec.sources.pages {
        let path = Archive::sources_path(job, page);
        let missing = ArchiveError::Damaged { path: path.clone(), reason: "it is missing".to_owned() };
        digest.add(&archive.store.get(&path)?.ok_or(missing)?);
    }
    if digest.get() != spec.sources.digest {
        return Ok(Answer::Refused("the source list is not the one that the job names".to_owned()).into());
    }
    let bytes = serde_json::to_vec(spec).expect("specs are plain data");
    archive.put_bytes(&Archive::spec_path(job), &bytes)?;
    if archive.limits.jobs.is_some() {
        archive.open_jobs().insert(job);
    }
    crash_point::reached("aggregator.spec_put");
    Ok(match archive.job(job)? {
        Some(found) if found.spec == *spec => Answer::Submitted { store: archive.store_id.clone() },
        _ => Answer::Refused(format!("there is another job {job}")),
    }
    .into())
}

fn seal(archive: &Archive, job: JobId, chunks: u32) -> Answering {
    if u64::from(chunks) > MAX_CHUNKS {
        return Ok(too_many_chunks(chunks));
    }
    if archive.job(job)?.is_none() {
        return Ok(Answer::Unknown.into());
    }
    let sealed = archive.put_seal(job, Seal { chunks })?;
    crash_point::reached("aggregator.seal_put");
    if sealed.chunks != chunks {
        let reason = format!("job {job} is sealed with {} chunks, not {chunks}", sealed.chunks);
        return Ok(Answer::Refused(reason).into());
    }
    let (events, news) = (vec![Event::Sealed(job, chunks)], Some(News::Sealed(job)));
    Ok(Answered { events, news, ..Answer::Done.into() })
}

fn step(archive: &Archive, job: JobId) -> Answering {
    let Some(found) = archive.job(job)? else { return Ok(Answer::Unknown.into()) };
    if found.spec.after.is_none() {
        return Ok(
            Answer::Refused(format!("job {job} is no step after another: its producer publishes its input")).into()
        );
    }
    Ok(Answered { events: vec![Event::Waits(job, true)], ..Answer::Done.into() })
}

/// What is read by the step after it stays as it is.
fn read_by(job: JobId, reader: JobId) -> Answered {
    Answer::Refused(format!("the result of job {job} is read by the step after it, job {reader}, which has not ended"))
        .into()
}

fn too_many_chunks(chunks: u32) -> Answered {
    Answer::Refused(format!("a job has at most {MAX_CHUNKS} chunks, not {chunks}")).into()
}

fn spec(archive: &Archive, job: JobId) -> Answering {
    let found = archive.job(job)?;
    let store = archive.store_id.clone();
    Ok(found.map_or(Answer::Unknown, |found| Answer::Spec { spec: Box::new(found.spec), store }).into())
}

fn file(archive: &Archive, path: &str) -> Answering {
    let Some(found) = archive.store.get(path)? else { return Ok(Answer::Unknown.into()) };
    Ok(Answered { body: found.into(), ..Answer::Bytes { more: false }.into() })
}

fn part_page(archive: &Archive, job: JobId, part: &str, offset: u64, length: u32) -> Answering {
    if !is_part(part) || i64::try_from(offset).is_err() {
        return Ok(Answer::Unknown.into());
    }
    page(archive, format!("jobs/{job}/{part}"), offset, length)
}

fn page(archive: &Archive, path: String, offset: u64, length: u32) -> Answering {
    let wanted = PAGE_BYTES.min(length as usize);
    let Some(opened) = archive.store.open(&path, offset)? else { return Ok(Answer::Unknown.into()) };
    let mut page = Vec::with_capacity(wanted + 1);
    let read = opened.take(wanted as u64 + 1).read_to_end(&mut page);
    read.map_err(|error| StoreError::before_the_name(&path, error))?;
    let more = page.len() > wanted;
    page.truncate(wanted);
    Ok(Answered { body: page.into(), ..Answer::Bytes { more }.into() })
}

/// Whether a name is one that an end tells: any other would lead elsewhere in the store, or out of it.
fn is_part(name: &str) -> bool {
    let file = name.strip_prefix("runs/").and_then(|rest| rest.split_once('/'));
    file.is_some_and(|(partition, run)| partition.parse::<u32>().is_ok() && Uuid::try_parse(run).is_ok())
}

fn cancel(archive: &Archive, job: JobId) -> Answering {
    if archive.job(job)?.is_none() {
        return Ok(Answer::Unknown.into());
    }
    let end = archive.end_without_result(job, Outcome::Cancelled)?;
    if end.outcome != Outcome::Cancelled {
        return Ok(Answer::Refused(format!("job {job} has ended already")).into());
    }
    let (events, news) = (vec![Event::Ended(job, Ok(Some(end)))], Some(News::Ended(job)));
    Ok(Answered { events, news, ..Answer::Done.into() })
}

fn remove(archive: &Archive, job: JobId) -> Answering {
    if archive.is_removed(job)? {
        // What a removal that was cut short has left goes now.
        archive.remove(job)?;
        return Ok(Answer::Done.into());
    }
    match archive.job(job) {
        Ok(None) if archive.store.list(&format!("jobs/{job}"))?.is_empty() => return Ok(Answer::Unknown.into()),
        // Its source list came, but it was never submitted.
        Ok(None) => {}
        // Without an end and without the mark: whoever removes it at the same time has put that first.
        Ok(Some(_)) if archive.end(job)?.is_none() && !archive.is_removed(job)? => {
            return Ok(Answer::Refused(format!("job {job} is running; cancel it first")).into());
        }
        Ok(Some(found)) if let Some(reader) = archive.reader(&found.spec)? => return Ok(read_by(job, reader)),
        Err(error @ ArchiveError::Store(_)) => return Err(error),
        // A job that cannot be read does not run here.
        Ok(Some(_)) | Err(ArchiveError::Damaged { .. } | ArchiveError::Spec { .. } | ArchiveError::File { .. }) => {}
    }
    archive.remove(job)?;
    let (events, news) = (vec![Event::Removed(job)], Some(News::Removed(job)));
    Ok(Answered { events, news, ..Answer::Done.into() })
}

fn letters(archive: &Archive, job: Option<JobId>, after: &str) -> Answering {
    if let Some(job) = job
        && (archive.is_removed(job)? || archive.job(job)?.is_none())
    {
        return Ok(Answer::Unknown.into());
    }
    let (letters, more) = archive.letters(job, after)?;
    Ok(Answer::Letters { letters, more }.into())
}

fn letter_page(archive: &Archive, job: Option<JobId>, name: &str, offset: u64, length: u32) -> Answering {
    if !is_name(name) {
        return Ok(Answer::Unknown.into());
    }
    page(archive, format!("{}/{name}", dead::folder(job)), offset, length)
}

/// Of a letter, and not a path to something else.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// How many partitions a job has whose result may be amended; otherwise the answer that says why it may not.
fn amendable(archive: &Archive, job: JobId) -> Result<Result<u32, Answered>, ArchiveError> {
    if archive.is_removed(job)? {
        return Ok(Err(Answer::Unknown.into()));
    }
    let Some(found) = archive.job(job)? else { return Ok(Err(Answer::Unknown.into())) };
    if archive.end(job)?.is_some_and(|end| !end.outcome.has_result()) {
        let reason = format!("job {job} ended without a result, which nothing can amend: push its input again");
        return Ok(Err(Answer::Refused(reason).into()));
    }
    if let Some(reader) = archive.reader(&found.spec)? {
        return Ok(Err(read_by(job, reader)));
    }
    Ok(Ok(found.spec.partitions))
}

fn rereduce(archive: &Archive, job: JobId) -> Answering {
    let partitions = match amendable(archive, job)? {
        Ok(partitions) => partitions,
        Err(refused) => return Ok(refused),
    };
    let mut ledgers = archive.ledgers(job, partitions)?;
    let again = archive.reduce_again(job, &mut ledgers)?;
    Ok(Answered { events: vec![Event::Look(job)], ..Answer::Rereduced(again).into() })
}

fn retry(
    archive: &Archive,
    job: JobId,
    chunks: Vec<ChunkNumber>,
    records: Vec<(ChunkNumber, Place)>,
    came_back: bool,
) -> Answering {
    let partitions = match amendable(archive, job)? {
        Ok(partitions) => partitions,
        Err(refused) => return Ok(refused),
    };
    let asked = chunks.len() + records.len();
    if asked > RETRIED_AT_ONCE {
        let reason = format!("{asked} chunks and records at once are too many: ask for {RETRIED_AT_ONCE} at a time");
        return Ok(Answer::Refused(reason).into());
    }
    let mut ledgers = archive.ledgers(job, partitions)?;
    let (mut again, mut sent, mut under_way, mut refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for chunk in chunks {
        match archive.put_back(job, &mut ledgers, chunk, u32::MAX)? {
            PutBack::Send(retry) => {
                tracing::info!(%job, %chunk, "a lost chunk is sent again, as somebody asked for");
                again.push(Again { origin: chunk.into(), retry });
                sent.push(chunk);
            }
            PutBack::UnderWay(retry) => {
                again.extend(came_back.then(|| Again { origin: chunk.into(), retry }));
                under_way.push(chunk);
            }
            PutBack::No(reason) => refused.push((chunk, reason)),
        }
    }
    let mut fates = Vec::new();
    for (chunk, place) in records {
        fates.push((
            chunk,
            place,
            match archive.put_record_back(job, &mut ledgers, (chunk, place), u32::MAX)? {
                PutBack::Send(retry) => {
                    let (source, offset) = (place.source.0, place.offset);
                    tracing::info!(%job, %chunk, source, offset, "a lost record is sent again, as somebody asked for");
                    again.push(Again { origin: (chunk, place).into(), retry });
                    message::PutBack::Sent
                }
                PutBack::UnderWay(retry) => {
                    again.extend(came_back.then(|| Again { origin: (chunk, place).into(), retry }));
                    message::PutBack::UnderWay
                }
                PutBack::No(reason) => message::PutBack::Refused(reason),
            },
        ));
    }
    let answer = Answer::Retried { chunks: sent, under_way, refused, records: fates };
    Ok(Answered { again: Some((job, again)), events: vec![Event::Look(job)], ..answer.into() })
}

fn drop_letters(archive: &Archive, job: Option<JobId>, names: &[String]) -> Answering {
    if let Some(job) = job {
        let Some(found) = archive.job(job)? else { return Ok(Answer::Unknown.into()) };
        let ledgers = archive.ledgers(job, found.spec.partitions)?;
        let records = ledgers.iter().flat_map(|ledger| ledger.retrying_records().map(|(chunk, _)| chunk));
        let open: BTreeSet<ChunkNumber> = ledgers.iter().flat_map(Ledger::retrying).chain(records).collect();
        if let Some(chunk) = open.into_iter().find(|chunk| names.iter().any(|name| dead::is_of(name, *chunk))) {
            let reason = format!(
                "chunk {chunk} is being sent again, or a record of it, and its letter is needed until that is decided"
            );
            return Ok(Answer::Refused(reason).into());
        }
    }
    for name in names.iter().filter(|name| is_name(name)) {
        archive.drop_letter(job, name)?;
    }
    Ok(Answer::Done.into())
}

fn jobs(archive: &Archive, before: Option<JobId>, limit: usize, progress: &BTreeMap<JobId, Progress>) -> Answering {
    let mut statuses = Vec::new();
    for job in archive.jobs()?.into_iter().filter(|job| before.is_none_or(|before| *job < before)) {
        if statuses.len() == limit {
            break;
        }
        let mut status = match status_of(archive, job, false, progress.get(&job).copied()) {
            Err(error @ (ArchiveError::Damaged { .. } | ArchiveError::Spec { .. })) => {
                tracing::warn!(%job, reason = start::chain(&error), "a job that cannot be read is not listed");
                continue;
            }
            status => status?,
        };
        if let Some(end) = status.as_mut().and_then(|status| status.end.as_mut()) {
            // A list of many jobs has to fit one answer.
            (end.parts, end.counters) = (Vec::new(), BTreeMap::new());
        }
        statuses.extend(status);
    }
    Ok(Answer::Jobs(statuses).into())
}

fn status(
    archive: &Archive,
    job: JobId,
    detail: bool,
    progress: Option<Progress>,
    mut alarms: Vec<String>,
) -> Answering {
    if detail {
        alarms.extend(archive.aside_alarm()?);
    }
    let status = status_of(archive, job, detail, progress)?;
    Ok(status.map_or(Answer::Unknown, |status| Answer::Status(Box::new(Status { alarms, ..status }))).into())
}

fn status_of(
    archive: &Archive,
    job: JobId,
    detail: bool,
    progress: Option<Progress>,
) -> Result<Option<Status>, ArchiveError> {
    if archive.is_removed(job)? {
        return Ok(None);
    }
    let Some(found) = archive.job(job)? else { return Ok(None) };
    let (spec, end) = (found.spec, archive.end(job)?);
    let mut status = Status {
        job,
        program: spec.program.name,
        created_ms: spec.created_ms,
        input_bytes: spec.sources.bytes,
        chunks: archive.seal(job)?.map(|seal| seal.chunks),
        covered: 0,
        covered_bytes: 0,
        finished: 0,
        partitions: spec.partitions,
        lacking: Vec::new(),
        retrying: Vec::new(),
        retrying_records: Vec::new(),
        losses: end.as_ref().map_or_else(Losses::default, |end| end.losses.clone()),
        alarms: Vec::new(),
        after: spec.after,
        then: spec.then,
        late: 0,
        end,
    };
    match (&status.end, progress) {
        (None, Some(Progress { whole, bytes, finished, losses })) if !detail => {
            // Folded is nearly counted, and a duplicate may be folded twice.
            let covered = whole.min(status.chunks.unwrap_or(u32::MAX));
            (status.covered, status.covered_bytes, status.finished) = (covered, bytes, finished);
            status.losses.count = losses;
        }
        (Some(end), _) if !detail => {
            (status.covered, status.covered_bytes) = (end.chunks, end.counters.get("bytes").copied().unwrap_or(0));
            status.finished = u32::try_from(end.parts.len()).unwrap_or(u32::MAX);
        }
        _ => read_progress(archive, &mut status)?,
    }
    if !detail {
        // For polling and lists, the number is enough.
        status.losses = Losses { count: status.losses.count, ..Losses::default() };
        if let Some(end) = &mut status.end {
            end.losses = Losses { count: end.losses.count, ..Losses::default() };
        }
    }
    Ok(Some(status))
}

fn read_progress(archive: &Archive, status: &mut Status) -> Result<(), ArchiveError> {
    let ledgers = archive.ledgers(status.job, status.partitions)?;
    let borrowed: Vec<&Ledger> = ledgers.iter().collect();
    status.covered = ledgers.iter().map(Ledger::whole).min().unwrap_or(0);
    status.covered_bytes = ledgers.iter().map(Ledger::home_bytes).sum();
    status.finished = u32::try_from(ledgers.iter().filter(|ledger| ledger.finished().is_some()).count()).unwrap_or(0);
    if status.end.is_none() {
        status.losses = ending::losses(&borrowed);
    }
    let chunks = (0..status.chunks.unwrap_or(0)).map(ChunkNumber);
    let lacking = chunks.filter_map(|chunk| {
        let partitions: Vec<u32> =
            (0u32..).zip(&ledgers).filter(|(_, l)| !l.covers_chunk(chunk)).map(|(p, _)| p).collect();
        (!partitions.is_empty()).then_some((chunk.0, partitions))
    });
    status.lacking = lacking.take(LISTED_LACKING).collect();
    let retrying: BTreeSet<ChunkNumber> = ledgers.iter().flat_map(Ledger::retrying).collect();
    status.retrying = retrying.into_iter().take(LISTED_LACKING).collect();
    let records: BTreeSet<_> = ledgers.iter().flat_map(Ledger::retrying_records).collect();
    status.retrying_records = records.into_iter().take(LISTED_LACKING).collect();
    Ok(())
}

fn uncovered(archive: &Archive, job: JobId, chunks: u32) -> Answering {
    if u64::from(chunks) > MAX_CHUNKS {
        return Ok(too_many_chunks(chunks));
    }
    let Some(found) = archive.job(job)? else { return Ok(Answer::Unknown.into()) };
    let open = archive.open_chunks(job, found.spec.partitions, chunks)?;
    let mut ranges = ranges(open.into_iter());
    ranges.truncate(LISTED_RANGES);
    Ok(Answer::Uncovered(ranges).into())
}

impl Archive {
    /// Chunks, of so many, that are neither counted everywhere nor lost: a lost one is decided, and sending it again is another
    /// request.
    pub(crate) fn open_chunks(
        &self,
        job: JobId,
        partitions: u32,
        chunks: u32,
    ) -> Result<Vec<ChunkNumber>, ArchiveError> {
        let ledgers = self.ledgers(job, partitions)?;
        let lost: BTreeSet<ChunkNumber> = ledgers.iter().flat_map(Ledger::lost).map(|(chunk, _)| chunk).collect();
        let lacking = |chunk: &ChunkNumber| ledgers.iter().any(|ledger| !ledger.covers_chunk(*chunk));
        Ok((0..chunks).map(ChunkNumber).filter(|chunk| !lost.contains(chunk) && lacking(chunk)).collect())
    }

    /// The ledgers of all partitions, read from the store.
    pub(crate) fn ledgers(&self, job: JobId, partitions: u32) -> Result<Vec<Ledger>, ArchiveError> {
        let read = |number| {
            let mut ledger = Ledger::default();
            self.refresh(job, PartitionNumber(number), &mut ledger)?;
            Ok(ledger)
        };
        (0..partitions).map(read).collect()
    }
}
