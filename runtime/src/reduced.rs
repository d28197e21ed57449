//! What a reducer puts out, in whichever order, as the pairs of a part.
//!
//! It knows nothing of who puts it out. What would surprise: it may be any keys, so it is sorted again, in memory and on disk.

use rabbit_reduce_core::job::PairTaker;
use rabbit_reduce_core::lines::{LinePlace, Lines};
use rabbit_reduce_core::map::MapError;
use rabbit_reduce_core::pairs::MAX_FIELD_BYTES;
use rabbit_reduce_core::program::ReducePlace;
use rabbit_reduce_core::short::Key;
use rabbit_reduce_core::table::Table;
use std::io;

/// What is held in memory before it spills, in bytes.
const REDUCED_BYTES: usize = 32 << 20;
/// For each byte that a reducer has read it may put out so many, and besides that so many in all.
const GROWTH: u64 = 1000;
const LEAST_OUTPUT_BYTES: u64 = 1 << 30;

/// How much a reducer has read and put out.
#[derive(Debug)]
pub(crate) struct Flow {
    given: u64,
    taken: u64,
    /// What it may put out, whatever it reads.
    most: u64,
}

impl Flow {
    pub(crate) const fn new(at: &ReducePlace<'_>) -> Self {
        Self { given: 0, taken: 0, most: at.output_bytes }
    }

    pub(crate) const fn given(&mut self, bytes: usize) {
        self.given += bytes as u64;
    }

    /// Who puts out ever more, whatever it reads, would fill the disk.
    pub(crate) fn taken(&mut self, bytes: usize) -> Result<(), MapError> {
        self.taken += bytes as u64;
        let limit = self.given.saturating_mul(GROWTH).saturating_add(LEAST_OUTPUT_BYTES);
        let reason = if self.taken > self.most {
            format!("it wrote more than {} bytes, which is all that one job may have (--max-job-size)", self.most)
        } else if self.taken > limit {
            format!("it wrote more than {limit} bytes, after it had read {}", self.given)
        } else {
            return Ok(());
        };
        Err(MapError::Program { reason, may_pass: false })
    }
}

/// What it has put out.
pub(crate) struct Reduced<'r> {
    table: Table<'r, Lines>,
    number: u64,
    lines: &'r Lines,
    at: &'r ReducePlace<'r>,
}

impl<'r> Reduced<'r> {
    pub(crate) fn new(lines: &'r Lines, at: &'r ReducePlace<'r>) -> Self {
        Self { table: Table::new(lines, 1, REDUCED_BYTES, u64::from(at.partition.0)), number: 0, lines, at }
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), MapError> {
        let mut inner = Vec::new();
        self.lines.0.inner(key, LinePlace::reduced(self.at.partition, self.number), &mut inner);
        self.number += 1;
        let longest = inner.len().max(value.len());
        if longest > MAX_FIELD_BYTES {
            let reason = format!(
                "it wrote a key or value of {longest} bytes with what orders it, a part holds {MAX_FIELD_BYTES}"
            );
            return Err(MapError::Program { reason, may_pass: false });
        }
        if self.table.add(Key::of(&inner), value.to_vec()) {
            self.table.spill(self.at.scratch)?;
        }
        Ok(())
    }

    /// All of it, in order of keys.
    pub(crate) fn drain(self, out: &mut PairTaker<'_>) -> io::Result<()> {
        self.table.drain(self.at.scratch, |_, key, _, value| out(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_far_more_than_it_has_read_is_stopped() {
        let mut flow = Flow { given: 10, taken: LEAST_OUTPUT_BYTES, most: u64::MAX };
        assert!(flow.taken(10_000).is_ok());
        let stopped = flow.taken(1).unwrap_err().to_string();
        assert_eq!(stopped, "it wrote more than 1073751824 bytes, after it had read 10");
        flow.given(1);
        assert!(flow.taken(1).is_ok());
        flow.most = flow.taken;
        let stopped = flow.taken(1).unwrap_err().to_string();
        assert!(stopped.ends_with("which is all that one job may have (--max-job-size)"), "{stopped}");
    }
}
