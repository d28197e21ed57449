//! The pairs of one chunk, combined by key: a hash table with short keys in its places and long ones in an arena, which spills
//! sorted runs past its budget.
//!
//! What would surprise: a spilled or sorted pair has its partition before its key, and how many mapped pairs it stands for
//! before its value, so that one merge serves all partitions and nothing is counted from memory.

use crate::id::PartitionNumber;
use crate::job::{Program, Value, ValueError};
use crate::merge::{Merge, combine};
use crate::pairs::{Cursor, put_varint, take_varint};
use crate::partition;
use crate::run::{RunReader, RunWriter};
use crate::short::{Key, SHORT_BYTES, ShortKey};
use std::cmp::Ordering;
use std::hint::black_box;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use xxhash_rust::xxh3::xxh3_64_with_seed;

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

/// A key and what is known of it. Without mapped pairs it is no key, but a place for one.
#[derive(Clone, Default)]
#[repr(align(32))]
struct Slot<V> {
    /// A short key; of a long one the first eight bytes, and where it lies in the arena.
    words: [u64; 2],
    /// Mapped pairs.
    pairs: u64,
    value: V,
}

/// In the highest byte of a long key's words, where no short key has it.
const LONG: u64 = 0xff;
const LONG_SHIFT: u32 = 56;
/// Bits of its length, below that; and below these where it lies.
const LENGTH_BITS: u32 = 24;

/// A pair on its way into order.
struct Sorted {
    prefix: u64,
    partition: u32,
    place: u32,
}

impl Sorted {
    /// Partition and prefix, the greater of them first.
    const fn first(&self) -> u128 {
        (self.partition as u128) << 64 | self.prefix as u128
    }
}

/// Bytes of a partition's number before a key.
const PARTITION_BYTES: usize = 4;
/// Scratch files that are merged into one when there are as many: each takes a file handle, and a frame of memory to read.
const FAN_IN: usize = 32;
/// So many pairs before it is taken, a pair's place is looked at.
const LOOK_AHEAD: usize = 8;
/// Places are told in 32 bits: a table that needs more is spilled whatever its budget.
const MOST_PLACES: usize = 1 << 31;
/// Places of a table that holds little.
const LEAST_PLACES: usize = 1 << 10;
/// Of so many places, so many are taken before there are twice as many: beyond, keys get in each other's way.
const TAKEN: (usize, usize) = (5, 8);
/// A table with so many bytes of long keys is spilled whatever its budget: places in the arena are told in 32 bits.
const MOST_ARENA_BYTES: usize = 1 << 31;

/// The table.
pub struct Table<'p, P: Program> {
    program: &'p P,
    partitions: u32,
    budget_bytes: usize,
    seed: u64,
    /// A power of two of them. A key lies where its hash leads, or in the first free place behind that.
    places: Vec<Slot<P::Value>>,
    taken: usize,
    /// The bytes of long keys.
    arena: Vec<u8>,
    value_bytes: usize,
    spilled: Vec<Box<dyn ScratchFile>>,
    spilled_bytes: u64,
    pairs: u64,
}

impl<'p, P: Program> Table<'p, P> {
    /// An empty table that holds about `budget_bytes` in memory. The `seed` decides where keys lie in it, and nothing else.
    #[must_use]
    pub fn new(program: &'p P, partitions: u32, budget_bytes: usize, seed: u64) -> Self {
        Self {
            program,
            partitions,
            budget_bytes,
            seed,
            places: vec![Slot::default(); LEAST_PLACES],
            taken: 0,
            arena: Vec::new(),
            value_bytes: 0,
            spilled: Vec::new(),
            spilled_bytes: 0,
            pairs: 0,
        }
    }

    /// Mapped pairs added so far.
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
        self.with_places(self.places.len())
    }

    /// What it would hold with so many places. A table of the least size is counted by what is in it, whatever the budget.
    fn with_places(&self, places: usize) -> usize {
        let places = if places > LEAST_PLACES { places } else { self.taken };
        self.arena.len() + self.value_bytes + places * size_of::<Slot<P::Value>>()
    }

    /// Has the places fetched from memory where these keys are likely to lie: all at once, as none waits for another.
    #[inline(always)]
    pub fn look_ahead(&self, keys: impl Iterator<Item = ShortKey>) {
        let mask = self.places.len() - 1;
        black_box(keys.fold(0, |all, key| all ^ self.places[hash_short(self.seed, key) as usize & mask].pairs));
    }

    /// Adds a pair; `true` if the table should now be [spilled](Table::spill).
    #[inline(always)]
    pub fn add(&mut self, key: Key<'_>, value: P::Value) -> bool {
        self.pairs += 1;
        match key {
            Key::Short(key) => self.put_short(key, value),
            Key::Long(key) => self.put_long(key, value),
        }
    }

    /// Puts a pair of a short key into its place.
    #[inline(always)]
    fn put_short(&mut self, key: ShortKey, value: P::Value) -> bool {
        let mask = self.places.len() - 1;
        let mut place = hash_short(self.seed, key) as usize & mask;
        loop {
            let slot = &self.places[place];
            if slot.words == key.words() {
                return self.merge(place, Key::Short(key), value);
            }
            if slot.is_free() {
                let [low, high] = key.words();
                return self.insert(place, low, high, value);
            }
            place = (place + 1) & mask;
        }
    }

    /// Puts a pair of a long key into its place.
    #[inline(never)]
    fn put_long(&mut self, key: &[u8], value: P::Value) -> bool {
        let mask = self.places.len() - 1;
        let mut place = hash_long(self.seed, key) as usize & mask;
        loop {
            let slot = &self.places[place];
            if slot.is_long(key, &self.arena) {
                return self.merge(place, Key::Long(key), value);
            }
            if slot.is_free() {
                let place_in_arena = in_arena(self.arena.len(), key.len());
                self.arena.extend_from_slice(key);
                return self.insert(place, first_word(key), place_in_arena, value);
            }
            place = (place + 1) & mask;
        }
    }

    /// Merges a value into that of the same key.
    #[inline(always)]
    fn merge(&mut self, place: usize, key: Key<'_>, value: P::Value) -> bool {
        let slot = &mut self.places[place];
        slot.pairs += 1;
        let before = slot.value.heap_bytes();
        self.program.merge(key.bytes(&mut [0; SHORT_BYTES]), &mut slot.value, value);
        let after = slot.value.heap_bytes();
        if after == before {
            return false;
        }
        self.value_bytes = self.value_bytes + after - before;
        after > before && self.is_full()
    }

    fn is_full(&self) -> bool {
        self.memory_bytes() > self.budget_bytes || self.arena.len() > MOST_ARENA_BYTES
    }

    /// Takes a new key in, at a place that is free. Its words come one by one, which keeps them in registers.
    #[inline(never)]
    fn insert(&mut self, place: usize, low: u64, high: u64, value: P::Value) -> bool {
        self.value_bytes += value.heap_bytes();
        self.places[place] = Slot { words: [low, high], pairs: 1, value };
        self.taken += 1;
        if self.taken * TAKEN.1 > self.places.len() * TAKEN.0 {
            // Beside the places that it grows into, it holds those that it has for a moment.
            if self.with_places(self.places.len() * 3) > self.budget_bytes || self.places.len() == MOST_PLACES {
                return true;
            }
            self.grow();
        }
        self.is_full()
    }

    fn grow(&mut self) {
        let twice = self.places.len() * 2;
        let slots = std::mem::replace(&mut self.places, vec![Slot::default(); twice]);
        for slot in slots.into_iter().filter(|slot| !slot.is_free()) {
            let mut place = hash(self.seed, slot.key(&self.arena)) as usize & (twice - 1);
            while !self.places[place].is_free() {
                place = (place + 1) & (twice - 1);
            }
            self.places[place] = slot;
        }
    }

    /// Moves all pairs to a sorted scratch file, and merges the files when there are many.
    ///
    /// # Errors
    /// Fails if a scratch file does.
    pub fn spill(&mut self, scratch: &dyn Scratch) -> io::Result<()> {
        let mut writer = RunWriter::new(BufWriter::new(scratch.create()?))?;
        let (mut numbered, mut counted) = (Vec::new(), Vec::new());
        self.each_sorted(|partition, key, pairs, value| {
            numbered.clear();
            numbered.extend_from_slice(&partition.0.to_be_bytes());
            numbered.extend_from_slice(key);
            counted.clear();
            put_varint(&mut counted, pairs);
            counted.extend_from_slice(value);
            writer.put(&numbered, &counted)
        })?;
        self.keep(writer)?;
        self.places.fill(Slot::default());
        self.taken = 0;
        self.arena.clear();
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
        if self.spilled.is_empty() {
            return self.each_sorted(take);
        }
        if self.taken > 0 {
            self.spill(scratch)?;
        }
        let mut merged = merged(self.program, self.spilled)?;
        while merged.advance()? {
            let (number, key) = merged.key().split_at(PARTITION_BYTES);
            let number = u32::from_be_bytes(number.try_into().expect("a partition's number is four bytes"));
            let mut value = merged.value();
            let pairs = take_varint(&mut value).expect("a value begins with its count");
            take(PartitionNumber(number), key, pairs, value)?;
        }
        Ok(())
    }

    fn each_sorted<E>(
        &self,
        mut take: impl FnMut(PartitionNumber, &[u8], u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut order: Vec<Sorted> = Vec::with_capacity(self.taken);
        let slots = (0..).zip(&self.places).filter(|(_, slot)| !slot.is_free());
        order.extend(slots.map(|(place, slot)| Sorted {
            prefix: slot.prefix(),
            partition: self.partition_of(slot).0,
            place,
        }));
        // By what needs no look at the table, as nearly all pairs are told apart; then the few that are not.
        order.sort_unstable_by_key(Sorted::first);
        let slot_of = |sorted: &Sorted| &self.places[sorted.place as usize];
        for alike in order.chunk_by_mut(|left, right| left.first() == right.first()).filter(|alike| alike.len() > 1) {
            alike.sort_unstable_by(|left, right| slot_of(left).behind_prefix(slot_of(right), &self.arena));
        }
        let mut value = Vec::new();
        for (at, sorted) in order.iter().enumerate() {
            // They lie anywhere: memory is asked for them ahead of time.
            black_box(order.get(at + LOOK_AHEAD).map(|sorted| slot_of(sorted).pairs));
            let slot = slot_of(sorted);
            value.clear();
            slot.value.encode(&mut value);
            let key = slot.key(&self.arena);
            take(PartitionNumber(sorted.partition), key.bytes(&mut [0; SHORT_BYTES]), slot.pairs, &value)?;
        }
        Ok(())
    }

    fn partition_of(&self, slot: &Slot<P::Value>) -> PartitionNumber {
        let (key, mut room) = (slot.key(&self.arena), [0; SHORT_BYTES]);
        let group = self.program.group(key.bytes(&mut room));
        partition::of_hash(partition::hash(group), self.partitions)
    }
}

impl<V> Slot<V> {
    #[inline]
    const fn is_free(&self) -> bool {
        self.pairs == 0
    }

    #[inline]
    fn key<'k>(&self, arena: &'k [u8]) -> Key<'k> {
        if self.is_of_long() { Key::Long(self.long(arena)) } else { Key::Short(ShortKey::from_words(self.words)) }
    }

    const fn is_of_long(&self) -> bool {
        self.words[1] >> LONG_SHIFT == LONG
    }

    fn long<'k>(&self, arena: &'k [u8]) -> &'k [u8] {
        let [_, place] = self.words;
        &arena[place as u32 as usize..][..(place >> 32) as usize % (1 << LENGTH_BITS)]
    }

    #[inline]
    fn is_long(&self, key: &[u8], arena: &[u8]) -> bool {
        self.words[0] == first_word(key) && self.is_of_long() && self.long(arena) == key
    }

    /// The first eight bytes, as a number that orders as they do.
    const fn prefix(&self) -> u64 {
        self.words[0].swap_bytes()
    }

    /// The order of two keys that begin with the same eight bytes.
    fn behind_prefix(&self, other: &Self, arena: &[u8]) -> Ordering {
        match (self.key(arena), other.key(arena)) {
            // The zeros behind a short key are less than any byte; where they are equal to one, the length tells.
            (Key::Short(_), Key::Short(_)) => self.words[1].swap_bytes().cmp(&other.words[1].swap_bytes()),
            (left, right) => left.bytes(&mut [0; SHORT_BYTES]).cmp(right.bytes(&mut [0; SHORT_BYTES])),
        }
    }
}

/// Where in a table a key lies.
#[inline(always)]
fn hash(seed: u64, key: Key<'_>) -> u64 {
    match key {
        Key::Short(key) => hash_short(seed, key),
        Key::Long(key) => hash_long(seed, key),
    }
}

/// A product folded: the quickest hash of two words that is good enough for that.
#[inline(always)]
fn hash_short(seed: u64, key: ShortKey) -> u64 {
    let [low, high] = key.words();
    let product = u128::from(low ^ seed) * u128::from(high ^ seed.rotate_left(32) ^ partition::SEED);
    product as u64 ^ (product >> 64) as u64
}

fn hash_long(seed: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// The first eight bytes of a long key, the first one lowest.
fn first_word(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Where a long key lies, and how long it is.
fn in_arena(start: usize, length: usize) -> u64 {
    let start = u32::try_from(start).expect("a table with a full arena is spilled");
    assert!(length < 1 << LENGTH_BITS, "a key is no longer than a message");
    u64::from(start) | (length as u64) << 32 | LONG << LONG_SHIFT
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
    use crate::postings::Postings;
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
        let mut table = Table::new(&WORDS, 2, 1 << 20, 7);
        for word in ["b", "a", "b", "c", "", "longer than eight", "longer than"] {
            assert!(!table.add(Key::of(word.as_bytes()), 1));
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
        let (mut small, mut large) = (Table::new(&WORDS, 3, 200, 1), Table::new(&WORDS, 3, 1 << 20, 2));
        for number in 0..5000 {
            let word = format!("w{}", number % 900);
            if small.add(Key::of(word.as_bytes()), 1) {
                small.spill(&scratch).unwrap();
            }
            large.add(Key::of(word.as_bytes()), 1);
        }
        assert!(scratch.0.get() > FAN_IN);
        assert!(small.spilled.len() < FAN_IN, "files are merged when there are many");
        assert_eq!(drained(small, &scratch), drained(large, &scratch));
    }

    #[test]
    fn a_table_that_is_spilled_when_it_asks_stays_within_its_budget() {
        const BUDGET: usize = 1 << 20;
        let mut table = Table::new(&WORDS, 3, BUDGET, 7);
        let (mut most, mut spills) = (0, 0);
        for number in 0..100_000 {
            let word = if number % 3 == 0 { format!("a key in the arena {number}") } else { number.to_string() };
            let full = table.add(Key::of(word.as_bytes()), 1);
            most = most.max(table.arena.len() + table.places.len() * size_of::<Slot<u64>>());
            if full {
                table.spill(&Counting::default()).unwrap();
                spills += 1;
            }
        }
        assert!(spills > 2 && most > BUDGET / 4 && most < BUDGET + 100, "{spills} spills, at most {most} bytes");
    }

    #[test]
    fn files_merged_hold_a_key_once() {
        let scratch = Counting::default();
        let mut table = Table::new(&WORDS, 3, 0, 7);
        for _ in 0..10 {
            table.add(Key::of(b"again"), 1);
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
        let program = Append(Grep { pattern: regex::bytes::Regex::new("x").unwrap(), selection: None });
        let mut table = Table::new(&program, 1, 1000, 7);
        let spills = (0..100).filter(|_| table.add(Key::of(b"key"), vec![b'x'; 50])).count();
        assert!(spills > 50, "{spills}");
        assert!(table.bytes() >= 5000);
    }

    #[test]
    fn keys_of_one_group_share_a_partition() {
        let index = Index { tokens: Tokens::Whitespace, lowercase: false };
        let mut table = Table::new(&index, 64, 1 << 20, 7);
        for source in 0..50 {
            table.add(Key::of(format!("word\0\0source {source}").as_bytes()), Postings::default());
        }
        let all = drained(table, &Counting::default());
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|(partition, ..)| *partition == all[0].0));
    }
}
