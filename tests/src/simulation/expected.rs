//! What a job must answer: every chunk mapped by itself, and, where nothing is lost, a plain run over everything.
//!
//! It reads no broker and no store. What would surprise: a chunk that is lost may be counted in part, segment by segment, and a
//! record that its chunk left out may be counted by itself; which are is asked of the ledgers, and what they hold is computed here.

use super::plan::JobPlan;
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, Origin, SourceNumber, Unit};
use rabbit_reduce_core::job::{Piece, Program};
use rabbit_reduce_core::jobs::Job;
use rabbit_reduce_core::local::{self, LocalResult, LocalSource};
use rabbit_reduce_core::map::{LeftOut, Limits, map_chunk};
use rabbit_reduce_core::merge::{Merge, combine};
use rabbit_reduce_core::pairs::PairReader;
use rabbit_reduce_core::partition;
use rabbit_reduce_core::records::RecordIter;
use rabbit_reduce_core::skip::{Place, Skip, SkipList};
use rabbit_reduce_core::spec::OUTPUT_BYTES;
use rabbit_reduce_core::split::{Sources, Splitter};
use rabbit_reduce_core::table::{Scratch, ScratchFile};
use rabbit_reduce_core::with_program;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// Combined or reduced pairs by key.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a chunk, or a record alone, gives.
#[derive(Debug)]
pub struct Chunk {
    /// Its segments, by partition.
    pub segments: Vec<Vec<Bytes>>,
    /// Records that it leaves out.
    pub skips: SkipList,
    /// Mapped pairs.
    pub pairs: u64,
    /// Mapped pairs that each segment stands for, by partition.
    pub segment_pairs: Vec<Vec<u64>>,
    /// Counted on the way.
    pub counters: BTreeMap<String, u64>,
}

/// See the module.
pub struct Expected {
    program: Job,
    /// The chunks, in order.
    pub chunks: Vec<Chunk>,
    /// Records that were sent again by themselves.
    records: BTreeMap<(ChunkNumber, Place), Chunk>,
    /// Where the pieces of chunks are: source, first byte, byte after the last.
    pieces: Vec<(ChunkNumber, SourceNumber, Range<u64>)>,
    /// Everything, plainly counted.
    pub plain: LocalResult,
    partitions: u32,
}

/// Nothing that is simulated is so large.
struct NoScratch;

impl Scratch for NoScratch {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Err(io::Error::other("what is simulated fits in memory"))
    }
}

/// Sources in memory.
struct InMemory<'s>(&'s [LocalSource]);

impl Sources for InMemory<'_> {
    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).expect("there are few")
    }

    fn size(&self, source: SourceNumber) -> Option<u64> {
        Some(self.0[source.index()].bytes.len() as u64)
    }

    fn name_bytes(&self, source: SourceNumber) -> usize {
        self.0[source.index()].name.len()
    }

    fn window(&mut self, source: SourceNumber, offset: u64, length: usize) -> io::Result<&[u8]> {
        let bytes = &self.0[source.index()].bytes;
        let from = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        Ok(&bytes[from..(from + length).min(bytes.len())])
    }
}

impl Expected {
    /// Of a job whose ledgers agreed to leave out records of some chunks, and then to send some by themselves.
    ///
    /// # Panics
    /// If its input cannot be mapped, or there is no such record.
    #[must_use]
    pub fn of(
        plan: &JobPlan,
        agreed: &BTreeMap<ChunkNumber, Vec<Skip>>,
        again: &BTreeSet<(ChunkNumber, Place)>,
    ) -> Self {
        let (program, partitions) = (plan.order.program(), plan.order.partitions);
        let limits = Limits {
            partitions,
            segment_bytes: plan.order.segment_bytes,
            output_bytes: OUTPUT_BYTES,
            budget_bytes: usize::MAX,
        };
        let (mut chunks, mut ranges, mut alone) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut splitter =
            Splitter::new(with_program!(&program, program => program.boundary()), plan.order.chunk_bytes);
        while let Some(chunk) = splitter.next(&mut InMemory(&plan.sources)).expect("memory can be read") {
            let pieces: Vec<Piece<'_>> = chunk
                .pieces
                .iter()
                .map(|piece| {
                    let source = &plan.sources[piece.source.index()];
                    let from = usize::try_from(piece.offset).expect("it is in memory");
                    let length = usize::try_from(piece.length).expect("it is in memory");
                    Piece {
                        source: piece.source,
                        name: &source.name,
                        offset: piece.offset,
                        bytes: &source.bytes[from..from + length],
                        continues: piece.continues,
                        ends: piece.ends,
                        column: with_program!(&program, program => local::column_of(program, &source.bytes)),
                    }
                })
                .collect();
            let number = ChunkNumber(u32::try_from(chunks.len()).expect("there are few"));
            let agreed = agreed.get(&number).map_or(&[][..], Vec::as_slice);
            let left_out = LeftOut { too_long: &chunk.too_long, agreed };
            chunks.push(map(&program, &pieces, left_out, limits));
            let range = |piece: &Piece<'_>| piece.offset..piece.offset + piece.bytes.len() as u64;
            ranges.extend(pieces.iter().map(|piece| (number, piece.source, range(piece))));
            for (chunk, place) in again.iter().filter(|(chunk, _)| *chunk == number) {
                let of_source = pieces.iter().filter(|piece| piece.source == place.source);
                let mut records = of_source
                    .flat_map(|piece| RecordIter::new(with_program!(&program, program => program.records()), *piece));
                let record = records.find(|record| record.offset == place.offset).expect("it is a record of its chunk");
                let record = Piece { continues: false, ends: false, ..record };
                alone.insert((*chunk, *place), map(&program, &[record], LeftOut::default(), limits));
            }
        }
        let plain = local::run(&program, &plan.sources);
        Self { program, chunks, records: alone, pieces: ranges, plain, partitions }
    }

    /// The part of a partition that counts these units.
    ///
    /// # Panics
    /// If there are no such units.
    #[must_use]
    pub fn part(&self, partition: usize, units: impl Iterator<Item = Unit>) -> Pairs {
        let bodies = units.map(|unit| self.origin(unit.origin()).segments[partition][unit.segment as usize].clone());
        let bodies = bodies.collect();
        with_program!(&self.program, program => reduced(program, bodies))
    }

    /// The part of a partition that counts everything, by the plain run.
    #[must_use]
    pub fn plain_part(&self, partition: usize) -> Pairs {
        let here = |key: &[u8]| {
            let group = with_program!(&self.program, program => program.group(key));
            partition::of_hash(partition::hash(group), self.partitions).index() == partition
        };
        self.plain.pairs.iter().filter(|(key, _)| here(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A chunk, or a record of it alone.
    ///
    /// # Panics
    /// If there is none of that number.
    #[must_use]
    pub fn origin(&self, origin: Origin) -> &Chunk {
        origin.record.map_or(&self.chunks[origin.chunk.index()], |place| &self.records[&(origin.chunk, place)])
    }

    /// The chunk that a place is in.
    #[must_use]
    pub fn chunk_at(&self, place: Place) -> Option<ChunkNumber> {
        let there = |(_, source, range): &&(_, _, Range<u64>)| *source == place.source && range.contains(&place.offset);
        self.pieces.iter().find(there).map(|(chunk, ..)| *chunk)
    }
}

fn map(job: &Job, pieces: &[Piece<'_>], left_out: LeftOut<'_>, limits: Limits) -> Chunk {
    let mapped = with_program!(job, program => map_chunk(program, pieces, left_out, limits, &NoScratch, &mut ()));
    let mut mapped = mapped.expect("built-in jobs map everything");
    let segment_pairs: Vec<Vec<u64>> =
        mapped.partials.iter().map(|partial| partial.iter().map(|segment| segment.pairs).collect()).collect();
    let segments = (0..segment_pairs.len())
        .map(|partition| {
            let count = segment_pairs[partition].len();
            (0..count).map(|segment| mapped.body(partition, segment).expect("it is in memory")).collect()
        })
        .collect();
    Chunk { segments, skips: mapped.skips, pairs: mapped.pairs, segment_pairs, counters: mapped.counters }
}

fn reduced<P: Program>(program: &P, bodies: Vec<Bytes>) -> Pairs {
    let cursors = bodies.into_iter().map(PairReader::new).collect();
    let mut merged =
        Merge::new(cursors, |key: &[u8], total: &mut Vec<u8>, other: &[u8]| combine(program, key, total, other))
            .expect("our own pairs can be read");
    let mut pairs = Pairs::new();
    let mut take = |key: &[u8], value: &[u8]| {
        pairs.insert(key.to_vec(), value.to_vec());
        Ok(())
    };
    program.reduce(&mut merged, &mut take).expect("our own pairs can be reduced");
    pairs
}
