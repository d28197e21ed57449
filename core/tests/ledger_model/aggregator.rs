//! What an aggregator does, cut into steps at every place where it may die, or freeze and wake as a zombie.

use crate::Bug;
use crate::world::{PutOutcome, Receipt, Units, World};
use bytes::Bytes;
use rabbit_reduce_core::id::{ChunkNumber, JobId, PartitionNumber, Unit};
use rabbit_reduce_core::ledger::append::{Append, Event, Record, Step};
use rabbit_reduce_core::ledger::delta::{Delta, Fold, Held};
use rabbit_reduce_core::ledger::{Entry, Finish, Ledger};
use rabbit_reduce_core::message::Partial;
use rabbit_reduce_core::run::RunSize;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

pub(crate) type Shared = Rc<RefCell<World>>;

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

pub(crate) struct Aggregator {
    memory: Rc<RefCell<Memory>>,
    doing: Option<Pin<Box<dyn Future<Output = ()>>>>,
    frozen: u32,
    lost_channel: bool,
}

impl Aggregator {
    pub(crate) fn new(name: usize, epoch: u64, partitions: u32) -> Self {
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

    pub(crate) fn step(&mut self, world: &Shared) {
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
        Fold::Supersedes(_) => unreachable!("nothing is left out here"),
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
        agreed: 0,
        record: None,
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
        let entry = Entry::Lose { chunk: ChunkNumber(chunk), record: None, reason: "poison".into(), retry: 0 };
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
    let entry =
        Entry::Finish(Finish { part, size: RunSize::default(), at, keys: Vec::new(), counters: Default::default() });
    append(&world, &memory, partition, entry, force).await;
}
