//! The world around the aggregators: queues that redeliver, duplicate and reorder, workers that die, a log whose puts are ambiguous.

use crate::Bug;
use rabbit_reduce_core::id::{ChunkNumber, Unit};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::ledger::append::Record;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(crate) type Units = BTreeMap<(u32, u32), u32>;
pub(crate) type Slot = (u32, u64);

/// A delivery: its number, and the channel (aggregator, epoch) that holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) number: u64,
    pub(crate) channel: (usize, u64),
}

pub(crate) struct World {
    pub(crate) random: fastrand::Rng,
    pub(crate) bug: Option<Bug>,
    pub(crate) chunks: u32,
    pub(crate) partitions: u32,
    pub(crate) units: BTreeMap<(u32, u32), Vec<Unit>>,
    pub(crate) queues: Vec<Vec<Unit>>,
    pub(crate) unsettled: BTreeMap<u64, (u32, Unit, (usize, u64))>,
    pub(crate) dead: Vec<u32>,
    pub(crate) unsettled_dead: BTreeMap<u64, (u32, (usize, u64))>,
    pub(crate) log: BTreeMap<Slot, Record>,
    pub(crate) files: BTreeMap<Uuid, Units>,
    pub(crate) home: BTreeMap<Uuid, u32>,
    pub(crate) to_map: Vec<u32>,
    pub(crate) poison: BTreeSet<u32>,
    pub(crate) next: u64,
}

pub(crate) enum PutOutcome {
    Created,
    Exists,
    Unknown,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (chunks, partitions) = (random.u32(1..=6), random.u32(1..=3));
        let mut units = BTreeMap::new();
        for partition in 0..partitions {
            for chunk in 0..chunks {
                let last = u32::from(random.u8(0..3) == 0);
                let unit = |segment| Unit { chunk: ChunkNumber(chunk), record: None, segment, last: segment == last };
                units.insert((partition, chunk), (0..=last).map(unit).collect());
            }
        }
        let poison = (0..chunks).filter(|_| random.f64() < 0.1).collect();
        Self {
            bug,
            chunks,
            partitions,
            units,
            queues: vec![Vec::new(); partitions as usize],
            unsettled: BTreeMap::new(),
            dead: Vec::new(),
            unsettled_dead: BTreeMap::new(),
            log: BTreeMap::new(),
            files: BTreeMap::new(),
            home: BTreeMap::new(),
            to_map: (0..chunks).collect(),
            poison,
            next: 0,
            random,
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn put_new(&mut self, slot: Slot, record: &Record) -> PutOutcome {
        let chance = self.random.f64();
        if chance < 0.03 {
            return PutOutcome::Unknown;
        }
        if self.log.contains_key(&slot) && self.bug != Some(Bug::Overwrite) {
            return PutOutcome::Exists;
        }
        self.log.insert(slot, record.clone());
        if chance < 0.06 { PutOutcome::Unknown } else { PutOutcome::Created }
    }

    pub(crate) fn new_file(&mut self, partition: u32, units: Units) -> Uuid {
        let file = Uuid::from_u128(u128::from(self.number()));
        self.home.insert(file, partition);
        self.files.insert(file, units);
        file
    }

    pub(crate) fn worker_step(&mut self) {
        if self.to_map.is_empty() {
            return;
        }
        let place = self.random.usize(..self.to_map.len());
        let chunk = self.to_map[place];
        let mut messages: Vec<(u32, Unit)> = (0..self.partitions)
            .flat_map(|partition| self.units[&(partition, chunk)].iter().map(move |unit| (partition, *unit)))
            .collect();
        self.random.shuffle(&mut messages);
        let poison = self.poison.contains(&chunk);
        let stops = poison || self.random.f64() < 0.1;
        let stop = if stops { self.random.usize(0..=messages.len()) } else { messages.len() };
        for (partition, unit) in &messages[..stop] {
            for _ in 0..if self.random.u8(0..5) == 0 { 2 } else { 1 } {
                self.queues[*partition as usize].push(*unit);
            }
        }
        if poison {
            if self.random.bool() {
                self.dead.push(chunk);
                self.to_map.swap_remove(place);
            }
        } else if stop == messages.len() && self.random.f64() < 0.9 {
            self.to_map.swap_remove(place);
        }
    }

    /// The channel is gone: what it held comes again.
    pub(crate) fn lose_channel(&mut self, channel: (usize, u64)) {
        let back: Vec<_> = self.unsettled.extract_if(.., |_, held| held.2 == channel).collect();
        for (_, (partition, unit, _)) in back {
            self.queues[partition as usize].push(unit);
        }
        let back: Vec<_> = self.unsettled_dead.extract_if(.., |_, held| held.1 == channel).collect();
        self.dead.extend(back.into_iter().map(|(_, (chunk, _))| chunk));
    }

    /// An ack counts on a live channel only; anywhere else it reaches nobody.
    pub(crate) fn ack(&mut self, receipt: Receipt) {
        self.unsettled.remove(&receipt.number);
    }

    pub(crate) fn give_back(&mut self, receipt: Receipt) {
        if let Some((partition, unit, _)) = self.unsettled.remove(&receipt.number) {
            self.queues[partition as usize].push(unit);
        }
    }

    pub(crate) fn ledger(&self, partition: u32) -> Ledger {
        let mut ledger = Ledger::default();
        while let Some(record) = self.log.get(&(partition, ledger.next())) {
            ledger.apply(&record.entry);
        }
        ledger
    }

    pub(crate) fn quiet(&self) -> bool {
        self.to_map.is_empty()
            && self.dead.is_empty()
            && self.queues.iter().all(Vec::is_empty)
            && self.unsettled.is_empty()
            && self.unsettled_dead.is_empty()
    }

    /// Everything that a step may have changed, to be compared: the whole log, queues, files, and the next number drawn.
    pub(crate) fn trace(&self) -> String {
        let log: Vec<_> = self
            .log
            .iter()
            .map(|(slot, record)| (slot, serde_json::to_string(record).expect("entries are plain data")))
            .collect();
        let queues = (&self.queues, &self.unsettled, &self.dead, &self.unsettled_dead, &self.to_map);
        let drawn = self.random.clone().u64(..);
        format!("{log:?} {queues:?} {:?} {:?} {} {drawn}", self.files, self.home, self.next)
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
