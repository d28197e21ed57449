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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{Grep, Index, WordCount};
    use crate::tokens::Tokens;
    use std::cell::Cell;

    const WORDS: WordCount = WordCount { tokens: Tokens::Whitespace, lowercase: false };

    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl Scratch for Counting {
        fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
            self.0.set(self.0.get() + 1);
            Ok(Box::new(io::Cursor::new(Vec::new())))
        }
    }

    type Drained = Vec<(u32, Vec<u8>, u64, Vec<u8>)>;

    fn drained<P: Program>(table: Table<'_, P>, scratch: &dyn Scratch) -> Drained {
        let mut all = Drained::new();
        let taken = table.drain(scratch, |partition, key, pairs, value| {
            all.push((partition.0, key.to_vec(), pairs, value.to_vec()));
            io::Result::Ok(())
        });
        taken.unwrap();
        all
    }

    #[test]
    fn pairs_come_sorted_by_partition_and_key_with_what_they_stand_for() {
        let mut table = Table::new(&WORDS, 2, 1 << 20);
        for word in ["b", "a", "b", "c", "", "longer than eight", "longer than"] {
            assert!(!table.add(word.as_bytes(), 1));
        }
        assert_eq!(table.pairs(), 7);
        let all = drained(table, &Counting::default());
        assert!(all.is_sorted_by(|left, right| (left.0, &left.1) < (right.0, &right.1)), "{all:?}");
        assert_eq!(all.len(), 6);
        let (_, _, pairs, value) = all.iter().find(|(_, key, ..)| key == b"b").unwrap();
        assert_eq!((*pairs, value.as_slice()), (2, &[2_u8][..]));
    }

    #[test]
    fn a_table_past_its_budget_asks_to_be_spilled_and_gives_the_same() {
        let scratch = Counting::default();
        let (mut small, mut large) = (Table::new(&WORDS, 3, 200), Table::new(&WORDS, 3, 1 << 20));
        for number in 0..5000 {
            let word = format!("w{}", number % 900);
            if small.add(word.as_bytes(), 1) {
                small.spill(&scratch).unwrap();
            }
            large.add(word.as_bytes(), 1);
        }
        assert!(scratch.0.get() > FAN_IN);
        assert!(small.spilled.len() < FAN_IN, "files are merged when there are many");
        assert_eq!(drained(small, &scratch), drained(large, &scratch));
    }

    #[test]
    fn files_merged_hold_a_key_once() {
        let scratch = Counting::default();
        let mut table = Table::new(&WORDS, 3, 0);
        for _ in 0..10 {
            table.add(b"again", 1);
            table.spill(&scratch).unwrap();
        }
        let before = table.bytes();
        table.compact(&scratch).unwrap();
        assert!(table.bytes() < before / 5);
        assert_eq!(drained(table, &scratch).iter().map(|(_, _, pairs, _)| *pairs).collect::<Vec<_>>(), [10]);
    }

    /// Values that grow: lines appended to each other.
    #[derive(Debug)]
    struct Append(Grep);

    impl Program for Append {
        type Value = Vec<u8>;
        fn boundary(&self) -> crate::boundary::Boundary {
            self.0.boundary()
        }
        fn records(&self) -> crate::job::Records {
            self.0.records()
        }
        fn map<'r>(
            &'r self,
            record: crate::job::Piece<'r>,
        ) -> impl Iterator<Item = Result<crate::job::Pair<'r, Vec<u8>>, crate::job::RecordError>> + 'r {
            self.0.map(record)
        }
        fn merge(&self, _: &[u8], total: &mut Vec<u8>, other: Vec<u8>) {
            total.extend(other);
        }
        fn columns(&self) -> &'static [&'static str] {
            self.0.columns()
        }
        fn rows(
            &self,
            _: &[Vec<u8>],
            _: &mut dyn crate::pairs::PairSource,
            _: &mut dyn crate::rows::RowSink,
        ) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn values_that_grow_count_against_the_budget() {
        let program = Append(Grep { pattern: regex::bytes::Regex::new("x").unwrap() });
        let mut table = Table::new(&program, 1, 1000);
        let spills = (0..100).filter(|_| table.add(b"key", vec![b'x'; 50])).count();
        assert!(spills > 50, "{spills}");
        assert!(table.bytes() >= 5000);
    }

    #[test]
    fn keys_of_one_group_share_a_partition() {
        let index = Index { tokens: Tokens::Whitespace, lowercase: false };
        let mut table = Table::new(&index, 64, 1 << 20);
        for source in 0..50 {
            table.add(format!("word\0\0source {source}").as_bytes(), ());
        }
        let all = drained(table, &Counting::default());
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|(partition, ..)| *partition == all[0].0));
    }
}
