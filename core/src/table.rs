//! The pairs of one chunk, combined by key: a hash table over an arena of keys, which spills sorted runs past its budget.
//!
//! What would surprise: a spilled or sorted pair has its partition before its key, and how many mapped pairs it stands for
//! before its value, so that one merge serves all partitions and nothing is counted from memory.

use crate::id::PartitionNumber;
use crate::job::{Program, Value, ValueError};
use crate::merge::{Merge, combine, prefix};
use crate::pairs::{Cursor, put_varint, take_varint};
use crate::partition;
use crate::run::{RunReader, RunWriter};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// A file for what does not fit in memory; it goes when it is dropped.
pub trait ScratchFile: Read + Write + Seek + Send {}
impl<F: Read + Write + Seek + Send> ScratchFile for F {}

/// Where scratch files come from.
pub trait Scratch {
    /// A new, empty file.
    ///
    /// # Errors
    /// Fails if there is no room or no permission.
    fn create(&self) -> io::Result<Box<dyn ScratchFile>>;
}

struct Slot<V> {
    hash: u64,
    start: usize,
    length: u32,
    pairs: u64,
    value: V,
}

/// Bytes of a partition's number before a key.
const PARTITION_BYTES: usize = 4;
/// Scratch files that are merged into one when there are as many: each takes a file handle, and a frame of memory to read.
const FAN_IN: usize = 32;

/// The table.
pub struct Table<'p, P: Program> {
    program: &'p P,
    partitions: u32,
    budget_bytes: usize,
    slots: HashTable<Slot<P::Value>>,
    keys: Vec<u8>,
    value_bytes: usize,
    spilled: Vec<Box<dyn ScratchFile>>,
    spilled_bytes: u64,
    pairs: u64,
}

impl<'p, P: Program> Table<'p, P> {
    /// An empty table that holds about `budget_bytes` in memory.
    pub fn new(program: &'p P, partitions: u32, budget_bytes: usize) -> Self {
        Self {
            program,
            partitions,
            budget_bytes,
            slots: HashTable::new(),
            keys: Vec::new(),
            value_bytes: 0,
            spilled: Vec::new(),
            spilled_bytes: 0,
            pairs: 0,
        }
    }

    /// Mapped pairs put in so far.
    #[must_use]
    pub const fn pairs(&self) -> u64 {
        self.pairs
    }

    /// Bytes in memory and in scratch files, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory_bytes() as u64 + self.spilled_bytes
    }

    fn memory_bytes(&self) -> usize {
        self.keys.len() + self.value_bytes + self.slots.len() * size_of::<Slot<P::Value>>()
    }

    /// Adds a pair; `true` if the table should now be [spilled](Table::spill).
    #[inline]
    pub fn add(&mut self, key: &[u8], value: P::Value) -> bool {
        let Self { program, slots, keys, value_bytes, .. } = self;
        let hash = partition::hash(key);
        self.pairs += 1;
        let same = |slot: &Slot<P::Value>| slot.hash == hash && keys[slot.start..][..slot.length as usize] == *key;
        match slots.entry(hash, same, |slot| slot.hash) {
            Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                slot.pairs += 1;
                let before = slot.value.heap_bytes();
                program.merge(key, &mut slot.value, value);
                let after = slot.value.heap_bytes();
                *value_bytes = *value_bytes + after - before;
                after > before && self.memory_bytes() > self.budget_bytes
            }
            Entry::Vacant(vacant) => {
                let length = u32::try_from(key.len()).expect("a key stems from a record, and is as short");
                *value_bytes += value.heap_bytes();
                vacant.insert(Slot { hash, start: keys.len(), length, pairs: 1, value });
                keys.extend_from_slice(key);
                self.memory_bytes() > self.budget_bytes
            }
        }
    }

    /// Moves all pairs to a sorted scratch file, and merges the files when there are many.
    ///
    /// # Errors
    /// Fails if a scratch file does.
    pub fn spill(&mut self, scratch: &dyn Scratch) -> io::Result<()> {
        let mut writer = RunWriter::new(BufWriter::new(scratch.create()?))?;
        self.each_sorted(|key, value| writer.put(key, value))?;
        self.keep(writer)?;
        self.slots.clear();
        self.keys.clear();
        self.value_bytes = 0;
        if self.spilled.len() < FAN_IN { Ok(()) } else { self.compact(scratch) }
    }

    /// Merges all scratch files into one, so that a pair takes room once only.
    ///
    /// # Errors
    /// Fails if a scratch file does.
    pub fn compact(&mut self, scratch: &dyn Scratch) -> io::Result<()> {
        if self.spilled.len() < 2 {
            return Ok(());
        }
        let mut merged = merged(self.program, std::mem::take(&mut self.spilled))?;
        self.spilled_bytes = 0;
        let mut writer = RunWriter::new(BufWriter::new(scratch.create()?))?;
        while merged.advance()? {
            writer.put(merged.key(), merged.value())?;
        }
        self.keep(writer)
    }

    fn keep(&mut self, writer: RunWriter<BufWriter<Box<dyn ScratchFile>>>) -> io::Result<()> {
        let (file, size) = writer.finish()?;
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.spilled.push(file);
        self.spilled_bytes += size.bytes;
        Ok(())
    }

    /// Hands over all pairs, sorted by partition and key: partition, key, mapped pairs it stands for, encoded value.
    ///
    /// # Errors
    /// Fails if a scratch file or the taker does.
    pub fn drain<E: From<io::Error>>(
        mut self,
        scratch: &dyn Scratch,
        mut take: impl FnMut(PartitionNumber, &[u8], u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut unwrap = |key: &[u8], mut value: &[u8]| {
            let (number, key) = key.split_at(PARTITION_BYTES);
            let number = u32::from_be_bytes(number.try_into().expect("a partition's number is four bytes"));
            let pairs = take_varint(&mut value).expect("a value begins with its count");
            take(PartitionNumber(number), key, pairs, value)
        };
        if self.spilled.is_empty() {
            return self.each_sorted(&mut unwrap);
        }
        if !self.slots.is_empty() {
            self.spill(scratch)?;
        }
        let mut merged = merged(self.program, self.spilled)?;
        while merged.advance()? {
            unwrap(merged.key(), merged.value())?;
        }
        Ok(())
    }

    fn each_sorted<E>(&self, mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<(), E> {
        let key_of = |slot: &Slot<P::Value>| &self.keys[slot.start..][..slot.length as usize];
        let mut order: Vec<(u32, u64, &Slot<P::Value>)> = self
            .slots
            .iter()
            .map(|slot| (self.partition_of(slot, key_of(slot)).0, prefix(key_of(slot)), slot))
            .collect();
        order.sort_unstable_by(|left, right| {
            (left.0, left.1).cmp(&(right.0, right.1)).then_with(|| key_of(left.2).cmp(key_of(right.2)))
        });
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (partition, _, slot) in order {
            key.clear();
            key.extend_from_slice(&partition.to_be_bytes());
            key.extend_from_slice(key_of(slot));
            value.clear();
            put_varint(&mut value, slot.pairs);
            slot.value.encode(&mut value);
            take(&key, &value)?;
        }
        Ok(())
    }

    /// The hash of a whole key, which the table has, is the partition's too unless only a part of the key chooses.
    fn partition_of(&self, slot: &Slot<P::Value>, key: &[u8]) -> PartitionNumber {
        let group = self.program.group(key);
        let hash = if group.len() == key.len() { slot.hash } else { partition::hash(group) };
        partition::of_hash(hash, self.partitions)
    }
}

/// Scratch files as one sorted stream.
fn merged<P: Program>(program: &P, files: Vec<Box<dyn ScratchFile>>) -> io::Result<impl Cursor> {
    let runs = files.into_iter().map(|file| RunReader::new(BufReader::new(file))).collect();
    Merge::new(runs, |key, total, other| combine_counted(program, key, total, other))
}

fn combine_counted<P: Program>(
    program: &P,
    key: &[u8],
    total: &mut Vec<u8>,
    mut other: &[u8],
) -> Result<(), ValueError> {
    const CUT: ValueError = ValueError("a count is cut short");
    let mut rest = total.as_slice();
    let mut pairs = take_varint(&mut rest).ok_or(CUT)?;
    pairs += take_varint(&mut other).ok_or(CUT)?;
    let mut value = rest.to_vec();
    combine(program, &key[PARTITION_BYTES..], &mut value, other)?;
    total.clear();
    put_varint(total, pairs);
    total.extend_from_slice(&value);
    Ok(())
}
