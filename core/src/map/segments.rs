//! Sorted pairs on their way into segments, and segments in memory or in a scratch file.
//!
//! What would surprise: where a segment ends depends on the pairs and the limits of the job alone.

use super::{LENGTHS_BYTES, Limits, MAX_PAIR_BYTES, MapError, Segment};
use crate::id::PartitionNumber;
use crate::pairs::PairWriter;
use crate::table::{Scratch, ScratchFile};
use bytes::Bytes;
use std::io::{self, Read, Seek, SeekFrom, Write};
use xxhash_rust::xxh3::Xxh3;

/// Cuts sorted pairs into segments, and partitions.
pub(super) struct Segments<'s> {
    limits: Limits,
    spool: Spool,
    scratch: &'s dyn Scratch,
    partials: Vec<Vec<Segment>>,
    body: Vec<u8>,
    writer: PairWriter,
    pairs: u64,
    combined: u64,
    output_bytes: u64,
    digest: Xxh3,
}

impl<'s> Segments<'s> {
    pub(super) fn new(limits: Limits, scratch: &'s dyn Scratch) -> Self {
        Self {
            limits,
            spool: Spool::new(limits.budget_bytes),
            scratch,
            partials: vec![Vec::new()],
            body: Vec::new(),
            writer: PairWriter::default(),
            pairs: 0,
            combined: 0,
            output_bytes: 0,
            digest: Xxh3::new(),
        }
    }

    pub(super) fn put(
        &mut self,
        partition: PartitionNumber,
        key: &[u8],
        pairs: u64,
        value: &[u8],
    ) -> Result<(), MapError> {
        let bytes = key.len() + value.len();
        if bytes > MAX_PAIR_BYTES {
            return Err(MapError::Pair { bytes });
        }
        self.combined += 1;
        self.output_bytes += bytes as u64;
        if self.output_bytes > self.limits.output_bytes {
            return Err(MapError::Output { limit: self.limits.output_bytes });
        }
        while self.partials.len() <= partition.index() {
            self.end_partial()?;
            self.partials.push(Vec::new());
        }
        // The most that its lengths may take, so that what is shared with the key before decides nothing.
        let size = bytes + LENGTHS_BYTES;
        if !self.body.is_empty() && self.body.len() + size > self.limits.segment_bytes {
            self.end_segment()?;
        }
        self.writer.put(&mut self.body, key, value);
        self.pairs += pairs;
        Ok(())
    }

    /// Combined pairs so far, and the bytes of their keys and values.
    pub(super) const fn put_so_far(&self) -> (u64, u64) {
        (self.combined, self.output_bytes)
    }

    fn end_segment(&mut self) -> io::Result<()> {
        self.digest.update(&(self.partials.len() as u64).to_le_bytes());
        self.digest.update(&(self.body.len() as u64).to_le_bytes());
        self.digest.update(&self.body);
        let begin = self.spool.append(&self.body, self.scratch)?;
        let segment = Segment { pairs: std::mem::take(&mut self.pairs), begin, length: self.body.len() };
        self.partials.last_mut().expect("there is a partial from the start").push(segment);
        self.body.clear();
        self.writer = PairWriter::default();
        Ok(())
    }

    /// A partial is sent even when it is empty.
    fn end_partial(&mut self) -> io::Result<()> {
        let none_yet = self.partials.last().is_none_or(Vec::is_empty);
        if none_yet || !self.body.is_empty() { self.end_segment() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> io::Result<(Vec<Vec<Segment>>, Spool, u64)> {
        while self.partials.len() < self.limits.partitions as usize {
            self.end_partial()?;
            self.partials.push(Vec::new());
        }
        self.end_partial()?;
        Ok((self.partials, self.spool, self.digest.digest()))
    }
}

/// Bytes put one after the other: in memory up to a budget, beyond it in a scratch file.
pub(super) struct Spool {
    budget_bytes: usize,
    memory: Vec<Bytes>,
    memory_starts: Vec<u64>,
    length: u64,
    file: Option<(u64, Box<dyn ScratchFile>)>,
}

impl Spool {
    pub(super) const fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, memory: Vec::new(), memory_starts: Vec::new(), length: 0, file: None }
    }

    fn append(&mut self, bytes: &[u8], scratch: &dyn Scratch) -> io::Result<u64> {
        let begin = self.length;
        self.length += bytes.len() as u64;
        if self.file.is_none() && self.length <= self.budget_bytes as u64 {
            self.memory.push(Bytes::copy_from_slice(bytes));
            self.memory_starts.push(begin);
            return Ok(begin);
        }
        if self.file.is_none() {
            self.file = Some((begin, scratch.create()?));
        }
        let (_, file) = self.file.as_mut().expect("just made");
        file.write_all(bytes)?;
        Ok(begin)
    }

    pub(super) fn read(&mut self, begin: u64, length: usize) -> io::Result<Bytes> {
        if let Some((first, file)) = &mut self.file
            && begin >= *first
        {
            let mut bytes = vec![0; length];
            file.seek(SeekFrom::Start(begin - *first))?;
            file.read_exact(&mut bytes)?;
            return Ok(bytes.into());
        }
        // An empty segment begins where the next one does, and is as empty there.
        let place = self.memory_starts.partition_point(|&start| start <= begin);
        let found = place.checked_sub(1).map(|place| self.memory[place].slice(..length));
        Ok(found.expect("a segment begins where it was put"))
    }
}
