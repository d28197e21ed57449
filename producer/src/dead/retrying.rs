//! Lost chunks and records sent again, and lost keys reduced again, on request, and what came of it.
//!
//! The aggregators decide; this asks, waits and tells. What would surprise: a key is reduced again together with all others of its
//! partition, so whoever asks for one asks for all; a record that its program refused is refused again, and
//! told so, since no program here changes its mind; and an end of the job that is newer than the request may still have been
//! written before it, so what was sent is looked at too.

use super::Letters;
use super::selection::{Listed, Selection};
use crate::failure;
use crate::report::source_named;
use crate::session::{POLL, STILL, SessionError};
use rabbit_reduce_core::id::{ChunkNumber, JobId, Origin};
use rabbit_reduce_core::message::{
    Answer, Ask, End, Letter, LetterKind, Losses, Outcome, PutBack, RecordState, Rereduced, Status,
};
use rabbit_reduce_core::skip::{LostKey, Place, Skip};
use rabbit_reduce_runtime::client::ClientError;
use rabbit_reduce_runtime::figures::count;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::process::tell;
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::chunks_named;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Chunks and records that one request sends again: as many as an aggregator takes, so that one version of the result counts
/// them all.
const AT_ONCE: usize = 1000;
/// How often the chunks of a job that has not ended are looked at: the aggregator reads every ledger for it.
const LOOK: Duration = Duration::from_secs(2);

/// What is to be sent again, and what cannot be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// Chunks and records that are lost, or being sent again already.
    lost: BTreeSet<Origin>,
    /// Those that are counted by now.
    counted: BTreeSet<Origin>,
    /// Those that are counted too, in a result that is about to be amended by them.
    amending: BTreeSet<Origin>,
}

/// What the aggregators said to it.
#[derive(Debug, Default)]
struct Sent {
    origins: BTreeSet<Origin>,
    refused: Vec<(Origin, String)>,
    /// Partitions that are reduced again, since they lack keys.
    rereduced: Vec<Rereduced>,
    /// How many keys that is about. Without partitions they were reduced again before, for a result that is about to be amended.
    keys: u64,
}

impl Sent {
    fn is_empty(&self) -> bool {
        self.origins.is_empty() && self.keys == 0
    }

    /// Whether an end tells what came of all keys.
    fn is_reduced_in(&self, end: &End) -> bool {
        let is_newer = |one: &Rereduced| end.parts.get(one.partition.index()).is_some_and(|part| part.at > one.at);
        self.rereduced.iter().all(is_newer)
    }

    /// How much is put back.
    fn amount(&self) -> String {
        let keys = count(self.keys, "key", "keys");
        match (self.origins.is_empty(), self.keys == 0) {
            (_, true) => amount(&self.origins),
            (true, false) => keys,
            (false, false) => format!("{} and {keys}", amount(&self.origins)),
        }
    }
}

/// The records of a letter, each with what has become of it. Those that are lost with their chunk are none.
fn records(letter: &Letter) -> impl Iterator<Item = (Origin, &Skip, RecordState)> {
    let skips: &[Skip] = if let LetterKind::Records(skips) = &letter.kind { skips } else { &[] };
    // An aggregator of an earlier release says the same of all: it knows no retries of records.
    let states = letter.records.iter().copied().chain(std::iter::repeat(RecordState::Lost));
    let lost_alone = letter.lost || !letter.records.is_empty();
    let chunk = letter.chunk.filter(|_| lost_alone);
    skips.iter().zip(states).filter_map(move |(skip, state)| Some(((chunk?, skip.place()).into(), skip, state)))
}

/// Sorts what was selected. Lost chunks may have no letter; the status names them.
fn wanted(letters: &[Listed], status: &Status, selection: &Selection, sources: &[Vec<u8>]) -> Wanted {
    let mut wanted = Wanted::default();
    for Listed { letter, .. } in letters {
        for (origin, _, state) in records(letter).filter(|(_, skip, _)| selection.fits_record(skip, sources)) {
            let to = if state == RecordState::Counted { &mut wanted.counted } else { &mut wanted.lost };
            to.insert(origin);
        }
        match (&letter.kind, letter.chunk) {
            (LetterKind::Records(_), _) | (_, None) => {}
            (_, Some(chunk)) if letter.lost || letter.again => drop(wanted.lost.insert(chunk.into())),
            (_, Some(chunk)) => drop(wanted.counted.insert(chunk.into())),
        }
    }
    let losses = losses(status);
    // Letters are asked for after the status, and from the ledgers: they know more than the last result.
    let lost_chunks: BTreeSet<ChunkNumber> = losses.chunks.iter().map(|lost| lost.chunk).collect();
    let lost_places: BTreeSet<Place> = losses.records.iter().map(Skip::place).collect();
    let amends = |origin: &Origin| match origin.record {
        None => lost_chunks.contains(&origin.chunk),
        Some(place) => lost_places.contains(&place),
    };
    wanted.amending = wanted.counted.extract_if(.., |origin| amends(origin)).collect();
    if selection.is_of_chunks() {
        let lost = losses.chunks.iter().filter(|lost| !wanted.amending.contains(&lost.chunk.into()));
        let fitting =
            lost.filter(|lost| selection.fits_chunk(lost.chunk.0, &lost.reason)).map(|lost| Origin::from(lost.chunk));
        wanted.lost.extend(fitting.collect::<Vec<_>>());
    }
    wanted.counted = wanted.counted.difference(&wanted.lost).copied().collect();
    wanted
}

/// What letters say is still, or again, lost, with the reason of the latest failure.
fn lost_again(letters: &[Letter], origins: &BTreeSet<Origin>) -> BTreeMap<Origin, String> {
    let mut lost: BTreeMap<Origin, (u32, &str)> = BTreeMap::new();
    for letter in letters.iter().filter(|letter| letter.lost) {
        let of_records = matches!(letter.kind, LetterKind::Records(_));
        let chunk = letter.chunk.filter(|_| !of_records).map(|chunk| (Origin::from(chunk), letter.reason.as_str()));
        let records = records(letter).filter(|(.., state)| *state == RecordState::Lost);
        let records = records.map(|(origin, skip, _)| (origin, skip.reason.as_str()));
        for (origin, reason) in records.chain(chunk).filter(|(origin, _)| origins.contains(origin)) {
            let latest = lost.entry(origin).or_insert((letter.retry, reason));
            if latest.0 <= letter.retry {
                *latest = (letter.retry, reason);
            }
        }
    }
    lost.into_iter().map(|(origin, (_, reason))| (origin, reason.to_owned())).collect()
}

fn name(origin: Origin, sources: &[Vec<u8>]) -> String {
    match origin.record {
        None => format!("chunk {}", origin.chunk),
        Some(Place { source, offset }) => format!("{}, byte {offset}", source_named(source, sources)),
    }
}

/// Chunks by their numbers, and the first of the records by their places.
fn names<'o>(origins: impl IntoIterator<Item = &'o Origin>, sources: &[Vec<u8>]) -> String {
    const NAMED: usize = 3;
    let (records, chunks): (Vec<Origin>, Vec<Origin>) = origins.into_iter().partition(|origin| origin.record.is_some());
    let chunks: Vec<ChunkNumber> = chunks.into_iter().map(|origin| origin.chunk).collect();
    let mut parts: Vec<String> = (!chunks.is_empty()).then(|| chunks_named(&chunks)).into_iter().collect();
    parts.extend(records.iter().take(NAMED).map(|record| name(*record, sources)));
    if records.len() > NAMED {
        parts.push(format!("{} more", count((records.len() - NAMED) as u64, "record", "records")));
    }
    parts.join("; ")
}

/// How many chunks, and how many records.
fn amount(origins: &BTreeSet<Origin>) -> String {
    let records = origins.iter().filter(|origin| origin.record.is_some()).count();
    let chunks = count((origins.len() - records) as u64, "chunk", "chunks");
    let text = count(records as u64, "record", "records");
    match (origins.len() - records, records) {
        (_, 0) => chunks,
        (0, _) => text,
        _ => format!("{chunks} and {text}"),
    }
}

/// The line that ends it.
fn told(
    job: JobId,
    origins: &BTreeSet<Origin>,
    lost: &BTreeMap<Origin, String>,
    version: Option<u32>,
    sources: &[Vec<u8>],
) -> String {
    let mut text = format!("job {job}: {} put back: {} counted", amount(origins), origins.len() - lost.len());
    if !lost.is_empty() {
        const NAMED: usize = 3;
        let named = lost
            .iter()
            .take(NAMED)
            .map(|(origin, reason)| format!("{}: {}", name(*origin, sources), Shown(reason.as_bytes())));
        let more = if lost.len() > NAMED { "; …" } else { "" };
        let named = named.collect::<Vec<_>>().join("; ");
        text.push_str(&format!(", {} lost again ({named}{more})", lost.len()));
    }
    match version {
        Some(version) => text.push_str(&format!("; result version {version}")),
        None => text.push_str("; the job goes on"),
    }
    if lost.keys().any(|origin| origin.record.is_some()) {
        text.push_str(&format!("\njob {job}: {}", remedy(job)));
    }
    text
}

/// Whether not all that is lost is listed.
pub(super) fn is_cut_short(losses: &Losses) -> bool {
    losses.count > (losses.chunks.len() + losses.records.len() + losses.keys.len()) as u64
}

/// Whether a key that is left out is meant: one that is listed, or may be one that is not.
fn may_lack_keys(losses: &Losses, selection: &Selection) -> bool {
    let may_be = is_cut_short(losses) && selection.is_of_any_chunk();
    may_be || losses.keys.iter().any(|key| selection.fits_key(key))
}

/// The line that tells what came of keys.
fn keys_told(job: JobId, keys: u64, end: &End) -> String {
    const NAMED: usize = 3;
    let lost = &end.losses.keys;
    let mut text = format!("job {job}: {} reduced again", count(keys, "key", "keys"));
    if is_cut_short(&end.losses) {
        text.push_str("; too much is lost to tell which are in the result now");
    } else if lost.is_empty() {
        text.push_str(", and in the result now");
    } else {
        let named = lost.iter().take(NAMED).map(|lost| {
            let LostKey { key, reason, .. } = lost;
            format!("`{}`: {}", Shown(&key.0), Shown(reason.as_bytes()))
        });
        let more = if lost.len() > NAMED { "; …" } else { "" };
        let named = named.collect::<Vec<_>>().join("; ");
        text.push_str(&format!(", {} left out again ({named}{more})", lost.len()));
    }
    text.push_str(&format!("; result version {}", end.version));
    text
}

impl Letters {
    pub(super) async fn retry(mut self, selection: &Selection, detach: bool) -> Result<Exit, Failure> {
        let job = self.job.expect("a retry names its job");
        let before = self.session.status(job).await.map_err(failure)?;
        let wanted = wanted(&self.selected(selection).await?, &before, selection, &self.sources);
        self.say_what_cannot_be(&wanted);
        let keys = may_lack_keys(losses(&before), selection);
        if wanted.lost.is_empty() && wanted.amending.is_empty() && !keys {
            let lost = losses(&before).count;
            tell(&if lost == 0 || !selection.is_everything() {
                format!("job {job}: nothing of what was asked for is lost; nothing is sent again")
            } else {
                let lost = count(lost, "loss", "losses");
                format!(
                    "job {job}: no letter holds what was asked for, of {lost}; nothing is sent again: mend the input, and push what \
                     `producer status {job}` names as a job of its own"
                )
            });
            return Ok(exit(&before));
        }
        self.read_again(job, &before, &wanted.lost).await.map_err(failure)?;
        let mut sent = self.send(job, &wanted.lost).await.map_err(failure)?;
        sent.origins.extend(wanted.amending);
        for (origin, reason) in &sent.refused {
            tell(&format!("not sent again: {}: {}", name(*origin, &self.sources), Shown(reason.as_bytes())));
        }
        if keys {
            sent.rereduced = self.reduce_again(job).await.map_err(failure)?;
            // Who had the request before may have died when all was done but the answer.
            let listed = losses(&before).keys.len() as u64;
            sent.keys = match sent.rereduced.iter().map(|partition| u64::from(partition.keys)).sum() {
                0 => listed,
                again => again,
            };
        }
        if sent.is_empty() {
            return Err(Failure::new(Exit::Failed, format!("job {job}: nothing is sent again")));
        }
        if detach {
            let are = if sent.origins.len() as u64 + sent.keys == 1 { "is" } else { "are" };
            let what = if sent.origins.is_empty() { "reduced" } else { "sent" };
            let amount = sent.amount();
            tell(&format!("job {job}: {amount} {are} being {what} again; see `producer status {job}`"));
            return Ok(Exit::Done);
        }
        self.session.patience = None;
        let waited = self.wait(job, before.end.as_ref().map_or(0, |end| end.version), &sent).await;
        self.session.screen.finish();
        if let Err(SessionError::Interrupted) = waited {
            tell(&format!("job {job} goes on without us; see `producer status {job}`"));
        }
        waited.map_err(failure)?;
        self.conclude(job, &sent).await
    }

    fn say_what_cannot_be(&self, Wanted { counted, amending, .. }: &Wanted) {
        for (what, origins) in [("counted by now", counted), ("sent again before, and about to be counted", amending)] {
            if !origins.is_empty() {
                self.session.screen.say(&format!("{what}: {}", names(origins, &self.sources)));
            }
        }
    }

    async fn send(&self, job: JobId, origins: &BTreeSet<Origin>) -> Result<Sent, SessionError> {
        let mut sent = Sent::default();
        let all: Vec<Origin> = origins.iter().copied().collect();
        for some in all.chunks(AT_ONCE) {
            let records: Vec<_> = some.iter().filter_map(|origin| Some((origin.chunk, origin.record?))).collect();
            let chunks = some.iter().filter(|origin| origin.record.is_none()).map(|origin| origin.chunk).collect();
            let ask = Ask::Retry { job, chunks, records: records.clone() };
            let (Answer::Retried { chunks, under_way, refused, records: fates }, _) =
                self.session.ask(ask, &[]).await?
            else {
                return Err(ClientError::Confused.into());
            };
            let mut now: Vec<Origin> = chunks.into_iter().map(Origin::from).collect();
            let mut before: Vec<Origin> = under_way.into_iter().map(Origin::from).collect();
            sent.refused.extend(refused.into_iter().map(|(chunk, reason)| (chunk.into(), reason)));
            let mut fates: BTreeMap<_, _> =
                fates.into_iter().map(|(chunk, place, fate)| ((chunk, place), fate)).collect();
            for record in records {
                match fates.remove(&record) {
                    Some(PutBack::Sent) => now.push(record.into()),
                    Some(PutBack::UnderWay) => before.push(record.into()),
                    Some(PutBack::Refused(reason)) => sent.refused.push((record.into(), reason)),
                    None => {
                        let reason =
                            "the aggregator is of an earlier release, which sends whole chunks only".to_owned();
                        sent.refused.push((record.into(), reason));
                    }
                }
            }
            for (what, origins) in [("sent again", &now), ("being sent again already", &before)] {
                if !origins.is_empty() {
                    self.session.screen.say(&format!("{what}: {}", names(origins, &self.sources)));
                }
            }
            sent.origins.extend(now.into_iter().chain(before));
        }
        Ok(sent)
    }

    async fn reduce_again(&self, job: JobId) -> Result<Vec<Rereduced>, SessionError> {
        let (Answer::Rereduced(partitions), _) = self.session.ask(Ask::Rereduce { job }, &[]).await? else {
            return Err(ClientError::Confused.into());
        };
        for Rereduced { partition, keys, .. } in &partitions {
            let keys = count(u64::from(*keys), "key", "keys");
            self.session.screen.say(&format!("reduced again: {keys} of partition {partition}, and all others of it"));
        }
        Ok(partitions)
    }

    /// Waits until everything is decided, and its job's result amended if it had one.
    async fn wait(&self, job: JobId, mut before: u32, sent: &Sent) -> Result<(), SessionError> {
        let began = clock::instant();
        loop {
            let (Answer::Status(status), _) = self.session.ask(Ask::Status { job, detail: false }, &[]).await? else {
                return Err(ClientError::Confused.into());
            };
            let pause = match &status.end {
                // It had a result, which is not amended yet.
                Some(end) if end.version == before => POLL,
                Some(end) if end.outcome.has_result() && !sent.is_reduced_in(end) => POLL,
                None if !sent.rereduced.is_empty() => POLL,
                end => {
                    let open = self.open(&sent.origins).await?;
                    if open.is_empty() || end.as_ref().is_some_and(|end| !end.outcome.has_result()) {
                        return Ok(());
                    }
                    // The end was written before they were sent; the one that amends it comes.
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

    /// Those that are being sent again.
    async fn open(&self, origins: &BTreeSet<Origin>) -> Result<BTreeSet<Origin>, SessionError> {
        let letters = self.all().await?;
        let open = letters.iter().filter(|letter| letter.again).flat_map(|letter| {
            let of_records = matches!(letter.kind, LetterKind::Records(_));
            let again = records(letter).filter(|(.., state)| *state == RecordState::Again);
            let chunk = letter.chunk.filter(|_| !of_records).map(Origin::from);
            again.map(|(origin, ..)| origin).chain(chunk)
        });
        Ok(open.filter(|origin| origins.contains(origin)).collect())
    }

    async fn conclude(&self, job: JobId, sent: &Sent) -> Result<Exit, Failure> {
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
        let version = status.end.as_ref().map(|end| end.version);
        if !sent.origins.is_empty() {
            let lost = lost_again(&self.all().await.map_err(failure)?, &sent.origins);
            tell(&told(job, &sent.origins, &lost, version, &self.sources));
        }
        if let (true, Some(end)) = (sent.keys > 0, &status.end) {
            tell(&keys_told(job, sent.keys, end));
        }
        Ok(exit(&status))
    }
}

fn remedy(job: JobId) -> String {
    format!(
        "a record that is lost again: correct it (`producer dead show {job}` tells which) and push it as a job of its own"
    )
}

/// What is not counted, as far as the newest result knows.
pub(super) const fn losses(status: &Status) -> &Losses {
    match &status.end {
        Some(end) => &end.losses,
        None => &status.losses,
    }
}

/// Whether anything of the job is lost.
const fn exit(status: &Status) -> Exit {
    if losses(status).is_empty() { Exit::Done } else { Exit::Losses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::opened::tests::{failed_chunk, opened, refused_records};
    use rabbit_reduce_core::id::{PartitionNumber, SourceNumber};
    use rabbit_reduce_core::message::{LostChunk, Part};
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
        let losses = Losses { count: lost.len() as u64, chunks: lost.collect(), ..Losses::default() };
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
            retrying_records: Vec::new(),
            losses,
            alarms: Vec::new(),
            after: None,
            then: None,
            late: 0,
            end: None,
        }
    }

    fn numbers(origins: &BTreeSet<Origin>) -> Vec<u32> {
        origins.iter().filter(|origin| origin.record.is_none()).map(|origin| origin.chunk.0).collect()
    }

    fn record(source: u32, offset: u64) -> Origin {
        (ChunkNumber(9), Place { source: SourceNumber(source), offset }).into()
    }

    #[test]
    fn what_is_lost_is_sent_and_what_is_counted_is_not() {
        let mut records = opened("0000000009-a", &refused_records()).listed.letter;
        records.records = vec![RecordState::Lost, RecordState::Counted, RecordState::Again];
        let letters = [
            letter(1, 0, "", true, false),
            letter(1, 1, "", true, false),
            letter(2, 0, "", false, false),
            letter(3, 0, "", false, true),
            records.clone(),
            Letter { name: "0000000009-b".to_owned(), ..records },
        ];
        let everything = Selection::default();
        let all = wanted(&listed(&letters), &status(&[1, 7]), &everything, &[]);
        assert_eq!((numbers(&all.lost), numbers(&all.counted)), (vec![1, 3, 7], vec![2]));
        let sent: Vec<_> = all.lost.iter().filter(|origin| origin.record.is_some()).copied().collect();
        assert_eq!(sent, [record(0, 20), record(1, 0)]);
        assert!(all.counted.contains(&record(0, 30)));
        let amending = wanted(&listed(&letters), &status(&[1, 2, 7]), &everything, &[]);
        assert_eq!((numbers(&amending.lost), numbers(&amending.counted)), (vec![1, 3, 7], vec![]));
        assert_eq!(numbers(&amending.amending), [2], "its result is older than its letters");
        let one = Selection { chunks: vec![8], ..Selection::default() };
        assert_eq!(numbers(&wanted(&[], &status(&[1, 8]), &one, &[]).lost), [8], "it has no letter");
        let named = Selection { names: vec!["1-0".parse().unwrap()], ..Selection::default() };
        assert_eq!(numbers(&wanted(&listed(&letters[..1]), &status(&[1, 7]), &named, &[]).lost), [1]);
    }

    #[test]
    fn what_is_lost_again_is_told_with_its_latest_reason() {
        let mut records = opened("0000000009-a", &refused_records()).listed.letter;
        records.records = vec![RecordState::Lost, RecordState::Counted, RecordState::Counted];
        let letters = [
            letter(1, 0, "first", true, false),
            letter(1, 1, "second\x1b", true, false),
            letter(2, 0, "x", false, false),
            letter(8, 0, "not asked for", true, false),
            records,
        ];
        let origins = BTreeSet::from([ChunkNumber(1).into(), ChunkNumber(2).into(), record(0, 20), record(0, 30)]);
        let lost = lost_again(&letters, &origins);
        let expected = [(ChunkNumber(1).into(), "second\x1b"), (record(0, 20), "it is no number")];
        assert_eq!(lost, BTreeMap::from(expected.map(|(origin, reason)| (origin, reason.to_owned()))));
        let (job, sources) = (JobId(Uuid::from_u128(7)), [b"a.txt".to_vec()]);
        let text = told(job, &origins, &lost, Some(2), &sources);
        let expected = "2 chunks and 2 records put back: 2 counted, 2 lost again (chunk 1: second\\u{1b}; a.txt, byte 20: it is no number); result version 2\n";
        assert!(text.contains(expected) && text.ends_with("push it as a job of its own"), "{text}");
        let text = told(job, &BTreeSet::from([ChunkNumber(1).into()]), &BTreeMap::new(), None, &sources);
        assert!(text.ends_with(": 1 chunk put back: 1 counted; the job goes on"), "{text}");
    }

    #[test]
    fn what_came_of_keys_is_told() {
        let part = |at| Part { name: String::new(), pairs: 0, bytes: 0, at };
        let mut end = End {
            version: 2,
            outcome: Outcome::Done,
            parts: vec![part(5), part(9)],
            losses: Losses::default(),
            counters: BTreeMap::new(),
            pairs: 0,
            chunks: 0,
            time_ms: 0,
        };
        let again = |partition, at| Rereduced { partition: PartitionNumber(partition), keys: 2, at };
        let mut sent = Sent { rereduced: vec![again(0, 4)], keys: 4, ..Sent::default() };
        assert!(sent.is_reduced_in(&end) && !sent.is_empty());
        sent.rereduced.push(again(1, 9));
        assert!(!sent.is_reduced_in(&end), "its second part is that of the finish that left keys out");
        assert_eq!(sent.amount(), "4 keys");
        assert!(Sent::default().is_empty() && !Sent { keys: 1, ..Sent::default() }.is_empty());
        sent.origins.insert(ChunkNumber(0).into());
        assert_eq!(sent.amount(), "1 chunk and 4 keys");
        let job = JobId(Uuid::from_u128(7));
        let text = keys_told(job, 4, &end);
        assert!(text.ends_with(": 4 keys reduced again, and in the result now; result version 2"), "{text}");
        end.losses.keys.push(LostKey::new(b"k", b"k\x1b".to_vec(), "no".to_owned()));
        end.losses.count = 1;
        let text = keys_told(job, 4, &end);
        assert!(text.contains("4 keys reduced again, 1 left out again (`k\\u{1b}`: no); result version 2"), "{text}");
        // Of more than a list holds, nobody knows which are meant.
        end.losses.count = 2;
        let text = keys_told(job, 4, &end);
        assert!(text.contains("4 keys reduced again; too much is lost to tell"), "{text}");
        let of_chunk = Selection { chunks: vec![0], ..Selection::default() };
        let of_reason = Selection { reason: Some("other".to_owned()), ..Selection::default() };
        assert!(may_lack_keys(&end.losses, &of_reason) && !may_lack_keys(&end.losses, &of_chunk));
        end.losses.count = 1;
        assert!(!may_lack_keys(&end.losses, &of_reason));
    }
}
