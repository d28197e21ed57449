//! What a job would be, before anything is sent: its chunks, its messages, their bytes, about how long it takes.
//!
//! The input is split as it would be, so chunks are exact. Some of them are mapped here, and what comes of that is taken for the
//! rest. What would surprise: commands and modules are not run for it; of what they map to nothing is told.

use crate::cli::Plan;
use crate::session::{SessionError, Step, check_columns};
use crate::{collect, failure, print_text, printing};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::job::Piece;
use rabbit_reduce_core::map::{LeftOut, Limits, Mapped};
use rabbit_reduce_core::message;
use rabbit_reduce_core::program::{MapPlace, NamedProgram, Programs};
use rabbit_reduce_core::selection::Column;
use rabbit_reduce_core::spec::{By, SEGMENT_BYTES, Source, SourceList, Spec};
use rabbit_reduce_core::split::{ChunkPlan, PieceRange, Splitter};
use rabbit_reduce_runtime::figures::{count, size, span};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::process::{chance, clock, compute};
use rabbit_reduce_runtime::publishing::{Columns, Packing, PublishError};
use rabbit_reduce_runtime::reader::Reader;
use rabbit_reduce_runtime::scratch::ScratchFolder;
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::json::pretty;
use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Chunks that are mapped to see what becomes of them.
const SAMPLED_CHUNKS: u32 = 4;
/// Memory for one of them, as a worker may have, in bytes.
const BUDGET_BYTES: usize = 256 << 20;
/// What a task's header takes, without its pieces, and for each piece besides its names, in bytes, about.
const HEADER_BYTES: (u64, u64) = (700, 120);
/// What the header of a partial takes, about.
const PARTIAL_HEADER_BYTES: u64 = 500;
/// A gigabit a second, in bytes.
const GIGABIT_BYTES: u64 = 125_000_000;

/// What is known of a job before it is sent.
#[derive(Debug, Default, PartialEq)]
struct Planned {
    program: String,
    by: &'static str,
    sources: usize,
    partitions: u32,
    chunk_bytes: u64,
    chunks: u64,
    bytes: u64,
    too_long: u64,
    /// Of tasks, headers included.
    task_bytes: u64,
    /// It can be mapped here.
    maps_here: bool,
    sample: Option<Sample>,
}

/// What became of the chunks that were mapped.
#[derive(Debug, Default, PartialEq)]
struct Sample {
    chunks: u64,
    bytes: u64,
    packed_bytes: u64,
    partials: u64,
    partial_bytes: u64,
    skipped: u64,
    time: Duration,
}

/// Does it.
///
/// # Errors
/// With the exit code that the failure means: the input cannot be read, or no such job can be.
pub(crate) async fn execute(plan: Plan, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Exit, Failure> {
    let sources = collect(&plan.inputs, &crate::screen::Screen::new(quiet))?;
    let (list, _) = SourceList::of(&sources);
    let spec = Step::alone(JobId(chance::dated_id())).spec(&plan.job, plan.by, SEGMENT_BYTES, None, list);
    let program = spec.check(&printing(programs)).map_err(|error| failure(error.into()))?;
    check_columns(program.clone(), sources.clone(), plan.inputs.choice.as_is)
        .await
        .map_err(|error| failure(error.into()))?;
    let (json, packing, as_is) = (plan.json, plan.packing, plan.inputs.choice.as_is);
    let maps_here = plan.job.files.is_empty() && plan.job.options.streaming.is_none();
    let planning = move || planned(&spec, &program, sources.into(), maps_here, packing, as_is);
    let planned = tokio::select! {
        biased;
        planned = compute::blocking(planning) => planned.map_err(|error| Failure::new(Exit::InputOutput, error))?,
        // Whoever reads on ends with the process.
        () = shutdown.graceful() => return Err(failure(SessionError::Interrupted)),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    print_text(&if json { planned.json() } else { planned.text(threads) })
}

/// Splits all of the input, and maps some of it unless that takes what is not here.
fn planned(
    spec: &Spec,
    program: &NamedProgram,
    sources: Arc<[Source]>,
    maps_here: bool,
    packing: Packing,
    as_is: bool,
) -> io::Result<Planned> {
    let mut reader = if as_is { Reader::as_is(Arc::clone(&sources)) } else { Reader::new(Arc::clone(&sources)) };
    let mut splitter = Splitter::new(program.boundary(), spec.chunk_bytes);
    let mut planned = Planned {
        program: spec.program.name.clone(),
        by: if spec.by == By::Value { "value" } else { "reference" },
        sources: sources.len(),
        partitions: spec.partitions,
        chunk_bytes: spec.chunk_bytes,
        maps_here,
        ..Planned::default()
    };
    let mut sample = maps_here.then(Sample::default);
    // Spread over an input of which it is known how many there will be, or else the first.
    let apart = spec.sources.bytes.map_or(1, |bytes| (bytes / spec.chunk_bytes / u64::from(SAMPLED_CHUNKS)).max(1));
    let mut columns = Columns::default();
    let told = |error: PublishError| match error {
        PublishError::Input(error) => error,
        error => io::Error::other(error),
    };
    while let Some(chunk) = splitter.next(&mut reader)? {
        let names = |piece: &PieceRange| {
            let source = &sources[piece.source.index()];
            source.name.0.len()
                + source.file.as_ref().filter(|_| spec.by == By::Reference).map_or(0, |f| f.path.0.len())
        };
        let header: u64 = chunk.pieces.iter().map(|piece| HEADER_BYTES.1 + names(piece) as u64).sum();
        let by_value = spec.by == By::Value || chunk.pieces.iter().any(|p| sources[p.source.index()].file.is_none());
        planned.task_bytes += HEADER_BYTES.0 + header + if by_value { chunk.bytes() } else { 0 };
        planned.too_long += chunk.too_long.len() as u64;
        planned.bytes += chunk.bytes();
        let of_chunk = columns.of(&chunk, program, &sources, &mut reader).map_err(told)?;
        match &mut sample {
            Some(sample) if planned.chunks.is_multiple_of(apart) && sample.chunks < u64::from(SAMPLED_CHUNKS) => {
                sample.add(spec, program, &sources, &chunk, &of_chunk, &mut reader)?;
            }
            _ => reader.pass(&chunk.pieces),
        }
        planned.chunks += 1;
    }
    planned.sample = sample.filter(|sample| sample.bytes > 0);
    if let (Packing::Lz4, By::Value, Some(sample)) = (packing, spec.by, &planned.sample) {
        let headers = planned.task_bytes - planned.bytes.min(planned.task_bytes);
        planned.task_bytes = headers + scaled(sample.packed_bytes, planned.bytes, sample.bytes);
    }
    Ok(planned)
}

/// So many of a part, in the whole.
fn scaled(number: u64, whole: u64, part: u64) -> u64 {
    u64::try_from(u128::from(number) * u128::from(whole) / u128::from(part.max(1))).unwrap_or(u64::MAX)
}

impl Sample {
    fn add(
        &mut self,
        spec: &Spec,
        program: &NamedProgram,
        sources: &Arc<[Source]>,
        chunk: &ChunkPlan,
        columns: &[Option<Column>],
        reader: &mut Reader,
    ) -> io::Result<()> {
        let mut read: Vec<_> =
            chunk.pieces.iter().zip(columns).map(|(piece, column)| (piece, *column, Vec::new())).collect();
        for (piece, _, bytes) in &mut read {
            bytes.resize(usize::try_from(piece.length).expect("a piece is no longer than a chunk"), 0);
            reader.read_piece(**piece, bytes)?;
        }
        let pieces: Vec<Piece<'_>> = read
            .iter()
            .map(|(range, column, bytes)| Piece {
                source: range.source,
                name: &sources[range.source.index()].name.0,
                offset: range.offset,
                bytes,
                continues: range.continues,
                ends: range.ends,
                column: *column,
            })
            .collect();
        let at = MapPlace { job: spec.job, chunk: chunk.number, alone: false };
        let limits = Limits {
            partitions: spec.partitions,
            segment_bytes: spec.segment_bytes,
            output_bytes: spec.output_bytes,
            budget_bytes: BUDGET_BYTES,
        };
        let left_out = LeftOut { too_long: &chunk.too_long, agreed: &[] };
        let began = clock::instant();
        let mapped = program
            .map_chunk(&at, &pieces, left_out, limits, &ScratchFolder(std::env::temp_dir()), &mut ())
            .map_err(|error| io::Error::other(format!("chunk {} cannot be mapped: {error}", chunk.number)))?;
        self.time += clock::since(began);
        self.take(&mapped, chunk);
        self.chunks += 1;
        self.bytes += chunk.bytes();
        self.packed_bytes += packed_bytes(&pieces);
        Ok(())
    }

    fn take(&mut self, mapped: &Mapped, chunk: &ChunkPlan) {
        let segments = || mapped.partials.iter().flatten();
        self.partials += segments().count() as u64;
        self.partial_bytes += segments().map(|segment| segment.bytes() + PARTIAL_HEADER_BYTES).sum::<u64>();
        self.skipped += mapped.skips.count() - chunk.too_long.len() as u64;
    }
}

/// What is sent of pieces if it is packed.
fn packed_bytes(pieces: &[Piece<'_>]) -> u64 {
    let body: Vec<&[u8]> = pieces.iter().map(|piece| piece.bytes).collect();
    message::packed_bytes(&body.concat()) as u64
}

impl Planned {
    /// Partials, and their bytes.
    fn partials(&self) -> Option<(u64, u64)> {
        let sample = self.sample.as_ref()?;
        let number = scaled(sample.partials, self.chunks, sample.chunks);
        Some((number, scaled(sample.partial_bytes, self.bytes, sample.bytes)))
    }

    /// What mapping all of it takes of one thread.
    fn mapping(&self) -> Option<Duration> {
        let sample = self.sample.as_ref()?;
        let nanoseconds = u64::try_from(sample.time.as_nanos()).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(scaled(nanoseconds, self.bytes, sample.bytes)))
    }

    /// Records that are refused, too long ones not among them.
    fn refused(&self) -> Option<u64> {
        self.sample.as_ref().map(|sample| scaled(sample.skipped, self.bytes, sample.bytes))
    }

    fn text(&self, threads: usize) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: String| {
            writeln!(text, "{name:<11} {value}").expect("a string takes everything");
        };
        field("program", Shown(self.program.as_bytes()).to_string());
        field("input", format!("{}, {}", count(self.sources as u64, "source", "sources"), size(self.bytes)));
        field("chunks", format!("{} of up to {}", self.chunks, size(self.chunk_bytes)));
        let network = "into the broker and out of it";
        field("tasks", format!("{}, by {}: {} {network}", self.chunks, self.by, size(self.task_bytes)));
        match self.partials() {
            Some((number, bytes)) => {
                let parts = count(self.partitions.into(), "partition", "partitions");
                field("partials", format!("about {number} for {parts}: {} {network}", size(bytes)));
            }
            None if self.maps_here => field("partials", "none: there is nothing to map".to_owned()),
            None => {
                field("partials", "not known before it runs: commands and modules are not run for a plan".to_owned())
            }
        }
        if self.too_long > 0 {
            field("too long", format!("{}, to be lost", count(self.too_long, "record", "records")));
        }
        if let Some(refused @ 1..) = self.refused() {
            field(
                "refused",
                format!("about {}, to be lost: see why with `producer run`", count(refused, "record", "records")),
            );
        }
        if let Some(mapping) = self.mapping() {
            let share = mapping / u32::try_from(threads).unwrap_or(1).max(1);
            let on = count(threads as u64, "thread", "threads");
            field("mapping", format!("about {} on {on} like those of this machine", briefly(share)));
        }
        let bytes = self.task_bytes + self.partials().map_or(0, |(_, bytes)| bytes);
        // What goes in comes out again; a network does both at once.
        let gigabit = Duration::from_secs_f64(bytes as f64 / GIGABIT_BYTES as f64);
        field("network", format!("about {} at a gigabit a second, in and out at once", briefly(gigabit)));
        if let Some(sample) = &self.sample {
            field("sample", format!("{}, {}", count(sample.chunks, "chunk", "chunks"), size(sample.bytes)));
        }
        text
    }

    fn json(&self) -> String {
        let sampled = self.sample.as_ref().map(|sample| {
            json!({ "chunks": sample.chunks, "bytes": sample.bytes, "milliseconds": sample.time.as_millis() as u64 })
        });
        pretty(&json!({
            "program": self.program,
            "by": self.by,
            "sources": self.sources,
            "bytes": self.bytes,
            "chunks": self.chunks,
            "chunk_bytes": self.chunk_bytes,
            "partitions": self.partitions,
            "task_bytes": self.task_bytes,
            "partials": self.partials().map(|(number, _)| number),
            "partial_bytes": self.partials().map(|(_, bytes)| bytes),
            "records_too_long": self.too_long,
            "records_refused": self.refused(),
            "mapping_thread_milliseconds": self.mapping().map(|time| time.as_millis() as u64),
            "sample": sampled,
        }))
    }
}

/// A short time in seconds, a longer one as others are shown.
fn briefly(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.1} s", time.as_secs_f64()) } else { span(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_for_the_rest_in_the_measure_of_its_bytes() {
        let sample = Sample {
            chunks: 2,
            bytes: 2000,
            packed_bytes: 1000,
            partials: 6,
            partial_bytes: 800,
            skipped: 1,
            time: Duration::from_millis(3),
        };
        let planned = Planned { chunks: 10, bytes: 10_000, sample: Some(sample), ..Planned::default() };
        assert_eq!(planned.partials(), Some((30, 4000)));
        assert_eq!(planned.mapping(), Some(Duration::from_millis(15)));
        assert_eq!(planned.refused(), Some(5));
        let unknown = Planned::default();
        assert_eq!((unknown.partials(), unknown.mapping(), unknown.refused()), (None, None, None));
        assert!(unknown.text(2).contains("not known before it runs"));
    }

    #[test]
    fn no_number_is_too_large_to_be_scaled() {
        assert_eq!(scaled(u64::MAX, u64::MAX, 1), u64::MAX);
        assert_eq!(scaled(3, 0, 0), 0);
    }
}
