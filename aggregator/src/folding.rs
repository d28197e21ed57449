//! The aggregator's mind: every event of every job in, effects out; it never waits and reads no clock.
//!
//! It knows jobs by their shards, deliveries by where they came from, and nothing of brokers or files. What would surprise: an
//! arrival for a job that is not in memory waits here until the job is opened, still unsettled, so the prefetch bounds it.

mod events;
mod late;
mod lookups;
mod repairs;
mod workers;

pub(crate) use self::events::{Effect, Event, LookUp, Opened, OpenedJob, ShardWork};
use self::late::Late;
use self::lookups::{Arrival, Opening, Waiting};
use self::repairs::Repairs;
use self::workers::Workers;
use crate::archive::{ArchiveError, JobFile};
use crate::ending;
use crate::limits::Limits;
use crate::requests::Progress;
use crate::shard::{Channel, HeldReceipt, Shard};
use crate::tend::{Tended, Trouble};
use bytes::Bytes;
use rabbit_reduce_core::id::{JobId, Origin, PartitionNumber};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::ledger::delta::{Fold, Held};
use rabbit_reduce_core::message::{self, End, News, Partial, SeenWorker};
use rabbit_reduce_core::skip::short_reason;
use rabbit_reduce_core::spec::SEGMENT_BYTES;
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::broker::{Delivery, Receipt};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The epoch of a consumer between two lives, which count from 1.
const NOBODY: u64 = 0;

struct JobState {
    file: Arc<JobFile>,
    chunks: Option<u32>,
    end: Option<End>,
    shards: Vec<Shard>,
    /// An end is on its way, or what has to come before it.
    ending: bool,
    repairs: Repairs,
    /// Nothing of it is counted any more.
    over: bool,
}

/// A consumer of a reduce queue.
#[derive(Debug)]
struct Intake {
    prefetch: usize,
    epoch: u64,
    held: usize,
}

/// See the module.
pub(crate) struct Folding {
    store_id: String,
    jobs: BTreeMap<JobId, JobState>,
    asked: LookUp,
    waiting: BTreeMap<JobId, Waiting>,
    intakes: Vec<Intake>,
    /// How many of the intakes share the partitions between them; the one after takes what is large from all.
    reduce_queues: usize,
    tending: usize,
    most_tending: usize,
    /// Of each job.
    limits: Limits,
    /// Partitions that are being reduced; as many at once as are tended.
    reducing: usize,
    /// The last failure of the store, until it works again.
    alarm: Option<String>,
    late: Late,
    workers: Workers,
    opening: BTreeMap<JobId, Opening>,
}

impl Folding {
    /// `prefetches` are those of the reduce queues in order, then of the queue for large pairs.
    pub(crate) fn new(store_id: String, prefetches: &[u16], most_tending: usize, limits: Limits) -> Self {
        let intake = |prefetch: &u16| Intake { prefetch: usize::from(*prefetch), epoch: NOBODY, held: 0 };
        Self {
            store_id,
            jobs: BTreeMap::new(),
            asked: LookUp::default(),
            waiting: BTreeMap::new(),
            intakes: prefetches.iter().map(intake).collect(),
            reduce_queues: prefetches.len() - 1,
            tending: 0,
            most_tending,
            limits,
            reducing: 0,
            alarm: None,
            late: Late::default(),
            workers: Workers::default(),
            opening: BTreeMap::new(),
        }
    }

    /// What keeps it from going on, with that job if with any, for people.
    pub(crate) fn alarms(&self, job: Option<JobId>) -> Vec<String> {
        let shards = job.and_then(|job| self.jobs.get(&job)).map_or(&[][..], |state| &state.shards);
        self.alarm.iter().chain(shards.iter().filter_map(Shard::failure)).cloned().collect()
    }

    /// Messages of a job that came after it was over, and were dropped.
    pub(crate) fn late(&self, job: JobId) -> u64 {
        self.late.of(job)
    }

    /// Whose partials came lately.
    pub(crate) fn workers(&mut self, now: Instant) -> Vec<SeenWorker> {
        self.workers.seen(now)
    }

    /// How this job stands, or every one, as far as it is in memory.
    pub(crate) fn progress_of(&self, job: Option<JobId>) -> BTreeMap<JobId, Progress> {
        let jobs = self.jobs.keys().filter(|known| job.is_none_or(|job| job == **known));
        jobs.filter_map(|job| Some((*job, self.progress(*job)?))).collect()
    }

    /// How a job in memory stands.
    fn progress(&self, job: JobId) -> Option<Progress> {
        let state = self.jobs.get(&job)?;
        let folded: Vec<(u32, u64)> = state.shards.iter().map(Shard::progress).collect();
        let whole = folded.iter().map(|(chunks, _)| *chunks).min().unwrap_or(0);
        let bytes = folded.iter().map(|(_, bytes)| bytes).sum();
        let finished = state.shards.iter().filter(|shard| shard.seen.finished).count();
        // What is lost is lost in every partition, but for a few chunks.
        let losses = state.shards.iter().map(|shard| shard.seen.losses).max().unwrap_or(0);
        let finished = u32::try_from(finished).unwrap_or(u32::MAX);
        Some(Progress { whole, bytes, finished, losses })
    }

    /// Whether everything that was taken in is committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.tending == 0
            && self.waiting.is_empty()
            && self.jobs.values().all(|job| job.shards.iter().all(|shard| shard.delta.is_empty()))
    }

    /// Asks every shard that holds something to commit it.
    pub(crate) fn flush(&mut self) {
        for shard in self.jobs.values_mut().flat_map(|job| &mut job.shards) {
            shard.wanted |= !shard.delta.is_empty();
        }
    }

    /// Takes an event in and says what to do.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Consuming(channel) => {
                let intake = &mut self.intakes[channel.consumer];
                (intake.epoch, intake.held) = (channel.epoch, 0);
            }
            Event::Lost(channel) => self.lose_channel(channel),
            Event::Arrived(channel, delivery) => self.arrive(channel, delivery, now, &mut effects),
            Event::Opened(job, asked, opened) => self.opened(job, asked, opened, now, &mut effects),
            Event::Tended(job, partition, tended) => self.tended(job, partition, *tended, now, &mut effects),
            Event::Reduced(job, partition, reduced) => self.reduced(job, partition, reduced, now, &mut effects),
            Event::Sealed(job, chunks) => {
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.chunks = Some(chunks);
                } else {
                    self.look_up(job, &mut effects);
                }
            }
            Event::Ended(job, end) => self.ended(job, end, now, &mut effects),
            Event::Repaired(job, repaired) => self.repaired(job, repaired, now),
            Event::Removed(job) => self.removed(job, &mut effects),
            Event::Look(job) => match self.jobs.get_mut(&job) {
                Some(state) => state.shards.iter_mut().for_each(|shard| shard.wanted = true),
                None => self.look_up(job, &mut effects),
            },
            Event::Waits(job, asked) => effects.push(Effect::GoOn(job, asked)),
            Event::Heard(news) => self.hear(news, &mut effects),
            Event::Tick => {
                self.late.say(now);
                let due = |waiting: &Waiting| waiting.again.is_some_and(|again| again <= now);
                let jobs: Vec<JobId> =
                    self.waiting.iter().filter(|(_, waiting)| due(waiting)).map(|(job, _)| *job).collect();
                jobs.into_iter().for_each(|job| self.look_up(job, &mut effects));
            }
            Event::Sweep => {
                for (job, state) in &mut self.jobs {
                    let ledgers = state.shards.iter().filter_map(|shard| shard.ledger.as_ref());
                    let silent = state.repairs.sweep(ledgers);
                    effects.extend(silent.into_iter().map(|again| Effect::SendAgain(*job, again)));
                }
                self.jobs.retain(|_, job| !job.is_idle() || job.end.is_none());
                // The news of an end may have been missed.
                let open = self.jobs.iter().filter(|(_, job)| job.end.is_none() && !job.ending);
                effects.extend(open.map(|(job, _)| Effect::ReadEnd(*job)));
            }
        }
        self.tend_what_is_due(now, &mut effects);
        self.end_what_is_finished(&mut effects);
        effects
    }

    /// News is a hint: it makes us look where we would have looked later.
    fn hear(&mut self, news: News, effects: &mut Vec<Effect>) {
        let (News::Sealed(job) | News::Finished(job, _) | News::Ended(job) | News::Removed(job)) = news;
        let Some(state) = self.jobs.get_mut(&job) else { return };
        match news {
            News::Sealed(_) if state.chunks.is_none() => state.shards.iter_mut().for_each(|shard| shard.wanted = true),
            News::Finished(_, partition) => {
                if mistake::makes(Mistake::NewsIsTruth) {
                    state.shards[partition.index()].seen.finished = true;
                } else if let Some(shard) = state.shards.get_mut(partition.index()) {
                    shard.wanted = true;
                }
            }
            News::Ended(_) if state.end.is_none() && !state.ending => {
                // Until the answer comes no other news has it read again.
                state.ending = true;
                effects.push(Effect::ReadEnd(job));
            }
            // Whoever tends it looks for the mark in the store: this may be anybody's word.
            News::Removed(_) => state.shards.iter_mut().for_each(|shard| shard.wanted = true),
            News::Sealed(_) | News::Ended(_) => {}
        }
    }

    fn lose_channel(&mut self, channel: Channel) {
        let intake = &mut self.intakes[channel.consumer];
        // Nothing of it is live any more, nor is anything else until the next life begins: what is away with a ledger now is
        // dropped when it comes back.
        (intake.epoch, intake.held) = (NOBODY, 0);
        if mistake::makes(Mistake::DeltaOutlivesChannel) {
            return;
        }
        // What it delivered comes again: out with it before the next life of this consumer begins.
        for shard in self.jobs.values_mut().flat_map(|job| &mut job.shards) {
            shard.delta.take_out(|held| held.receipt.channel == channel);
        }
        for waiting in self.waiting.values_mut() {
            waiting.arrivals.retain(|arrival| arrival.held.channel != channel);
        }
    }

    fn arrive(&mut self, channel: Channel, delivery: Delivery, now: Instant, effects: &mut Vec<Effect>) {
        self.intakes[channel.consumer].held += 1;
        let Delivery { body: message, receipt, .. } = delivery;
        let held = HeldReceipt { receipt, channel };
        match message::decode::<Partial>(&message) {
            Err(error) if error.is_newer() => {
                let queue = self.queue(channel.consumer);
                effects.push(Effect::HandBack { queue, message, receipt: self.release(held) });
            }
            Err(error) => self.set_aside(held, message, error.to_string(), effects),
            Ok((partial, _)) if partial.store != self.store_id => {
                let reason = format!("it belongs to store {}, this is store {}", partial.store, self.store_id);
                self.set_aside(held, message, short_reason(reason), effects);
            }
            Ok((partial, body)) if partial.check().is_err() || self.is_misplaced(channel, &body) => {
                let misplaced = "its pairs are more than a segment's: it does not belong into this queue";
                let reason = partial.check().map_or_else(|claim| claim.to_string(), |()| misplaced.to_owned());
                self.set_aside(held, message, reason, effects);
            }
            Ok((partial, body)) => {
                self.workers.heard(&partial, now);
                let arrival = Arrival { held, partial, body, message, after: self.asked };
                let job = arrival.partial.job;
                if self.jobs.contains_key(&job) {
                    self.fold(arrival, now, effects);
                } else {
                    if !self.waiting.contains_key(&job) {
                        self.look_up(job, effects);
                    }
                    let asked = self.asked;
                    let waiting = self.waiting.entry(job).or_insert_with(|| Waiting { asked, ..Waiting::default() });
                    waiting.arrivals.push(arrival);
                }
            }
        }
        self.relieve(channel.consumer);
    }

    /// The prefetch counts on segments; what is larger comes one at a time, through a queue of its own.
    fn is_misplaced(&self, channel: Channel, body: &Bytes) -> bool {
        channel.consumer != self.reduce_queues && body.len() > SEGMENT_BYTES
    }

    fn fold(&mut self, arrival: Arrival, now: Instant, effects: &mut Vec<Effect>) {
        let Arrival { mut held, partial, body, message, .. } = arrival;
        let job = partial.job;
        let state = self.jobs.get_mut(&job).expect("looked up before");
        if state.over {
            return self.drop_late(job, [held], effects);
        }
        if let Err(claim) = partial.check_in(&state.file.spec, state.chunks) {
            return self.set_aside(held, message, claim.to_string(), effects);
        }
        if mistake::makes(Mistake::CommitAfterAck) {
            effects.push(Effect::Ack(vec![std::mem::replace(&mut held.receipt, Receipt::spent())]));
        }
        let shard = &mut state.shards[partial.partition.index()];
        match shard.delta.fold(partial, body, held) {
            Fold::Held => {
                crash_point::reached("aggregator.held");
                shard.folded(now);
            }
            Fold::Duplicate(held) => self.ack([held], effects),
            Fold::Supersedes(stale) => {
                shard.folded(now);
                self.ack(stale, effects);
            }
            Fold::Disagreement(held, disagreement) => {
                effects.push(Effect::Fail { job, reason: disagreement.to_string() });
                self.ack([held], effects);
            }
        }
    }

    /// What a consumer takes from.
    fn queue(&self, consumer: usize) -> String {
        if consumer < self.reduce_queues { format!("reduce.{consumer}") } else { queue::REDUCE_LARGE.to_owned() }
    }

    /// When half of a queue's prefetch is held, its largest deltas are committed until a quarter is.
    fn relieve(&mut self, consumer: usize) {
        let Intake { prefetch, held, .. } = self.intakes[consumer];
        if held < (prefetch / 2).max(1) {
            return;
        }
        let (queues, large) = (self.reduce_queues, consumer == self.reduce_queues);
        let mut shards: Vec<&mut Shard> = self
            .jobs
            .values_mut()
            .flat_map(|job| job.shards.iter_mut().enumerate())
            .filter(|(partition, shard)| (large || partition % queues == consumer) && !shard.delta.is_empty())
            .map(|(_, shard)| shard)
            .collect();
        shards.sort_by_key(|shard| std::cmp::Reverse(shard.delta.len()));
        let mut over = held.saturating_sub(prefetch / 4);
        for shard in shards {
            if over == 0 {
                break;
            }
            shard.wanted = true;
            over = over.saturating_sub(shard.delta.len());
        }
    }

    fn tended(
        &mut self,
        job: JobId,
        partition: PartitionNumber,
        tended: Tended<HeldReceipt>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.tending -= 1;
        let Tended { ledger, done, delta, losses, chunks, finished, trouble } = tended;
        self.ack(done, effects);
        let Some(state) = self.jobs.get_mut(&job) else {
            return self.drop_late(job, delta.into_held().into_iter().map(|held| held.receipt), effects);
        };
        state.chunks = state.chunks.or(chunks);
        let shard = &mut state.shards[partition.index()];
        shard.come_back(ledger);
        shard.losses.extend(losses);
        if finished {
            effects.push(Effect::Announce(News::Finished(job, partition)));
        }
        let too_many = shard.seen.losses > state.file.spec.max_losses;
        if state.end.is_none() && !state.ending {
            let reason = match too_many {
                true => Some(ending::too_many_losses(state.file.spec.max_losses)),
                false => self.limits.exceeded(state.shards.iter().map(|shard| &shard.seen)),
            };
            state.ending = reason.is_some();
            effects.extend(reason.map(|reason| Effect::Fail { job, reason }));
        }
        // A result stands, and every chunk of it is decided: an attempt that differs can only be dropped.
        let too_late = matches!(trouble, Some(Trouble::Disagreement(_))) && state.end.is_some();
        if too_late || state.over {
            self.drop_late(job, delta.into_held().into_iter().map(|held| held.receipt), effects);
        } else {
            self.keep(job, partition, delta.into_held(), now, effects);
        }
        match trouble {
            Some(Trouble::Disagreement(disagreement)) if too_late => {
                tracing::error!(%job, %disagreement, "an attempt that came after the result differs from it");
            }
            trouble => self.told(job, partition, trouble, now, effects),
        }
    }

    /// How work at a partition went.
    fn told(
        &mut self,
        job: JobId,
        partition: PartitionNumber,
        trouble: Option<Trouble>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        match trouble {
            None => self.alarm = None,
            Some(Trouble::Archive(error)) => {
                self.raise(&error);
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.shards[partition.index()].pause(now);
                }
            }
            Some(Trouble::Disagreement(disagreement)) => {
                effects.push(Effect::Fail { job, reason: disagreement.to_string() });
            }
            Some(Trouble::Program(failed)) => {
                let Some(state) = self.jobs.get_mut(&job) else { return };
                if state.end.is_some() {
                    let reason = failed.reason;
                    tracing::error!(%job, %partition, reason, "the result stands, and cannot be amended");
                    state.shards[partition.index()].fail(now, format!("the result cannot be amended: {reason}"));
                    return;
                }
                // It would fail again.
                state.ending = true;
                effects.push(Effect::Fail { job, reason: failed.reason });
            }
            Some(Trouble::Removed) => self.removed(job, effects),
            Some(Trouble::GivenUp) => {}
        }
    }

    /// A partition was reduced, beside all else: what its ledger says now is in the store.
    fn reduced(
        &mut self,
        job: JobId,
        partition: PartitionNumber,
        reduced: Result<bool, Trouble>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.reducing -= 1;
        let Some(state) = self.jobs.get_mut(&job) else { return };
        let shard = &mut state.shards[partition.index()];
        (shard.reducing, shard.wanted) = (false, true);
        match reduced {
            Ok(finished) => {
                if finished {
                    effects.push(Effect::Announce(News::Finished(job, partition)));
                }
                self.told(job, partition, None, now, effects);
            }
            Err(trouble) => self.told(job, partition, Some(trouble), now, effects),
        }
    }

    /// Takes back what was not committed, unless its channel is gone or its unit came again meanwhile.
    fn keep(
        &mut self,
        job: JobId,
        partition: PartitionNumber,
        held: Vec<Held<HeldReceipt>>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        for Held { body, partial, receipt } in held {
            let live = self.intakes[receipt.channel.consumer].epoch == receipt.channel.epoch;
            let Some(state) = self.jobs.get_mut(&job).filter(|_| live) else { continue };
            let shard = &mut state.shards[partition.index()];
            match shard.delta.fold(partial, body, receipt) {
                Fold::Held => shard.folded(now),
                Fold::Supersedes(stale) => {
                    shard.folded(now);
                    self.ack(stale, effects);
                }
                Fold::Duplicate(held) | Fold::Disagreement(held, _) => self.ack([held], effects),
            }
        }
    }

    fn ended(&mut self, job: JobId, end: Result<Option<End>, ArchiveError>, now: Instant, effects: &mut Vec<Effect>) {
        let Some(state) = self.jobs.get_mut(&job) else {
            if let Ok(Some(end)) = end {
                self.ended_on_the_way(job, end);
            }
            return;
        };
        state.ending = false;
        match end {
            Ok(Some(end)) => {
                state.over = !end.outcome.has_result();
                // Another's end that is not ours: what it knows and we do not is in the ledgers.
                let ours: Vec<&Ledger> = state.shards.iter().filter_map(|shard| shard.ledger.as_ref()).collect();
                if !state.over && end.parts != ending::parts(&ours) {
                    state.shards.iter_mut().for_each(|shard| shard.wanted = true);
                }
                let news = state.end.as_ref().is_none_or(|before| before.version < end.version);
                state.end = Some(end);
                if news {
                    effects.push(Effect::Announce(News::Ended(job)));
                    effects.extend(state.file.spec.then.map(|then| Effect::GoOn(then, false)));
                }
                if state.over {
                    state.file.given_up.store(true, Ordering::Relaxed);
                    let shards = state.shards.iter_mut();
                    let held: Vec<_> = shards.flat_map(|shard| std::mem::take(&mut shard.delta).into_held()).collect();
                    self.drop_late(job, held.into_iter().map(|held| held.receipt), effects);
                }
            }
            Ok(None) => state.shards.iter_mut().for_each(|shard| shard.wanted = true),
            Err(error) => {
                state.shards.iter_mut().for_each(|shard| shard.pause(now));
                self.raise(&error);
            }
        }
    }

    fn repaired(&mut self, job: JobId, repaired: Result<Vec<Origin>, ArchiveError>, now: Instant) {
        let Some(state) = self.jobs.get_mut(&job) else { return };
        state.ending = false;
        match repaired {
            Ok(hopeless) => {
                state.repairs.give_up(hopeless);
                state.shards.iter_mut().for_each(|shard| shard.wanted = true);
            }
            Err(error) => {
                state.shards.iter_mut().for_each(|shard| shard.pause(now));
                self.raise(&error);
            }
        }
    }

    fn removed(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        let Some(state) = self.jobs.remove(&job) else { return };
        state.file.given_up.store(true, Ordering::Relaxed);
        let held = state.shards.into_iter().flat_map(|shard| shard.delta.into_held());
        let receipts: Vec<_> = held.map(|held| held.receipt).collect();
        self.drop_late(job, receipts, effects);
    }

    fn tend_what_is_due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (_, state) in self.jobs.iter_mut().filter(|(_, state)| !state.over) {
            let (chunks, groups) = (state.chunks, state.file.program.groups());
            for (number, shard) in state.shards.iter_mut().enumerate() {
                let partition = PartitionNumber(u32::try_from(number).expect("partitions are numbered in 32 bits"));
                let job = || Arc::clone(&state.file);
                if groups && self.reducing < self.most_tending && !state.ending && shard.could_reduce(chunks, now) {
                    shard.reducing = true;
                    self.reducing += 1;
                    effects.push(Effect::Reduce { job: job(), partition, chunks });
                } else if self.tending < self.most_tending && shard.due(chunks, groups, now) {
                    let Some(away) = shard.leave() else { continue };
                    effects.push(Effect::Tend(Box::new(ShardWork { job: job(), partition, chunks, away })));
                    self.tending += 1;
                }
            }
        }
    }

    fn end_what_is_finished(&mut self, effects: &mut Vec<Effect>) {
        for (job, state) in self.jobs.iter_mut().filter(|(_, state)| !state.ending && !state.over) {
            // A shard that is wanted may know less than the store: it is tended first.
            let is_seen = |shard: &Shard| shard.seen.finished && shard.delta.is_empty() && !shard.wanted;
            let all_seen = state.shards.iter().all(is_seen);
            let ledgers: Option<Vec<&Ledger>> =
                all_seen.then(|| state.shards.iter().map(|shard| shard.ledger.as_ref()).collect()).flatten();
            let Some(ledgers) = ledgers else { continue };
            if state.end.as_ref().is_some_and(|before| before.parts == ending::parts(&ledgers)) {
                continue;
            }
            if let Some(reason) = state.chunks.and_then(|chunks| ending::counted_beyond(&ledgers, chunks)) {
                state.ending = true;
                effects.push(Effect::Fail { job: *job, reason });
                continue;
            }
            let mixed = state.repairs.wanted(&ledgers);
            if !mixed.is_empty() {
                state.ending = true;
                effects.push(Effect::Repair { job: *job, mixed });
                continue;
            }
            let version = state.end.as_ref().map_or(1, |end| end.version + 1);
            let end = ending::judge(&ledgers, version, state.file.spec.max_losses);
            let unless = ledgers.iter().map(|ledger| ledger.next()).collect();
            state.ending = true;
            effects.push(Effect::End { job: *job, end: Box::new(end), unless });
        }
    }

    /// Nobody counts these any more.
    fn drop_late(&mut self, job: JobId, held: impl IntoIterator<Item = HeldReceipt>, effects: &mut Vec<Effect>) {
        let held: Vec<_> = held.into_iter().collect();
        self.late.count(job, held.len());
        self.ack(held, effects);
    }

    fn ack(&mut self, held: impl IntoIterator<Item = HeldReceipt>, effects: &mut Vec<Effect>) {
        let receipts: Vec<Receipt> = held.into_iter().map(|held| self.release(held)).collect();
        if !receipts.is_empty() {
            effects.push(Effect::Ack(receipts));
        }
    }

    fn set_aside(&mut self, held: HeldReceipt, message: Bytes, reason: String, effects: &mut Vec<Effect>) {
        let (queue, receipt) = (self.queue(held.channel.consumer), self.release(held));
        effects.push(Effect::SetAside { queue, message, reason, receipt });
    }

    fn release(&mut self, held: HeldReceipt) -> Receipt {
        let intake = &mut self.intakes[held.channel.consumer];
        if intake.epoch == held.channel.epoch {
            intake.held = intake.held.saturating_sub(1);
        }
        held.receipt
    }

    fn raise(&mut self, error: &ArchiveError) {
        let text = error.to_string();
        if self.alarm.as_ref() != Some(&text) {
            tracing::error!("{text}");
        }
        self.alarm = Some(text);
    }
}

impl JobState {
    /// Nothing of it is under way.
    fn is_idle(&self) -> bool {
        !self.ending && !self.repairs.are_open() && self.shards.iter().all(Shard::is_idle)
    }
}

#[cfg(test)]
pub(crate) mod tests;
