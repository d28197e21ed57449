//! Dead letters as the store keeps them: the message as it came, and beside it what is to be told of it.
//!
//! Blocks; decides nothing. What would surprise: a letter's name begins with its chunk, where it has one, so that a chunk's task
//! is found again without reading the others; and the summary is only a saving, made again from the message where it is missing.

use crate::archive::{Archive, ArchiveError};
use crate::aside::{self, Note};
use crate::ending;
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, SourceNumber};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::message::{
    self, Failure, LETTER_SOURCES, Letter, LetterKind, Partial, RecordState, Refused, Task,
};
use rabbit_reduce_core::selection::Column;
use rabbit_reduce_core::skip::{Place, Skip};
use std::collections::{BTreeMap, BTreeSet};

/// Letters that one answer lists.
const LISTED_LETTERS: usize = 100;
/// What they may take in it, in bytes, about.
const LISTED_BYTES: usize = 1 << 20;
/// What the name of a summary ends with; the rest is its letter's.
const SUMMARY: &str = aside::NOTE;

/// What the ledgers say of that which letters are about.
#[derive(Default)]
struct Standing {
    lost: BTreeSet<ChunkNumber>,
    again: BTreeSet<ChunkNumber>,
    /// Records that are left out since they kill who maps them.
    left_out: BTreeSet<(ChunkNumber, Place)>,
    /// Records that were sent again, and are counted in every partition, or open in any.
    records: BTreeMap<(ChunkNumber, Place), RecordState>,
}

impl Standing {
    /// Says of a letter what has become of what it is about. A failure at a record is about that alone if it was left out, and
    /// about the whole chunk if it was too late for that.
    fn mark(&self, letter: &mut Letter) {
        let Some(chunk) = letter.chunk else { return };
        if let Some(place) = letter.record.filter(|place| self.left_out.contains(&(chunk, *place))) {
            letter.kind = LetterKind::Records(vec![Skip::new(place.source, place.offset, letter.reason.clone())]);
            (letter.sources, letter.offset) = (vec![place.source], None);
        }
        let lost = self.lost.contains(&chunk);
        letter.again = self.again.contains(&chunk);
        let LetterKind::Records(skips) = &letter.kind else {
            letter.lost = lost;
            return;
        };
        if lost {
            // They are lost with their chunk, and no loss of their own.
            letter.lost = false;
            return;
        }
        let state = |skip: &Skip| self.records.get(&(chunk, skip.place())).copied().unwrap_or(RecordState::Lost);
        letter.records = skips.iter().map(state).collect();
        letter.again |= letter.records.contains(&RecordState::Again);
        letter.lost = letter.records.contains(&RecordState::Lost);
    }
}

/// Where the letters of a job are, or those of none.
pub(crate) fn folder(job: Option<JobId>) -> String {
    job.map_or_else(|| aside::FOLDER.to_owned(), |job| format!("jobs/{job}/dead"))
}

/// What letters of a chunk begin with.
fn prefix(chunk: ChunkNumber) -> String {
    format!("{:010}-", chunk.0)
}

/// Whether a letter of that name is about a chunk.
pub(crate) fn is_of(name: &str, chunk: ChunkNumber) -> bool {
    name.starts_with(&prefix(chunk))
}

impl Archive {
    /// Keeps a letter of a job; its name.
    pub(crate) fn keep_letter(
        &self,
        job: JobId,
        chunk: ChunkNumber,
        letter: &Bytes,
        reason: &str,
    ) -> Result<String, ArchiveError> {
        let name = format!("{}{:032x}", prefix(chunk), xxhash_rust::xxh3::xxh3_128(letter));
        let path = format!("{}/{name}", folder(Some(job)));
        self.put_bytes(&path, letter)?;
        let summary = Letter { name: name.clone(), reason: reason.to_owned(), ..summary(letter) };
        let summary = serde_json::to_vec(&summary).expect("letters are plain data");
        self.put_bytes(&format!("{path}{SUMMARY}"), &summary)?;
        Ok(name)
    }

    /// How many letters a job has.
    pub(crate) fn letter_count(&self, job: JobId) -> Result<u64, ArchiveError> {
        let names = self.store.list(&folder(Some(job)))?;
        Ok(names.iter().filter(|name| !name.ends_with(SUMMARY)).count() as u64)
    }

    /// Summaries of letters, in the order of their names, and whether there are more.
    pub(crate) fn letters(&self, job: Option<JobId>, after: &str) -> Result<(Vec<Letter>, bool), ArchiveError> {
        let standing = job.map_or_else(|| Ok(Standing::default()), |job| self.standing(job))?;
        let mut names = self.store.list(&folder(job))?;
        names.retain(|name| !name.ends_with(SUMMARY) && name.as_str() > after);
        let (mut letters, mut bytes) = (Vec::new(), 0);
        for name in names {
            if letters.len() == LISTED_LETTERS || bytes > LISTED_BYTES {
                return Ok((letters, true));
            }
            let Some(mut letter) = self.letter(job, name)? else { continue };
            standing.mark(&mut letter);
            bytes += serde_json::to_vec(&letter).map_or(0, |json| json.len());
            letters.push(letter);
        }
        Ok((letters, false))
    }

    fn standing(&self, job: JobId) -> Result<Standing, ArchiveError> {
        let Some(file) = self.job(job)? else { return Ok(Standing::default()) };
        let mut standing = Standing::default();
        let ledgers = self.ledgers(job, file.spec.partitions)?;
        let borrowed: Vec<&Ledger> = ledgers.iter().collect();
        standing.records.extend(ending::counted_records(&borrowed).map(|record| (record, RecordState::Counted)));
        for ledger in ledgers {
            standing.records.extend(ledger.retrying_records().map(|record| (record, RecordState::Again)));
            standing.lost.extend(ledger.lost().map(|(chunk, _)| chunk));
            standing.again.extend(ledger.retrying());
            standing.left_out.extend(ledger.left_out());
        }
        Ok(standing)
    }

    fn letter(&self, job: Option<JobId>, name: String) -> Result<Option<Letter>, ArchiveError> {
        let path = format!("{}/{name}", folder(job));
        let kept = self.store.get(&format!("{path}{SUMMARY}"))?;
        if let Some(letter) = kept.as_deref().and_then(|json| serde_json::from_slice::<Letter>(json).ok()) {
            return Ok(Some(letter));
        }
        // It has a note and no summary, or whoever put it died before that; or it was dropped just now.
        let Some(letter) = self.store.get(&path)?.map(Bytes::from) else { return Ok(None) };
        let mut letter = Letter { name, ..summary(&letter) };
        if let Some(note) = kept.and_then(|json| serde_json::from_slice::<Note>(&json).ok()) {
            (letter.reason, letter.time_ms) = (note.reason, note.first_seen_ms);
        }
        Ok(Some(letter))
    }

    /// The task of a chunk that failed, as it was sent last.
    pub(crate) fn kept_task(&self, job: JobId, chunk: ChunkNumber) -> Result<Option<(Task, Bytes)>, ArchiveError> {
        let folder = folder(Some(job));
        let mut newest: Option<(Task, Bytes)> = None;
        for name in self.store.list(&folder)? {
            if !is_of(&name, chunk) || name.ends_with(SUMMARY) {
                continue;
            }
            let Some(letter) = self.store.get(&format!("{folder}/{name}"))?.map(Bytes::from) else { continue };
            let task = match message::decode::<Failure>(&letter) {
                Ok((_, task)) => message::decode::<Task>(&task),
                Err(_) => message::decode::<Task>(&letter),
            };
            if let Ok((task, body)) = task
                && task.record.is_none()
                && newest.as_ref().is_none_or(|(known, _)| known.retry <= task.retry)
            {
                newest = Some((task, body));
            }
        }
        Ok(newest)
    }

    /// The bytes of a record that its chunk left out, and the column that is looked at in it, if a letter has them.
    pub(crate) fn kept_record(
        &self,
        job: JobId,
        chunk: ChunkNumber,
        place: Place,
    ) -> Result<Option<(Bytes, Option<Column>)>, ArchiveError> {
        let folder = folder(Some(job));
        for name in self.store.list(&folder)? {
            if !is_of(&name, chunk) || name.ends_with(SUMMARY) {
                continue;
            }
            let Some(letter) = self.store.get(&format!("{folder}/{name}"))?.map(Bytes::from) else { continue };
            if let Ok((refused, body)) = message::decode::<Refused>(&letter)
                && let Some((record, bytes)) = refused.record_at(place, body)
            {
                return Ok(Some((bytes, record.column)));
            }
        }
        Ok(None)
    }

    /// Forgets a letter.
    pub(crate) fn drop_letter(&self, job: Option<JobId>, name: &str) -> Result<(), ArchiveError> {
        let path = format!("{}/{name}", folder(job));
        self.store.remove(&format!("{path}{SUMMARY}"))?;
        Ok(self.store.remove(&path)?)
    }
}

/// What a message tells of itself.
fn summary(letter: &Bytes) -> Letter {
    let unknown = Letter {
        name: String::new(),
        kind: LetterKind::Unknown,
        chunk: None,
        reason: String::new(),
        sources: Vec::new(),
        offset: None,
        attempts: 0,
        retry: 0,
        time_ms: 0,
        bytes: letter.len() as u64,
        record: None,
        records: Vec::new(),
        lost: false,
        again: false,
    };
    if let Ok((failure, task)) = message::decode::<Failure>(letter) {
        let Failure { chunk, reason, attempts, retry, record, retried, time_ms, .. } = failure;
        let (sources, offset) = message::decode::<Task>(&task).map(|(task, _)| places(&task)).unwrap_or_default();
        let of_record = retried.map(|place| vec![Skip::new(place.source, place.offset, reason.clone())]);
        let (kind, chunk) = (of_record.map_or(LetterKind::Chunk, LetterKind::Records), Some(chunk));
        return Letter { kind, chunk, reason, sources, offset, attempts, retry, record, time_ms, ..unknown };
    }
    if let Ok((task, _)) = message::decode::<Task>(letter) {
        let reason = "the broker gave up delivering it".to_owned();
        let of_record = task.record.map(|place| vec![Skip::new(place.source, place.offset, reason.clone())]);
        let kind = of_record.map_or(LetterKind::Chunk, LetterKind::Records);
        let (chunk, (sources, offset)) = (Some(task.chunk), places(&task));
        return Letter { kind, chunk, reason, sources, offset, attempts: task.attempt, retry: task.retry, ..unknown };
    }
    if let Ok((refused, _)) = message::decode::<Refused>(letter) {
        let skips: Vec<_> = refused.records.into_iter().map(|record| record.skip).collect();
        let reason = skips.first().map(|skip| skip.reason.clone()).unwrap_or_default();
        let sources = first_of(skips.iter().map(|skip| skip.source));
        let (kind, chunk) = (LetterKind::Records(skips), Some(refused.chunk));
        return Letter { kind, chunk, reason, sources, attempts: 1, ..unknown };
    }
    if let Ok((partial, _)) = message::decode::<Partial>(letter) {
        let (kind, chunk) = (LetterKind::Partial, Some(partial.chunk));
        return Letter { kind, chunk, attempts: partial.attempt, ..unknown };
    }
    unknown
}

/// The sources of a task, and where it begins in the first of them; its pieces are in the order of the input.
fn places(task: &Task) -> (Vec<SourceNumber>, Option<u64>) {
    (first_of(task.pieces.iter().map(|piece| piece.source)), task.pieces.first().map(|piece| piece.offset))
}

fn first_of(sources: impl Iterator<Item = SourceNumber>) -> Vec<SourceNumber> {
    sources.collect::<BTreeSet<_>>().into_iter().take(LETTER_SOURCES).collect()
}
