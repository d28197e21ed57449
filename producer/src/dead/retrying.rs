//! Lost chunks sent again on request, and what came of it.
//!
//! The aggregators decide; this asks, waits and tells. What would surprise: records that a program refused cannot be sent again,
//! since the program would refuse them again; and an end of the job that is newer than the request may still have been written
//! before it, so the chunks themselves are looked at too.

use super::Letters;
use super::selection::{Listed, Selection};
use crate::client::ClientError;
use crate::failure;
use crate::figures::count;
use crate::report::chunks_named;
use crate::session::{POLL, STILL, SessionError};
use crate::shown::Shown;
use rabbit_reduce_core::id::{ChunkNumber, JobId};
use rabbit_reduce_core::message::{Answer, Ask, End, LetterKind, Outcome, Status};
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::process::tell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Chunks that one request sends again: as many as an aggregator takes, so that one version of the result counts them all.
const AT_ONCE: usize = 1000;
/// How often the chunks of a job that has not ended are looked at: the aggregator reads every ledger for it.
const LOOK: Duration = Duration::from_secs(2);

/// What is to be sent again, and what cannot be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    chunks: BTreeSet<ChunkNumber>,
    /// Refused records, of each of which there may be several letters.
    records: BTreeSet<Place>,
    /// Chunks that are counted by now.
    counted: BTreeSet<ChunkNumber>,
    /// Chunks that are counted too, in a result that is about to be amended by them.
    amending: BTreeSet<ChunkNumber>,
}

/// What the aggregators said to it.
#[derive(Debug, Default)]
struct Sent {
    chunks: BTreeSet<ChunkNumber>,
    refused: Vec<(ChunkNumber, String)>,
}

/// Sorts what was selected. Lost chunks may have no letter; the status names them.
fn wanted(letters: &[Listed], status: &Status, selection: &Selection) -> Wanted {
    let mut wanted = Wanted::default();
    for Listed { letter, .. } in letters {
        match (&letter.kind, letter.chunk) {
            (LetterKind::Records(skips), _) if letter.lost => wanted.records.extend(skips.iter().map(Skip::place)),
            (LetterKind::Records(_), _) | (_, None) => {}
            (_, Some(chunk)) if letter.lost || letter.again => drop(wanted.chunks.insert(chunk)),
            (_, Some(chunk)) => drop(wanted.counted.insert(chunk)),
        }
    }
    let losses = status.end.as_ref().map_or(&status.losses, |end| &end.losses);
    for lost in &losses.chunks {
        // Letters are asked for after the status, and from the ledgers: they know more than the last result.
        if wanted.counted.remove(&lost.chunk) {
            wanted.amending.insert(lost.chunk);
        }
    }
    if selection.is_of_chunks() {
        let lost = losses.chunks.iter().filter(|lost| !wanted.amending.contains(&lost.chunk));
        let fitting = lost.filter(|lost| selection.fits_chunk(lost.chunk.0, &lost.reason)).map(|lost| lost.chunk);
        wanted.chunks.extend(fitting.collect::<Vec<_>>());
    }
    wanted
}

/// Chunks that letters say are still, or again, lost, with the reason of the latest failure.
fn lost_again(
    letters: &[rabbit_reduce_core::message::Letter],
    chunks: &BTreeSet<ChunkNumber>,
) -> BTreeMap<ChunkNumber, String> {
    let mut lost: BTreeMap<ChunkNumber, (u32, &str)> = BTreeMap::new();
    for letter in letters.iter().filter(|letter| letter.lost && !matches!(letter.kind, LetterKind::Records(_))) {
        let Some(chunk) = letter.chunk.filter(|chunk| chunks.contains(chunk)) else { continue };
        let latest = lost.entry(chunk).or_insert((letter.retry, &letter.reason));
        if latest.0 <= letter.retry {
            *latest = (letter.retry, &letter.reason);
        }
    }
    lost.into_iter().map(|(chunk, (_, reason))| (chunk, reason.to_owned())).collect()
}

/// The line that ends it.
fn told(job: JobId, chunks: usize, lost: &BTreeMap<ChunkNumber, String>, version: Option<u32>) -> String {
    let mut text =
        format!("job {job}: {} put back: {} counted", count(chunks as u64, "chunk", "chunks"), chunks - lost.len());
    if !lost.is_empty() {
        const NAMED: usize = 3;
        let named =
            lost.iter().take(NAMED).map(|(chunk, reason)| format!("chunk {chunk}: {}", Shown(reason.as_bytes())));
        let more = if lost.len() > NAMED { "; …" } else { "" };
        let named = named.collect::<Vec<_>>().join("; ");
        text.push_str(&format!(", {} lost again ({named}{more})", lost.len()));
    }
    match version {
        Some(version) => text.push_str(&format!("; result version {version}")),
        None => text.push_str("; the job goes on"),
    }
    text
}

impl Letters {
    pub(super) async fn retry(mut self, selection: &Selection, detach: bool) -> Result<Exit, Failure> {
        let job = self.job.expect("a retry names its job");
        let before = self.session.status(job).await.map_err(failure)?;
        let wanted = wanted(&self.selected(selection).await?, &before, selection);
        self.say_what_cannot_be(&wanted);
        if wanted.chunks.is_empty() && wanted.amending.is_empty() {
            if !wanted.records.is_empty() {
                let reason = "only records are left, which their program would refuse, or die of, again";
                return Err(Failure::new(Exit::Usage, format!("nothing can be sent again: {reason}; {}", remedy(job))));
            }
            tell(&format!("job {job}: nothing of what was asked for is lost; nothing is sent again"));
            return Ok(exit(&before));
        }
        let mut sent = self.send(job, &wanted.chunks).await.map_err(failure)?;
        sent.chunks.extend(wanted.amending);
        for (chunk, reason) in &sent.refused {
            tell(&format!("not sent again: chunk {chunk}: {}", Shown(reason.as_bytes())));
        }
        if sent.chunks.is_empty() {
            return Err(Failure::new(Exit::Failed, format!("job {job}: no chunk is sent again")));
        }
        if detach {
            let count = count(sent.chunks.len() as u64, "chunk is", "chunks are");
            tell(&format!("job {job}: {count} being sent again; see `producer status {job}`"));
            return Ok(Exit::Done);
        }
        self.session.patience = None;
        let waited = self.wait(job, before.end.as_ref().map_or(0, |end| end.version), &sent.chunks).await;
        self.session.screen.finish();
        if let Err(SessionError::Interrupted) = waited {
            tell(&format!("job {job} goes on without us; see `producer status {job}`"));
        }
        waited.map_err(failure)?;
        self.conclude(job, &sent.chunks).await
    }

    fn say_what_cannot_be(&self, Wanted { chunks, records, counted, amending }: &Wanted) {
        let counted: Vec<ChunkNumber> = counted.difference(chunks).copied().collect();
        if !counted.is_empty() {
            self.session.screen.say(&format!("counted by now: {}", chunks_named(&counted)));
        }
        if !amending.is_empty() {
            let amending: Vec<ChunkNumber> = amending.iter().copied().collect();
            self.session
                .screen
                .say(&format!("sent again before, and about to be counted: {}", chunks_named(&amending)));
        }
        if !records.is_empty() && !chunks.is_empty() {
            let records = count(records.len() as u64, "record is", "records are");
            let job = self.job.expect("a retry names its job");
            self.session.screen.say(&format!(
                "{records} not sent again: their program would refuse them, or die of them, again; {}",
                remedy(job)
            ));
        }
    }

    async fn send(&self, job: JobId, chunks: &BTreeSet<ChunkNumber>) -> Result<Sent, SessionError> {
        let mut sent = Sent::default();
        let all: Vec<ChunkNumber> = chunks.iter().copied().collect();
        for some in all.chunks(AT_ONCE) {
            let ask = Ask::Retry { job, chunks: some.to_vec() };
            let (Answer::Retried { chunks, under_way, refused }, _) = self.session.ask(ask, &[]).await? else {
                return Err(ClientError::Confused.into());
            };
            for (what, chunks) in [("sent again", &chunks), ("being sent again already", &under_way)] {
                if !chunks.is_empty() {
                    self.session.screen.say(&format!("{what}: {}", chunks_named(chunks)));
                }
            }
            sent.chunks.extend(chunks.into_iter().chain(under_way));
            sent.refused.extend(refused);
        }
        Ok(sent)
    }

    /// Waits until every chunk is decided, and its job's result amended if it had one.
    async fn wait(&self, job: JobId, mut before: u32, chunks: &BTreeSet<ChunkNumber>) -> Result<(), SessionError> {
        let began = clock::instant();
        loop {
            let (Answer::Status(status), _) = self.session.ask(Ask::Status { job, detail: false }, &[]).await? else {
                return Err(ClientError::Confused.into());
            };
            let pause = match &status.end {
                // It had a result, which is not amended yet.
                Some(end) if end.version == before => POLL,
                end => {
                    let open = self.open(chunks).await?;
                    if open.is_empty() || end.as_ref().is_some_and(|end| !end.outcome.has_result()) {
                        return Ok(());
                    }
                    // The end was written before the chunks were sent; the one that amends it comes.
                    before = end.as_ref().map_or(before, |end| end.version);
                    LOOK
                }
            };
            for alarm in &status.alarms {
                self.session.screen.say(&format!("the aggregator waits: {alarm}"));
            }
            if began.elapsed() >= STILL {
                self.session.say_what_it_waits_for().await;
            }
            tokio::select! {
                biased;
                () = self.session.client.news() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.session.shutdown.graceful() => return Err(SessionError::Interrupted),
            }
        }
    }

    /// Those of the chunks that are being sent again.
    async fn open(&self, chunks: &BTreeSet<ChunkNumber>) -> Result<BTreeSet<ChunkNumber>, SessionError> {
        let letters = self.all().await?;
        let again = letters.iter().filter(|letter| letter.again).filter_map(|letter| letter.chunk);
        Ok(again.filter(|chunk| chunks.contains(chunk)).collect())
    }

    async fn conclude(&self, job: JobId, chunks: &BTreeSet<ChunkNumber>) -> Result<Exit, Failure> {
        let status = self.session.status(job).await.map_err(failure)?;
        match &status.end {
            Some(End { outcome: Outcome::Failed(reason), .. }) => {
                return Err(Failure::new(Exit::Failed, format!("job {job} failed: {reason}")));
            }
            Some(End { outcome: Outcome::Cancelled, .. }) => {
                return Err(Failure::new(Exit::Interrupted, format!("job {job} was cancelled")));
            }
            _ => {}
        }
        let lost = lost_again(&self.all().await.map_err(failure)?, chunks);
        tell(&told(job, chunks.len(), &lost, status.end.as_ref().map(|end| end.version)));
        Ok(exit(&status))
    }
}

fn remedy(job: JobId) -> String {
    format!("correct the input (`producer dead show {job}` tells which) and push it as a job of its own")
}

/// Whether anything of the job is lost.
const fn exit(status: &Status) -> Exit {
    let losses = match &status.end {
        Some(end) => &end.losses,
        None => &status.losses,
    };
    if losses.is_empty() { Exit::Done } else { Exit::Losses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::opened::tests::{failed_chunk, opened, refused_records};
    use rabbit_reduce_core::message::{Letter, Losses, LostChunk};
    use uuid::Uuid;

    fn letter(chunk: u32, retry: u32, reason: &str, lost: bool, again: bool) -> Letter {
        let letter = opened(&format!("{chunk:010}-{retry:x}"), &failed_chunk()).listed.letter;
        Letter { retry, reason: reason.to_owned(), lost, again, ..letter }
    }

    fn listed(letters: &[Letter]) -> Vec<Listed> {
        letters.iter().map(|letter| Listed { letter: letter.clone(), short: letter.name.clone() }).collect()
    }

    fn status(lost: &[u32]) -> Status {
        let lost = lost.iter().map(|chunk| LostChunk {
            chunk: ChunkNumber(*chunk),
            partitions: Vec::new(),
            reason: "why".to_owned(),
        });
        let losses = Losses { count: lost.len() as u64, chunks: lost.collect(), records: Vec::new() };
        Status {
            job: JobId(Uuid::from_u128(7)),
            program: "sum".to_owned(),
            created_ms: 0,
            input_bytes: None,
            chunks: None,
            covered: 0,
            covered_bytes: 0,
            finished: 0,
            partitions: 1,
            lacking: Vec::new(),
            retrying: Vec::new(),
            losses,
            alarms: Vec::new(),
            late: 0,
            end: None,
        }
    }

    fn numbers(chunks: &BTreeSet<ChunkNumber>) -> Vec<u32> {
        chunks.iter().map(|chunk| chunk.0).collect()
    }

    #[test]
    fn lost_chunks_are_sent_and_counted_ones_and_records_are_not() {
        let records = opened("0000000009-a", &refused_records()).listed.letter;
        let letters = [
            letter(1, 0, "", true, false),
            letter(1, 1, "", true, false),
            letter(2, 0, "", false, false),
            letter(3, 0, "", false, true),
            records.clone(),
            records,
        ];
        let all = wanted(&listed(&letters), &status(&[1, 7]), &Selection::default());
        assert_eq!((numbers(&all.chunks), numbers(&all.counted), all.records.len()), (vec![1, 3, 7], vec![2], 3));
        let amending = wanted(&listed(&letters), &status(&[1, 2, 7]), &Selection::default());
        assert_eq!((numbers(&amending.chunks), amending.counted.len()), (vec![1, 3, 7], 0));
        assert_eq!(numbers(&amending.amending), [2], "its result is older than its letters");
        let one = Selection { chunks: vec![8], ..Selection::default() };
        assert_eq!(wanted(&[], &status(&[1, 8]), &one).chunks, BTreeSet::from([ChunkNumber(8)]), "it has no letter");
        let named = Selection { names: vec!["1-0".parse().unwrap()], ..Selection::default() };
        assert_eq!(numbers(&wanted(&listed(&letters[..1]), &status(&[1, 7]), &named).chunks), [1]);
    }

    #[test]
    fn what_is_lost_again_is_told_with_its_latest_reason() {
        let letters = [
            letter(1, 0, "first", true, false),
            letter(1, 1, "second\x1b", true, false),
            letter(2, 0, "x", false, false),
            letter(9, 0, "not asked for", true, false),
        ];
        let chunks = BTreeSet::from([ChunkNumber(1), ChunkNumber(2)]);
        let lost = lost_again(&letters, &chunks);
        assert_eq!(lost, BTreeMap::from([(ChunkNumber(1), "second\x1b".to_owned())]));
        let text = told(JobId(Uuid::from_u128(7)), 2, &lost, Some(2));
        let expected = "2 chunks put back: 1 counted, 1 lost again (chunk 1: second\\u{1b}); result version 2";
        assert!(text.ends_with(expected), "{text}");
        let text = told(JobId(Uuid::from_u128(7)), 1, &BTreeMap::new(), None);
        assert!(text.ends_with(": 1 chunk put back: 1 counted; the job goes on"), "{text}");
    }
}
