//! A random model of the ledger protocol: is every unit counted exactly once, and does every job end?
//!
//! The ledger, its validity, the append dialogue and the delta are the real ones; around them stands a small world in which
//! queues redeliver, duplicate and reorder, aggregators die or freeze at any await and wake as zombies, puts are ambiguous and
//! poison chunks publish some of their units before they go to the dead letters. Each planted [`Bug`] must be caught.

use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, Unit};
use rabbit_reduce_core::ledger::append::{Append, Event, Record, Step};
use rabbit_reduce_core::ledger::delta::{Delta, Fold, Held};
use rabbit_reduce_core::ledger::{Entry, Finish, Ledger};
use rabbit_reduce_core::message::Partial;
use rabbit_reduce_core::run::RunSize;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// Deliveries are acked before the commit that holds them.
    AckFirst,
    /// A unit that is in the delta is folded again.
    NoDedup,
    /// An entry may be put over another.
    Overwrite,
    /// After losing entry n+1, the commit goes to n+2 without looking at what won.
    CommitUnchecked,
    /// After a lost channel the delta stays, and redelivered copies are acked as duplicates.
    ReconnectKeepsDelta,
    /// Nobody looks again at a partition that was complete when its last committer died.
    NoSweep,
    /// A chunk counts as covered with its first segment.
    ChunkUnits,
    /// A compaction that lost the race is appended all the same.
    CompactUnchecked,
    /// A finish that lost the race is appended with the part it had merged.
    FinishStale,
    /// The dead letter is acked before its loss is noted everywhere.
    DeadAckFirst,
    /// Files that no entry names are deleted without saying so first.
    DeleteUnretired,
}

type Units = BTreeMap<(u32, u32), u32>;
type Slot = (u32, u64);

/// A delivery: its number, and the channel (aggregator, epoch) that holds it.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    number: u64,
    channel: (usize, u64),
}

struct World {
    random: fastrand::Rng,
    bug: Option<Bug>,
    chunks: u32,
    partitions: u32,
    units: BTreeMap<(u32, u32), Vec<Unit>>,
    queues: Vec<Vec<Unit>>,
    unsettled: BTreeMap<u64, (u32, Unit, (usize, u64))>,
    dead: Vec<u32>,
    unsettled_dead: BTreeMap<u64, (u32, (usize, u64))>,
    log: BTreeMap<Slot, Record>,
    files: BTreeMap<Uuid, Units>,
    home: BTreeMap<Uuid, u32>,
    to_map: Vec<u32>,
    poison: BTreeSet<u32>,
    next: u64,
}

enum PutOutcome {
    Created,
    Exists,
    Unknown,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (chunks, partitions) = (random.u32(1..=6), random.u32(1..=3));
        let mut units = BTreeMap::new();
        for partition in 0..partitions {
            for chunk in 0..chunks {
                let last = u32::from(random.u8(0..3) == 0);
                let unit = |segment| Unit { chunk: ChunkNumber(chunk), segment, last: segment == last };
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

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn put_new(&mut self, slot: Slot, record: &Record) -> PutOutcome {
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

    fn new_file(&mut self, partition: u32, units: Units) -> Uuid {
        let file = Uuid::from_u128(u128::from(self.number()));
        self.home.insert(file, partition);
        self.files.insert(file, units);
        file
    }

    fn worker_step(&mut self) {
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
    fn lose_channel(&mut self, channel: (usize, u64)) {
        let back: Vec<_> = self.unsettled.extract_if(.., |_, held| held.2 == channel).collect();
        for (_, (partition, unit, _)) in back {
            self.queues[partition as usize].push(unit);
        }
        let back: Vec<_> = self.unsettled_dead.extract_if(.., |_, held| held.1 == channel).collect();
        self.dead.extend(back.into_iter().map(|(_, (chunk, _))| chunk));
    }

    /// An ack counts on a live channel only; anywhere else it reaches nobody.
    fn ack(&mut self, receipt: Receipt) {
        self.unsettled.remove(&receipt.number);
    }

    fn give_back(&mut self, receipt: Receipt) {
        if let Some((partition, unit, _)) = self.unsettled.remove(&receipt.number) {
            self.queues[partition as usize].push(unit);
        }
    }

    fn ledger(&self, partition: u32) -> Ledger {
        let mut ledger = Ledger::default();
        while let Some(record) = self.log.get(&(partition, ledger.next())) {
            ledger.apply(&record.entry);
        }
        ledger
    }

    fn quiet(&self) -> bool {
        self.to_map.is_empty()
            && self.dead.is_empty()
            && self.queues.iter().all(Vec::is_empty)
            && self.unsettled.is_empty()
            && self.unsettled_dead.is_empty()
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

type Shared = Rc<RefCell<World>>;

/// A place where an aggregator may die, or freeze.
fn cut() -> impl Future<Output = ()> {
    let mut passed = false;
    std::future::poll_fn(move |_| if std::mem::replace(&mut passed, true) { Poll::Ready(()) } else { Poll::Pending })
}

#[derive(Default)]
struct Shard {
    ledger: Ledger,
    delta: Delta<Receipt>,
    extra: Units,
}

struct Memory {
    name: usize,
    epoch: u64,
    shards: Vec<Shard>,
}

struct Aggregator {
    memory: Rc<RefCell<Memory>>,
    doing: Option<Pin<Box<dyn Future<Output = ()>>>>,
    frozen: u32,
    lost_channel: bool,
}

impl Aggregator {
    fn new(name: usize, epoch: u64, partitions: u32) -> Self {
        let shards = (0..partitions).map(|_| Shard::default()).collect();
        Self {
            memory: Rc::new(RefCell::new(Memory { name, epoch, shards })),
            doing: None,
            frozen: 0,
            lost_channel: false,
        }
    }

    fn channel(&self) -> (usize, u64) {
        let memory = self.memory.borrow();
        (memory.name, memory.epoch)
    }

    fn step(&mut self, world: &Shared) {
        if self.frozen > 0 {
            self.frozen -= 1;
            return;
        }
        if std::mem::take(&mut self.lost_channel) {
            self.wake(world);
        }
        let chance = world.borrow_mut().random.f64();
        if chance < 0.01 {
            world.borrow_mut().lose_channel(self.channel());
            let (name, epoch) = self.channel();
            *self = Self::new(name, epoch + 1, world.borrow().partitions);
        } else if chance < 0.02 {
            world.borrow_mut().lose_channel(self.channel());
            self.lost_channel = true;
            self.frozen = world.borrow_mut().random.u32(1..=60);
        } else {
            let mut doing = self.doing.take().unwrap_or_else(|| choose(world, &self.memory));
            if doing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                self.doing = Some(doing);
            }
        }
    }

    /// A channel that is gone takes what it delivered out of the deltas, before anything is consumed on the next one.
    fn wake(&self, world: &Shared) {
        let mut memory = self.memory.borrow_mut();
        memory.epoch += 1;
        if world.borrow().has(Bug::ReconnectKeepsDelta) {
            return;
        }
        let channel = (memory.name, memory.epoch);
        for shard in &mut memory.shards {
            shard.delta.take_out(|held| held.receipt.channel != channel);
        }
    }
}

fn choose(world: &Shared, memory: &Rc<RefCell<Memory>>) -> Pin<Box<dyn Future<Output = ()>>> {
    let (partition, chance, sweep) = {
        let mut world = world.borrow_mut();
        let partitions = world.partitions;
        (world.random.u32(0..partitions), world.random.f64(), !world.has(Bug::NoSweep))
    };
    let (world, memory) = (Rc::clone(world), Rc::clone(memory));
    match chance {
        _ if chance < 0.5 => Box::pin(receive(world, memory, partition)),
        _ if chance < 0.7 => Box::pin(commit(world, memory, partition)),
        _ if chance < 0.78 => Box::pin(compact(world, memory, partition)),
        _ if chance < 0.86 => Box::pin(bury(world, memory)),
        _ if chance < 0.9 => Box::pin(tidy(world, memory, partition)),
        _ if sweep => Box::pin(finish(world, memory, partition)),
        _ => Box::pin(receive(world, memory, partition)),
    }
}

/// Drives the real dialogue against the world's log. `force` is a planted mistake: what was judged invalid goes in all the same.
async fn append(world: &Shared, memory: &Rc<RefCell<Memory>>, partition: u32, entry: Entry, force: bool) -> bool {
    let (nonce, chunks) = {
        let mut world = world.borrow_mut();
        (Uuid::from_u128(u128::from(world.number())), world.chunks)
    };
    let append = Append::new(Record { nonce, writer: "model".into(), entry }, Some(chunks));
    let mut event = Event::Begin;
    loop {
        let step = append.next(&mut memory.borrow_mut().shards[partition as usize].ledger, event);
        let number = match step {
            Step::Appended => return true,
            Step::GaveUp(_) if !force => return false,
            Step::GaveUp(_) => memory.borrow().shards[partition as usize].ledger.next(),
            Step::Put(number) => number,
            Step::Read(number) => {
                cut().await;
                event = Event::Read(world.borrow().log.get(&(partition, number)).cloned().map(Box::new));
                continue;
            }
        };
        cut().await;
        event = match world.borrow_mut().put_new((partition, number), append.record()) {
            PutOutcome::Created => Event::Created,
            PutOutcome::Exists => Event::Exists,
            PutOutcome::Unknown => Event::Unknown,
        };
        cut().await;
    }
}

fn read(world: &Shared, memory: &Rc<RefCell<Memory>>, partition: u32) {
    let mut memory = memory.borrow_mut();
    let ledger = &mut memory.shards[partition as usize].ledger;
    while let Some(record) = world.borrow().log.get(&(partition, ledger.next())) {
        ledger.apply(&record.entry);
    }
}

async fn receive(world: Shared, memory: Rc<RefCell<Memory>>, partition: u32) {
    let mut world = world.borrow_mut();
    let mut memory = memory.borrow_mut();
    let channel = (memory.name, memory.epoch);
    let waiting = world.queues[partition as usize].len();
    if waiting == 0 {
        return;
    }
    let place = world.random.usize(..waiting);
    let unit = world.queues[partition as usize].swap_remove(place);
    let number = world.number();
    world.unsettled.insert(number, (partition, unit, channel));
    let receipt = Receipt { number, channel };
    let shard = &mut memory.shards[partition as usize];
    if world.has(Bug::ChunkUnits) {
        let mut first = unit;
        first.segment ^= 1;
        if shard.ledger.covers(first) {
            return world.ack(receipt);
        }
    }
    if shard.ledger.covers(unit) {
        return world.ack(receipt);
    }
    match shard.delta.fold(partial(partition, unit), Bytes::new(), receipt) {
        Fold::Held if world.has(Bug::AckFirst) => world.ack(receipt),
        Fold::Held => {}
        Fold::Duplicate(_) if world.has(Bug::NoDedup) => {
            *shard.extra.entry((unit.chunk.0, unit.segment)).or_insert(0) += 1
        }
        Fold::Duplicate(receipt) => world.ack(receipt),
        Fold::Disagreement(..) => unreachable!("all digests are alike here"),
    }
}

fn partial(partition: u32, unit: Unit) -> Partial {
    Partial {
        job: JobId(Uuid::nil()),
        chunk: unit.chunk,
        attempt: 1,
        partition: PartitionNumber(partition),
        partitions: 1,
        segment: unit.segment,
        last: unit.last,
        store: String::new(),
        digest: 7,
        worker: "w".into(),
        pairs: 1,
        strikes: 0,
        skips: None,
        home: None,
    }
}

async fn commit(world: Shared, memory: Rc<RefCell<Memory>>, partition: u32) {
    let (mut delta, extra) = {
        let mut memory = memory.borrow_mut();
        let shard = &mut memory.shards[partition as usize];
        (std::mem::take(&mut shard.delta), std::mem::take(&mut shard.extra))
    };
    let covered =
        delta.drop_covered(&memory.borrow().shards[partition as usize].ledger).expect("all digests are alike");
    covered.into_iter().for_each(|held| world.borrow_mut().ack(held.receipt));
    if delta.is_empty() {
        return;
    }
    let probe = delta.commit(Uuid::nil(), RunSize::default());
    let mut units = extra;
    for chunk in &probe.chunks {
        for (segment, ..) in &chunk.units {
            *units.entry((chunk.chunk.0, *segment)).or_insert(0) += 1;
        }
    }
    let run = world.borrow_mut().new_file(partition, units);
    let entry = Entry::Commit(delta.commit(run, RunSize::default()));
    let force = world.borrow().has(Bug::CommitUnchecked);
    let receipts: Vec<Receipt> = delta.into_held().into_iter().map(|Held { receipt, .. }| receipt).collect();
    if append(&world, &memory, partition, entry, force).await {
        receipts.into_iter().for_each(|receipt| world.borrow_mut().ack(receipt));
        cut().await;
        finish(world, memory, partition).await;
    } else {
        receipts.into_iter().for_each(|receipt| world.borrow_mut().give_back(receipt));
    }
}

fn sum(world: &World, runs: &[Uuid]) -> Option<Units> {
    let mut sum = Units::new();
    for run in runs {
        for (unit, count) in world.files.get(run)? {
            *sum.entry(*unit).or_insert(0) += count;
        }
    }
    Some(sum)
}

fn live(memory: &Rc<RefCell<Memory>>, partition: u32) -> Vec<Uuid> {
    memory.borrow().shards[partition as usize].ledger.runs().keys().copied().collect()
}

async fn compact(world: Shared, memory: Rc<RefCell<Memory>>, partition: u32) {
    read(&world, &memory, partition);
    let runs = live(&memory, partition);
    let Some(units) = sum(&world.borrow(), &runs).filter(|_| runs.len() >= 2) else { return };
    let run = world.borrow_mut().new_file(partition, units);
    let force = world.borrow().has(Bug::CompactUnchecked);
    let entry = Entry::Replace { runs: runs.clone(), run, size: RunSize::default() };
    if append(&world, &memory, partition, entry, force).await {
        cut().await;
        for run in runs {
            if memory.borrow().shards[partition as usize].ledger.gave_up(run) || force {
                world.borrow_mut().files.remove(&run);
            }
        }
    }
}

/// Files that no entry names (lost races, dead committers) go, once an entry has said so.
async fn tidy(world: Shared, memory: Rc<RefCell<Memory>>, partition: u32) {
    read(&world, &memory, partition);
    let orphans: Vec<Uuid> = {
        let (world, memory) = (world.borrow(), memory.borrow());
        let ledger = &memory.shards[partition as usize].ledger;
        world.files.keys().filter(|file| world.home[file] == partition && !ledger.names(**file)).copied().collect()
    };
    let unsaid = {
        let memory = memory.borrow();
        orphans.iter().any(|file| !memory.shards[partition as usize].ledger.gave_up(*file))
    };
    if unsaid && !world.borrow().has(Bug::DeleteUnretired) {
        let entry = Entry::Retire { files: orphans.clone() };
        if !append(&world, &memory, partition, entry, false).await {
            return;
        }
    }
    cut().await;
    orphans.iter().for_each(|file| drop(world.borrow_mut().files.remove(file)));
}

/// A dead letter becomes a loss in every partition that lacks some of the chunk; then it is acked.
async fn bury(world: Shared, memory: Rc<RefCell<Memory>>) {
    let (chunk, number, partitions) = {
        let mut world = world.borrow_mut();
        let Some(chunk) = world.dead.pop() else { return };
        let (number, partitions) = (world.number(), world.partitions);
        let channel = (memory.borrow().name, memory.borrow().epoch);
        if !world.has(Bug::DeadAckFirst) {
            world.unsettled_dead.insert(number, (chunk, channel));
        }
        (chunk, number, partitions)
    };
    for partition in 0..partitions {
        read(&world, &memory, partition);
        let entry = Entry::Lose { chunk: ChunkNumber(chunk), reason: "poison".into() };
        append(&world, &memory, partition, entry, false).await;
        cut().await;
    }
    world.borrow_mut().unsettled_dead.remove(&number);
    for partition in 0..partitions {
        finish(Rc::clone(&world), Rc::clone(&memory), partition).await;
    }
}

async fn finish(world: Shared, memory: Rc<RefCell<Memory>>, partition: u32) {
    read(&world, &memory, partition);
    let (at, ready) = {
        let (world, memory) = (world.borrow(), memory.borrow());
        let ledger = &memory.shards[partition as usize].ledger;
        (ledger.next(), ledger.unfinished() && ledger.complete(world.chunks))
    };
    if !ready {
        return;
    }
    let mut part = Units::new();
    for run in live(&memory, partition) {
        cut().await;
        let Some(units) = sum(&world.borrow(), &[run]) else { return };
        units.into_iter().for_each(|(unit, count)| *part.entry(unit).or_insert(0) += count);
    }
    let part = world.borrow_mut().new_file(partition, part);
    let force = world.borrow().has(Bug::FinishStale);
    let entry = Entry::Finish(Finish { part, size: RunSize::default(), at });
    append(&world, &memory, partition, entry, force).await;
}

/// Runs one seed to its end and says what is wrong.
fn run(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let world: Shared = Rc::new(RefCell::new(World::new(seed, bug)));
    let partitions = world.borrow().partitions;
    let count = world.borrow_mut().random.usize(1..=3);
    let mut aggregators: Vec<_> = (0..count).map(|name| Aggregator::new(name, 0, partitions)).collect();
    let mut ended = false;
    for _ in 0..30_000 {
        let quiet = world.borrow().quiet();
        if quiet && (0..partitions).all(|partition| world.borrow().ledger(partition).finished().is_some()) {
            ended = true;
            break;
        }
        if world.borrow_mut().random.f64() < 0.3 {
            world.borrow_mut().worker_step();
        } else {
            let place = world.borrow_mut().random.usize(..aggregators.len());
            aggregators[place].step(&world);
        }
    }
    if !ended {
        return Err(format!("seed {seed}: no end"));
    }
    (0..partitions)
        .try_for_each(|partition| judge(&world.borrow(), partition).map_err(|wrong| format!("seed {seed}: {wrong}")))
}

fn judge(world: &World, partition: u32) -> Result<(), String> {
    let ledger = world.ledger(partition);
    let finish = ledger.finished().expect("checked before");
    let part = world.files.get(&finish.part).ok_or(format!("partition {partition}: its part is gone"))?;
    let twice: Vec<_> = part.iter().filter(|(_, count)| **count != 1).collect();
    if !twice.is_empty() {
        return Err(format!("partition {partition} counts {twice:?}"));
    }
    for chunk in 0..world.chunks {
        let units = &world.units[&(partition, chunk)];
        for unit in units {
            if ledger.covers(*unit) != part.contains_key(&(chunk, unit.segment)) {
                return Err(format!("partition {partition}: part and ledger differ on {unit:?}"));
            }
        }
        let lacking = units.iter().any(|unit| !ledger.covers(*unit));
        let said = ledger.lost().any(|(lost, _)| lost.0 == chunk);
        if lacking != said || (lacking && !world.poison.contains(&chunk)) {
            return Err(format!("partition {partition}: chunk {chunk} lacking {lacking}, said {said}"));
        }
    }
    Ok(())
}

/// Seeds that every test run goes through; set `LEDGER_MODEL_SEEDS` for more.
fn seeds() -> u64 {
    std::env::var("LEDGER_MODEL_SEEDS").map_or(10_000, |text| text.parse().expect("LEDGER_MODEL_SEEDS is a number"))
}

#[test]
fn every_unit_is_counted_once_and_every_job_ends() {
    let wrong: Vec<_> = (0..seeds()).filter_map(|seed| run(seed, None).err()).collect();
    assert!(wrong.is_empty(), "{} of {} seeds: {:?}", wrong.len(), seeds(), &wrong[..wrong.len().min(3)]);
}

#[test]
fn a_seed_runs_the_same_way_every_time() {
    let trace = |seed| {
        let world = World::new(seed, None);
        (world.units, world.poison)
    };
    assert_eq!(trace(42), trace(42));
}

macro_rules! is_caught {
    ($($test:ident: $bug:ident;)*) => {$(
        #[test]
        fn $test() {
            let caught = (0..20_000).find_map(|seed| run(seed, Some(Bug::$bug)).err());
            println!("{:?}: {}", Bug::$bug, caught.expect("the mistake is caught"));
        }
    )*};
}

is_caught! {
    an_ack_before_the_commit_is_caught: AckFirst;
    a_unit_folded_twice_is_caught: NoDedup;
    an_entry_put_over_another_is_caught: Overwrite;
    a_commit_that_does_not_look_at_what_won_is_caught: CommitUnchecked;
    a_delta_kept_over_a_lost_channel_is_caught: ReconnectKeepsDelta;
    a_missing_sweep_is_caught: NoSweep;
    a_chunk_covered_by_its_first_segment_is_caught: ChunkUnits;
    a_compaction_after_a_lost_race_is_caught: CompactUnchecked;
    a_stale_finish_is_caught: FinishStale;
    a_dead_letter_acked_too_early_is_caught: DeadAckFirst;
    a_file_deleted_without_saying_so_is_caught: DeleteUnretired;
}
