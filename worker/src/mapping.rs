//! A task on a compute thread: its pieces read, its program built, its records mapped.
//!
//! Synchronous; knows no broker. What would surprise: a piece's length is believed only as far as its body or file goes.

use crate::input::{InputError, Roots, check_stamp, read_range, unreadable};
use bytes::Bytes;
use rabbit_reduce_core::job::Piece;
use rabbit_reduce_core::jobs::{Job, JobError};
use rabbit_reduce_core::map::{LeftOut, Limits, MapError, Mapped, Watch, map_chunk};
use rabbit_reduce_core::message::{FalseClaim, Task};
use rabbit_reduce_core::skip::Place;
use rabbit_reduce_core::spec::ProgramSpec;
use rabbit_reduce_core::table::Scratch;
use rabbit_reduce_core::with_program;
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::compute;
use std::sync::{Arc, Mutex};

/// Programs that stay built: as many as jobs are likely to run side by side.
const KEPT_PROGRAMS: usize = 16;

/// Why a task was not mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// Its input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Its program.
    #[error(transparent)]
    Program(#[from] JobError),
    /// Its records.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The program refused the one record that there is, again.
    #[error("{0}")]
    Refused(String),
    /// What it says of itself.
    #[error("the task is not well formed: {0}")]
    Malformed(&'static str),
    /// A bug of ours or of the program.
    #[error("mapping panicked: {0}")]
    Panic(String),
}

impl TaskError {
    /// Whether another attempt may succeed.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Input(error) => error.may_pass(),
            Self::Map(MapError::Scratch(_)) => true,
            Self::Map(_) | Self::Program(_) | Self::Refused(_) | Self::Malformed(_) | Self::Panic(_) => false,
        }
    }
}

/// Built programs, the latest first.
#[derive(Default)]
pub(crate) struct Programs(Mutex<Vec<(ProgramSpec, Arc<Job>)>>);

impl Programs {
    fn get(&self, spec: &ProgramSpec) -> Result<Arc<Job>, JobError> {
        let mut kept = self.0.lock().expect("nobody panics with it");
        if let Some(place) = kept.iter().position(|(known, _)| known == spec) {
            let found = kept.remove(place);
            let job = Arc::clone(&found.1);
            kept.insert(0, found);
            return Ok(job);
        }
        let job = Arc::new(Job::new(&spec.name, &spec.options)?);
        kept.truncate(KEPT_PROGRAMS - 1);
        kept.insert(0, (spec.clone(), Arc::clone(&job)));
        Ok(job)
    }
}

/// Stops mapping once nobody wants it any more; and knows inputs that are deadly on purpose.
pub(crate) struct While<F>(pub(crate) F);

impl<F: Fn() -> bool> Watch for While<F> {
    #[inline]
    fn record(&mut self, _: Option<Place>, bytes: &[u8]) {
        crash_point::tasted(bytes);
    }

    fn stops(&mut self) -> bool {
        !(self.0)()
    }
}

/// Maps a task.
pub(crate) fn map_task(
    task: &Task,
    body: &Bytes,
    programs: &Programs,
    roots: &Roots,
    scratch: &dyn Scratch,
    budget_bytes: usize,
    watch: &mut impl Watch,
) -> Result<Mapped, TaskError> {
    task.check().map_err(|FalseClaim(claim)| TaskError::Malformed(claim))?;
    let job = programs.get(&task.program)?;
    let held = read_pieces(task, body, roots)?;
    let pieces: Vec<Piece<'_>> = task
        .pieces
        .iter()
        .zip(&held)
        .map(|(piece, bytes)| Piece {
            source: piece.source,
            name: &piece.name.0,
            offset: piece.offset,
            bytes,
            continues: piece.continues,
            ends: piece.ends,
        })
        .collect();
    let limits = Limits {
        partitions: task.partitions,
        segment_bytes: task.segment_bytes,
        output_bytes: task.output_bytes,
        budget_bytes,
    };
    let agreed = if mistake::makes(Mistake::AgreedIsMapped) { &[][..] } else { &task.skips };
    let left_out = LeftOut { too_long: &task.too_long, agreed };
    let mapping = || with_program!(&*job, program => map_chunk(program, &pieces, left_out, limits, scratch, watch));
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(mapping)) {
        Ok(mapped) => match mapped? {
            // A record that was sent again by itself counts or is lost; its chunk told of it before.
            Mapped { skips, .. } if task.record.is_some() && skips.count() > 0 => {
                Err(TaskError::Refused(skips.listed.into_iter().next().map(|skip| skip.reason).unwrap_or_default()))
            }
            mapped => Ok(mapped),
        },
        Err(panic) => Err(TaskError::Panic(compute::said(&*panic))),
    }
}

/// The bytes of each piece: slices of the body, or read from files, one file opened once for pieces that follow each other.
fn read_pieces(task: &Task, body: &Bytes, roots: &Roots) -> Result<Vec<Bytes>, TaskError> {
    let mut rest = body.clone();
    let mut pieces = Vec::with_capacity(task.pieces.len());
    for piece in &task.pieces {
        let length = usize::try_from(piece.length).expect("checked to be small");
        let bytes = match &piece.file {
            None if length <= rest.len() => rest.split_to(length),
            None => return Err(TaskError::Malformed("its body is shorter than its pieces")),
            Some(stamp) => {
                let file = roots.open(stamp)?;
                let mut bytes = vec![0; length];
                let read = read_range(&file, piece.offset, &mut bytes);
                // Looked at again after the read: bytes of a file that changed under it are those of no version.
                check_stamp(&file, stamp)?;
                read.map_err(|source| unreadable(stamp, source))?;
                bytes.into()
            }
        };
        pieces.push(bytes);
    }
    Ok(pieces)
}
