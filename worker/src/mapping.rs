//! A task on a compute thread: its pieces read, its program built, its records mapped.
//!
//! Synchronous; knows no broker. What would surprise: a piece's length is believed only as far as its body or file goes.

use crate::input::{InputError, Roots, check_stamp, read_range, unreadable};
use bytes::Bytes;
use rabbit_reduce_core::job::Piece;
use rabbit_reduce_core::jobs::JobError;
use rabbit_reduce_core::map::{LeftOut, Limits, MapError, Mapped, Watch};
use rabbit_reduce_core::message::{FalseClaim, Task, TaskPiece};
use rabbit_reduce_core::program::{MapPlace, NamedProgram, Programs};
use rabbit_reduce_core::skip::{Place, said};
use rabbit_reduce_core::spec::{DEFAULT_REFERENCE_BYTES, ProgramSpec};
use rabbit_reduce_core::table::Scratch;
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use std::sync::Mutex;

/// Programs that stay built: as many as jobs are likely to run side by side.
const KEPT_PROGRAMS: usize = 16;
/// Larger buffers are for chunks of an unusual size.
const KEPT_BUFFER_BYTES: usize = DEFAULT_REFERENCE_BYTES as usize;

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
            Self::Map(MapError::Program { may_pass, .. }) => *may_pass,
            Self::Map(_) | Self::Program(_) | Self::Refused(_) | Self::Malformed(_) | Self::Panic(_) => false,
        }
    }
}

impl TaskError {
    /// The one record that is at fault, if all others can be mapped without it.
    pub(crate) const fn record(&self) -> Option<Place> {
        match self {
            Self::Map(MapError::Record { place, .. }) => Some(*place),
            _ => None,
        }
    }
}

/// What one task leaves for the next: built programs, and memory to read into.
pub(crate) struct Kept {
    known: Programs,
    /// The latest first.
    programs: Mutex<Vec<(ProgramSpec, NamedProgram)>>,
    /// As many as tasks were mapped at once. Memory that was never written to costs its first use.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Kept {
    /// Nothing yet but what programs there are.
    pub(crate) fn new(known: Programs) -> Self {
        Self { known, programs: Mutex::default(), buffers: Mutex::default() }
    }

    /// The program, built now or before.
    pub(crate) fn program(&self, spec: &ProgramSpec) -> Result<NamedProgram, JobError> {
        let mut kept = self.programs.lock().expect("nobody panics with it");
        if let Some(place) = kept.iter().position(|(known, _)| known == spec) {
            let found = kept.remove(place);
            let job = found.1.clone();
            kept.insert(0, found);
            return Ok(job);
        }
        let job = self.known.make(&spec.name, &spec.options)?;
        kept.truncate(KEPT_PROGRAMS - 1);
        kept.insert(0, (spec.clone(), job.clone()));
        Ok(job)
    }

    /// A buffer of at least so many bytes, of whatever value.
    fn buffer(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = self.buffers.lock().expect("nobody panics with it").pop().unwrap_or_default();
        if buffer.len() < bytes {
            // No copy of what is in it.
            buffer = vec![0; bytes];
        }
        buffer
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if (1..=KEPT_BUFFER_BYTES).contains(&buffer.len()) {
            self.buffers.lock().expect("nobody panics with it").push(buffer);
        }
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
    kept: &Kept,
    roots: &Roots,
    scratch: &dyn Scratch,
    budget_bytes: usize,
    watch: &mut dyn Watch,
) -> Result<Mapped, TaskError> {
    task.check().map_err(|FalseClaim(claim)| TaskError::Malformed(claim))?;
    let job = kept.program(&task.program)?;
    let mut buffer = kept.buffer(file_bytes(task));
    let pieces = read_pieces(task, body, roots, &mut buffer)?;
    let limits = Limits {
        partitions: task.partitions,
        segment_bytes: task.segment_bytes,
        output_bytes: task.output_bytes,
        budget_bytes,
    };
    let agreed = if mistake::makes(Mistake::AgreedIsMapped) { &[][..] } else { &task.skips };
    let left_out = LeftOut { too_long: &task.too_long, agreed };
    let at = MapPlace { job: task.job, chunk: task.chunk, alone: task.record.is_some() };
    let mapping = || job.map_chunk(&at, &pieces, left_out, limits, scratch, watch);
    let mapped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(mapping));
    drop(pieces);
    kept.give_back(buffer);
    match mapped {
        Ok(mapped) => match mapped? {
            // A record that was sent again by itself counts or is lost; its chunk told of it before.
            Mapped { skips, .. } if task.record.is_some() && skips.count() > 0 => {
                Err(TaskError::Refused(skips.listed.into_iter().next().map(|skip| skip.reason).unwrap_or_default()))
            }
            mapped => Ok(mapped),
        },
        Err(panic) => Err(TaskError::Panic(said(&*panic))),
    }
}

/// What of a task is read from files, in bytes.
fn file_bytes(task: &Task) -> usize {
    let lengths = task.pieces.iter().filter(|piece| piece.file.is_some()).map(length_of);
    lengths.sum()
}

fn length_of(piece: &TaskPiece) -> usize {
    usize::try_from(piece.length).expect("checked to be small")
}

/// The pieces: slices of the body, or read from files into the buffer.
fn read_pieces<'t>(
    task: &'t Task,
    mut body: &'t [u8],
    roots: &Roots,
    mut buffer: &'t mut [u8],
) -> Result<Vec<Piece<'t>>, TaskError> {
    let mut pieces = Vec::with_capacity(task.pieces.len());
    for piece in &task.pieces {
        let length = length_of(piece);
        let bytes = match &piece.file {
            None => body.split_off(..length).ok_or(TaskError::Malformed("its body is shorter than its pieces"))?,
            Some(stamp) => {
                let file = roots.open(stamp)?;
                let bytes = buffer.split_off_mut(..length).expect("it is as large as all of them");
                let read = read_range(&file, piece.offset, bytes);
                // Looked at again after the read: bytes of a file that changed under it are those of no version.
                check_stamp(&file, stamp)?;
                read.map_err(|source| unreadable(stamp, source))?;
                bytes
            }
        };
        pieces.push(Piece {
            source: piece.source,
            name: &piece.name.0,
            offset: piece.offset,
            bytes,
            continues: piece.continues,
            ends: piece.ends,
            column: piece.column,
        });
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_serves_the_next_task_unless_it_is_unusually_large() {
        let kept = Kept::new(Programs::built_in());
        kept.give_back(vec![7; 100]);
        assert_eq!(kept.buffer(60), [7; 100], "it is as it was");
        kept.give_back(vec![7; 100]);
        assert_eq!(kept.buffer(101), [0; 101], "one that is too small goes");
        kept.give_back(vec![7; KEPT_BUFFER_BYTES + 1]);
        assert_eq!(kept.buffer(1), [0]);
    }
}
