//! A whole job in one thread: split, map, deliver, fold, commit, compact, finish, merge; all by the real code.
//!
//! Two aggregators share one log per partition, deliveries come in any order and some twice, puts are sometimes of unknown outcome.
//! Everything random stems from the shape's seed. It knows no program: built-in jobs and programs of tests go through alike.

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, SourceNumber};
use rabbit_reduce_core::job::{Piece, Program, ValueError};
use rabbit_reduce_core::ledger::append::{Append, Event, Record, Step};
use rabbit_reduce_core::ledger::delta::{Delta, Fold};
use rabbit_reduce_core::ledger::{Entry, Finish, Ledger};
use rabbit_reduce_core::local::{LocalSource, column_of};
use rabbit_reduce_core::map::{LeftOut, Limits, Mapped, map_chunk};
use rabbit_reduce_core::merge::{Merge, combine};
use rabbit_reduce_core::message::{self, Home, Partial};
use rabbit_reduce_core::pairs::{Cursor, PairReader, PairSource};
use rabbit_reduce_core::rows::format::{Format, writer};
use rabbit_reduce_core::run::{RunReader, RunSize, RunWriter};
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_core::split::{ChunkPlan, Sources, Splitter};
use rabbit_reduce_core::table::{Scratch, ScratchFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use uuid::Uuid;

/// Everything that must not matter, and what draws the rest of it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) chunk_bytes: u64,
    pub(crate) record_bytes: u64,
    pub(crate) partitions: u32,
    pub(crate) segment_bytes: usize,
    /// Memory of the two attempts at each chunk.
    pub(crate) budgets: [usize; 2],
    pub(crate) sizes_known: bool,
    pub(crate) seed: u64,
}

/// What a job gives.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) tsv: Vec<u8>,
    pub(crate) json: Vec<u8>,
    /// The skips that chunks list, and how many more there are.
    pub(crate) skips: BTreeSet<Skip>,
    pub(crate) more_skips: u64,
}

pub(crate) struct InMemory;

impl Scratch for InMemory {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(io::Cursor::new(Vec::new())))
    }
}

struct SourceBytes<'s> {
    sources: &'s [LocalSource],
    sizes_known: bool,
}

impl Sources for SourceBytes<'_> {
    fn count(&self) -> u32 {
        self.sources.len().try_into().unwrap()
    }

    fn size(&self, source: SourceNumber) -> Option<u64> {
        self.sizes_known.then(|| self.sources[source.index()].bytes.len() as u64)
    }

    fn name_bytes(&self, source: SourceNumber) -> usize {
        self.sources[source.index()].name.len()
    }

    fn window(&mut self, source: SourceNumber, offset: u64, length: usize) -> io::Result<&[u8]> {
        let bytes = &self.sources[source.index()].bytes;
        let from = bytes.len().min(offset.try_into().unwrap());
        Ok(&bytes[from..bytes.len().min(from + length)])
    }
}

/// Runs a program and checks on the way whatever must hold of every run.
pub(crate) fn run<P: Program>(program: &P, sources: &[LocalSource], shape: &Shape) -> Answer {
    let mut random = fastrand::Rng::with_seed(shape.seed);
    let plans = split(program, sources, shape);
    let mut deliveries: Vec<Bytes> = Vec::new();
    for plan in &plans {
        let attempts = shape.budgets.map(|budget| attempt(program, sources, shape, plan, budget));
        deliveries.extend(published(plan.number, attempts, &mut random));
    }
    random.shuffle(&mut deliveries);
    let mut partitions: Vec<_> = (0..shape.partitions).map(|_| Partition::new(program, random.u64(..))).collect();
    for delivery in deliveries {
        let (partial, body) = message::decode::<Partial>(&delivery).unwrap();
        partitions[partial.partition.index()].deliver(partial, body);
    }
    let chunks = plans.len().try_into().unwrap();
    let parts: Vec<Vec<u8>> = partitions.iter_mut().map(|partition| partition.finish(chunks)).collect();
    let ledgers: Vec<&Ledger> = partitions.iter().map(|partition| &partition.aggregators[0].ledger).collect();
    answer(program, sources, &parts, &ledgers)
}

fn split<P: Program>(program: &P, sources: &[LocalSource], shape: &Shape) -> Vec<ChunkPlan> {
    let mut sources = SourceBytes { sources, sizes_known: shape.sizes_known };
    let mut splitter = Splitter::with_record_limit(program.boundary(), shape.chunk_bytes, shape.record_bytes);
    std::iter::from_fn(|| splitter.next(&mut sources).unwrap()).collect()
}

fn attempt<P: Program>(
    program: &P,
    sources: &[LocalSource],
    shape: &Shape,
    plan: &ChunkPlan,
    budget_bytes: usize,
) -> Mapped {
    let piece = |piece: &rabbit_reduce_core::split::PieceRange| {
        let source = &sources[piece.source.index()];
        let from: usize = piece.offset.try_into().unwrap();
        let bytes = &source.bytes[from..][..piece.length.try_into().unwrap()];
        let (offset, continues, ends) = (piece.offset, piece.continues, piece.ends);
        let column = column_of(program, &source.bytes);
        Piece { source: piece.source, name: &source.name, offset, bytes, continues, ends, column }
    };
    let pieces: Vec<_> = plan.pieces.iter().map(piece).collect();
    let Shape { partitions, segment_bytes, .. } = *shape;
    let limits = Limits { partitions, segment_bytes, output_bytes: u64::MAX, budget_bytes };
    let left_out = LeftOut { too_long: &plan.too_long, agreed: &[] };
    map_chunk(program, &pieces, left_out, limits, &InMemory, &mut ()).unwrap()
}

/// All messages of the first attempt, and some of the second.
fn published(chunk: ChunkNumber, attempts: [Mapped; 2], random: &mut fastrand::Rng) -> Vec<Bytes> {
    assert_eq!(attempts[0].digest, attempts[1].digest, "two attempts at chunk {chunk} with different memory");
    let mut messages = Vec::new();
    let mut bodies = Vec::new();
    for (number, mut mapped) in (1_u32..).zip(attempts) {
        let mut place = 0;
        for partition in 0..mapped.partials.len() {
            for segment in 0..mapped.partials[partition].len() {
                let body = mapped.body(partition, segment).unwrap();
                if number == 1 {
                    messages.push(encoded(chunk, number, partition, segment, &mapped, &body));
                    bodies.push(body);
                } else {
                    assert_eq!(body, bodies[place], "chunk {chunk} partition {partition} segment {segment}");
                    place += 1;
                    if random.u8(0..3) == 0 {
                        messages.push(encoded(chunk, number, partition, segment, &mapped, &body));
                    }
                }
            }
        }
    }
    messages
}

fn encoded(chunk: ChunkNumber, attempt: u32, partition: usize, segment: usize, mapped: &Mapped, body: &Bytes) -> Bytes {
    let home = segment == 0 && partition == chunk.index() % mapped.partials.len();
    let partial = Partial {
        job: JobId(Uuid::nil()),
        chunk,
        attempt,
        partition: PartitionNumber(partition.try_into().unwrap()),
        partitions: mapped.partials.len().try_into().unwrap(),
        segment: segment.try_into().unwrap(),
        last: segment + 1 == mapped.partials[partition].len(),
        store: "store".into(),
        digest: mapped.digest,
        worker: format!("worker {attempt}"),
        pairs: mapped.partials[partition][segment].pairs,
        strikes: 0,
        agreed: 0,
        record: None,
        skips: (segment == 0).then(|| mapped.skips.clone()),
        home: home.then(|| Home { pairs: mapped.pairs, counters: mapped.counters.clone(), release: None }),
    };
    message::encode(&partial, body)
}

#[derive(Default)]
struct Aggregator {
    ledger: Ledger,
    delta: Delta<()>,
}

/// One (job, partition): its log, its files, and who works on them.
struct Partition<'p, P> {
    program: &'p P,
    random: fastrand::Rng,
    log: Vec<Record>,
    files: BTreeMap<Uuid, Vec<u8>>,
    aggregators: [Aggregator; 2],
}

impl<'p, P: Program> Partition<'p, P> {
    fn new(program: &'p P, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { program, random, log: Vec::new(), files: BTreeMap::new(), aggregators: Default::default() }
    }

    fn deliver(&mut self, partial: Partial, body: Bytes) {
        let who = self.random.usize(..2);
        let Aggregator { ledger, delta } = &mut self.aggregators[who];
        ledger.agrees(partial.unit().origin(), partial.digest, &partial.worker).unwrap();
        if !ledger.covers(partial.unit()) {
            assert!(matches!(delta.fold(partial, body, ()), Fold::Held | Fold::Duplicate(())));
        }
        match self.random.u8(0..40) {
            0..4 => self.commit(who),
            4 => self.compact(who),
            _ => {}
        }
    }

    /// Commits what an aggregator holds, however often it loses the race.
    fn commit(&mut self, who: usize) {
        loop {
            let Aggregator { ledger, delta } = &mut self.aggregators[who];
            delta.drop_covered(ledger).unwrap();
            if delta.is_empty() {
                return;
            }
            let segments = delta.held().map(|held| PairReader::new(&held.body[..])).collect();
            let (bytes, size) = merged_run(self.program, segments);
            let run = Uuid::from_u128(self.random.u128(..));
            let entry = Entry::Commit(delta.commit(run, size));
            self.files.insert(run, bytes);
            if self.append(who, entry, None) {
                self.aggregators[who].delta = Delta::default();
                return;
            }
        }
    }

    fn compact(&mut self, who: usize) {
        let runs: Vec<Uuid> = self.aggregators[who].ledger.runs().keys().copied().collect();
        if runs.len() < 2 {
            return;
        }
        let (bytes, size) = self.merged_runs(&runs);
        let run = Uuid::from_u128(self.random.u128(..));
        self.files.insert(run, bytes);
        // Files stay where they are, so a merge that lost its race does no harm.
        let _appended: bool = self.append(who, Entry::Replace { runs, run, size }, None);
    }

    fn merged_runs(&self, runs: &[Uuid]) -> (Vec<u8>, RunSize) {
        merged_run(self.program, runs.iter().map(|run| RunReader::new(&self.files[run][..])).collect())
    }

    /// Commits what is left, merges the live runs, reduces, and gives the part.
    fn finish(&mut self, chunks: u32) -> Vec<u8> {
        self.commit(1);
        self.commit(0);
        while let Some(record) = self.log.get(usize::try_from(self.aggregators[0].ledger.next()).unwrap()) {
            self.aggregators[0].ledger.apply(&record.entry);
        }
        let ledger = &self.aggregators[0].ledger;
        assert!(ledger.complete(chunks), "{} of {chunks} chunks", ledger.whole());
        let runs: Vec<Uuid> = ledger.runs().keys().copied().collect();
        let at = ledger.next();
        let (merged, _) = self.merged_runs(&runs);
        let mut writer = RunWriter::new(Vec::new()).unwrap();
        self.program.reduce(&mut RunReader::new(&merged[..]), &mut |key, value| writer.put(key, value)).unwrap();
        let (bytes, size) = writer.finish().unwrap();
        let part = Uuid::from_u128(self.random.u128(..));
        assert!(self.append(
            0,
            Entry::Finish(Finish { part, size, at, keys: Vec::new(), counters: Default::default() }),
            Some(chunks)
        ));
        bytes
    }

    /// Drives the dialogue against the log; puts sometimes do not tell what came of them.
    fn append(&mut self, who: usize, entry: Entry, chunks: Option<u32>) -> bool {
        let nonce = Uuid::from_u128(self.random.u128(..));
        let append = Append::new(Record { nonce, writer: who.to_string(), entry }, chunks);
        let mut event = Event::Begin;
        loop {
            event = match append.next(&mut self.aggregators[who].ledger, event) {
                Step::Appended => return true,
                Step::GaveUp(_) => return false,
                Step::Read(number) => Event::Read(self.log.get(number as usize).cloned().map(Box::new)),
                Step::Put(number) if (number as usize) < self.log.len() => Event::Exists,
                Step::Put(_) => {
                    let chance = self.random.u8(0..8);
                    if chance > 0 {
                        self.log.push(append.record().clone());
                    }
                    if chance > 1 { Event::Created } else { Event::Unknown }
                }
            }
        }
    }
}

fn merged_run<P: Program, C: Cursor>(program: &P, cursors: Vec<C>) -> (Vec<u8>, RunSize) {
    let mut merge = Merge::new(cursors, |key, total, other| combine(program, key, total, other)).unwrap();
    let mut writer = RunWriter::new(Vec::new()).unwrap();
    while let Some((key, value)) = merge.next().unwrap() {
        writer.put(key, value).unwrap();
    }
    writer.finish().unwrap()
}

fn answer<P: Program>(program: &P, sources: &[LocalSource], parts: &[Vec<u8>], ledgers: &[&Ledger]) -> Answer {
    let (skips, more_skips) = counted(ledgers);
    let readers = || parts.iter().map(|part| RunReader::new(&part[..])).collect::<Vec<_>>();
    let twice = |_: &[u8], _: &mut Vec<u8>, _: &[u8]| Err(ValueError("a key is in two partitions"));
    let mut pairs = BTreeMap::new();
    let mut merged = Merge::new(readers(), twice).unwrap();
    while let Some((key, value)) = merged.next().unwrap() {
        pairs.insert(key.to_vec(), value.to_vec());
    }
    let names: Vec<Vec<u8>> = sources.iter().map(|source| source.name.clone()).collect();
    let printed = |format| {
        let mut out = Vec::new();
        let mut rows = writer(format, program.columns(), &mut out).unwrap();
        program.rows(&names, &mut Merge::new(readers(), twice).unwrap(), &mut *rows).unwrap();
        rows.finish().unwrap();
        out
    };
    Answer { pairs, tsv: printed(Format::Tsv), json: printed(Format::Json), skips, more_skips }
}

/// The last checks over all partitions: digests and skips are those of every other, and all mapped pairs are there.
fn counted(ledgers: &[&Ledger]) -> (BTreeSet<Skip>, u64) {
    let (mut skips, mut more, mut pairs, mut home_pairs) = (BTreeSet::new(), 0, 0, 0);
    let first: Vec<_> = ledgers[0].chunks().map(|chunk| (chunk.chunk, chunk.digest, chunk.skips)).collect();
    for ledger in ledgers {
        let here: Vec<_> = ledger.chunks().map(|chunk| (chunk.chunk, chunk.digest, chunk.skips)).collect();
        assert_eq!(here, first);
        assert_eq!(ledger.lost().count(), 0);
        for chunk in ledger.chunks() {
            assert!(chunk.whole);
            pairs += chunk.pairs;
            home_pairs += chunk.home.map_or(0, |home| home.pairs);
        }
    }
    assert_eq!(pairs, home_pairs, "pairs of segments, and of what chunks say of themselves");
    for list in first.iter().filter_map(|(.., skips)| *skips) {
        skips.extend(list.listed.iter().cloned());
        more += list.more;
    }
    (skips, more)
}
