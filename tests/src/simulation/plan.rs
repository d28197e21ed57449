//! Everything that a seed says before the world begins: who works, on what, and how much of each fault there is.
//!
//! What would surprise: every fault is left out of half of the plans, so that none hides behind another.

use crate::cluster::{Order, source};
use crate::dice::Dice;
use rabbit_reduce_core::jobs::Options;
use rabbit_reduce_core::jobs::options::TokensName;
use rabbit_reduce_core::local::LocalSource;
use rabbit_reduce_core::spec::By;
use rabbit_reduce_core::topology::{DELIVERY_LIMIT, MAP_MESSAGES, QUEUE_BYTES, Queue, Topology, queue};
use rabbit_reduce_runtime::mistake::Mistake;
use std::ops::Range;
use std::time::Duration;

/// No limit of losses.
const MANY: u64 = 1_000_000;

/// What a seed says.
#[derive(Debug)]
pub struct Plan {
    /// The jobs, side by side.
    pub jobs: Vec<JobPlan>,
    /// How many workers.
    pub workers: usize,
    /// How many aggregators.
    pub aggregators: usize,
    /// Chunks or shards that each works on at once.
    pub threads: usize,
    /// The largest segment.
    pub segment_bytes: usize,
    /// Deliveries of each reduce queue that an aggregator holds.
    pub prefetch: u64,
    /// Runs beyond which some are merged.
    pub max_runs: usize,
    /// Returns after which queues set a message aside.
    pub delivery_limit: u32,
    /// What the pairs of one task may hold in memory; beyond it they go to scratch files.
    pub budget_bytes: usize,
    /// For how long ended jobs are kept.
    pub keep: Option<Duration>,
    /// What each queue holds before it refuses more.
    pub queue_bytes: u64,
    /// Tasks that `map` holds.
    pub map_messages: u64,
    /// What goes wrong.
    pub faults: Faults,
}

/// A job, and what becomes of it.
#[derive(Debug)]
pub struct JobPlan {
    /// What is asked for.
    pub order: Order,
    /// Of what.
    pub sources: Vec<LocalSource>,
    /// It is submitted then.
    pub begins: Duration,
    /// It is cancelled then.
    pub cancelled: Option<Duration>,
    /// So often is what it lost sent again when it has ended.
    pub retries: u64,
    /// It is removed at the end.
    pub removed: bool,
}

/// How much of each fault there is. Shares are of a thousand.
#[derive(Debug, Default)]
pub struct Faults {
    /// All of them end then.
    pub last: Duration,
    /// Publications that come twice.
    pub duplicates: u64,
    /// Publications and deliveries that wait first.
    pub delays: u64,
    /// How long they wait at the most.
    pub longest: Duration,
    /// Confirms that do not come.
    pub lost_confirms: u64,
    /// Acks that do not arrive; their channels end.
    pub lost_acks: u64,
    /// Requests, answers and news that are lost.
    pub lost_hints: u64,
    /// Deliveries whose channel ends.
    pub cuts: u64,
    /// Roles that meet an end, or freeze, before they are old.
    pub fates: u64,
    /// Publications by the dead that still arrive, and writes.
    pub stragglers: u64,
    /// Steps in the store that take their time.
    pub slow_steps: u64,
    /// How long at the most.
    pub slowest_step: Duration,
    /// Writes that do not say what became of them.
    pub unknown_writes: u64,
    /// Steps in the store that fail.
    pub failed_steps: u64,
    /// Of writes that do not say what became of them, those that happen later.
    pub late_landings: u64,
    /// Meanwhile the store takes nothing.
    pub full: Vec<Range<Duration>>,
    /// Files that the store has no room for half way.
    pub full_midway: u64,
    /// Scratch files that fail.
    pub failed_scratch: u64,
    /// Meanwhile the input is away.
    pub input_away: Vec<Range<Duration>>,
    /// Meanwhile the broker takes no messages.
    pub blocked: Vec<Range<Duration>>,
    /// Meanwhile the broker is away.
    pub outages: Vec<Range<Duration>>,
    /// Queues whose messages are given back until the broker gives up.
    pub given_up: Vec<(Duration, String)>,
    /// Queues that somebody purges.
    pub purges: Vec<(Duration, String)>,
    /// Tasks that a second, broken worker declares dead.
    pub false_verdicts: u64,
    /// Partials that a broken worker does not send; it declares their chunks dead instead.
    pub half_sent: u64,
    /// News that is not so.
    pub gossip: Vec<Duration>,
}

impl Plan {
    /// Of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1));
        let segment_bytes = [256, 400, 4096][place(&dice, 3)];
        let jobs = if dice.hits(200) { 2 } else { 1 };
        let last = millis(100) + time(&dice, 60_000);
        let faults = if dice.hits(40) { Faults::default() } else { Faults::of(&dice, last) };
        Self {
            jobs: (0..jobs).map(|_| JobPlan::of(&dice, segment_bytes, last)).collect(),
            workers: 1 + place(&dice, 3),
            aggregators: 1 + place(&dice, 3),
            threads: 1 + place(&dice, 2),
            segment_bytes,
            prefetch: 8 + dice.below(17),
            max_runs: 2 + place(&dice, 6),
            delivery_limit: 1 + u32::try_from(dice.below(1 + dice.below(20))).expect("it is small"),
            budget_bytes: if dice.hits(700) { 64 << 20 } else { 1 + place(&dice, 4096) },
            keep: dice.hits(80).then(|| millis(20_000) + time(&dice, 200_000)),
            queue_bytes: if dice.hits(800) { QUEUE_BYTES } else { 200 + dice.below(4000) },
            map_messages: if dice.hits(800) { MAP_MESSAGES } else { 1 + dice.below(4) },
            faults,
        }
    }

    /// Whether a mistake may do any harm here, so that it is worth looking.
    #[must_use]
    pub fn invites(&self, mistake: Mistake) -> bool {
        let Faults { slow_steps, false_verdicts, half_sent, unknown_writes, duplicates, gossip, .. } = &self.faults;
        match mistake {
            Mistake::NewsIsTruth => !gossip.is_empty(),
            Mistake::AgreedIsMapped | Mistake::RecordStaysLost => *false_verdicts > 0,
            Mistake::MixedIsReported | Mistake::MixedRecordIsReported | Mistake::RetryIsNotAgreed => {
                half_sent + false_verdicts > 0
            }
            Mistake::UnknownIsDone => *unknown_writes > 0,
            Mistake::FinishOfThePast => self.aggregators > 1 && *slow_steps > 0,
            Mistake::ReplaceAfterLostRace => self.aggregators > 1 && *slow_steps > 0,
            Mistake::UncountedAreLosses => *duplicates > 0 && self.jobs.iter().any(|job| job.order.job == "sum"),
            _ => true,
        }
    }

    /// The same world with more of what a mistake needs to do harm: a merge that loses its race is rare where merges are, and so
    /// is a record that was left out, sent again, and lost on the way to one partition only.
    #[must_use]
    pub fn inviting(mut self, mistake: Option<Mistake>) -> Self {
        match mistake {
            Some(Mistake::MixedRecordIsReported) => {
                for job in &mut self.jobs {
                    (job.order.partitions, job.retries) = (job.order.partitions.max(2), 2);
                }
                let faults = Faults { last: millis(60_000), half_sent: 100, false_verdicts: 300, ..self.faults };
                Self { faults, ..self }
            }
            Some(Mistake::DeleteBeforeReplace | Mistake::ReplaceAfterLostRace) => Self { max_runs: 2, ..self },
            _ => self,
        }
    }

    /// The queues.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let mut topology = Topology::new("simulated", self.queue_bytes);
        for queue in topology.queues.iter_mut().filter(|queue| queue.name == queue::MAP) {
            queue.max_messages = Some(self.map_messages);
        }
        let limited = |queue: &Queue| queue.delivery_limit == DELIVERY_LIMIT;
        for queue in topology.queues.iter_mut().filter(|queue| limited(queue)) {
            queue.delivery_limit = self.delivery_limit;
        }
        topology
    }
}

impl Faults {
    fn of(dice: &Dice, last: Duration) -> Self {
        let share = |most: u64| if dice.hits(500) { dice.below(most) } else { 0 };
        let times = |most: u64| {
            let count = if dice.hits(300) { 1 + dice.below(most) } else { 0 };
            (0..count).map(|_| time(dice, last.as_millis().try_into().expect("it is short"))).collect::<Vec<_>>()
        };
        let spans = |longest| times(2).into_iter().map(|from| from..from + millis(50) + time(dice, longest)).collect();
        let work_queue = |_| match dice.below(6) {
            0 => queue::MAP.to_owned(),
            1 => queue::AGAIN.to_owned(),
            2 => queue::SUSPECT.to_owned(),
            _ => format!("reduce.{}", dice.below(3)),
        };
        Self {
            last,
            duplicates: share(400),
            delays: share(400),
            longest: millis(1) + time(dice, [10, 1000, 20_000][place(dice, 3)]),
            lost_confirms: share(100),
            lost_acks: share(60),
            lost_hints: share(200),
            cuts: share(40),
            fates: if dice.hits(600) { 300 + dice.below(600) } else { 0 },
            stragglers: share(800),
            slow_steps: if dice.hits(800) { [100, 500, 1000][place(dice, 3)] } else { 0 },
            slowest_step: millis(1) + time(dice, [5, 100, 2000][place(dice, 3)]),
            unknown_writes: share(150),
            failed_steps: share(60),
            late_landings: share(1000),
            full: spans(10_000),
            full_midway: share(150),
            failed_scratch: share(100),
            input_away: spans(20_000),
            blocked: spans(20_000),
            outages: spans(8000),
            given_up: times(3).into_iter().map(|at| (at, work_queue(at))).collect(),
            purges: if dice.hits(150) { times(2).into_iter().map(|at| (at, work_queue(at))).collect() } else { vec![] },
            false_verdicts: if dice.hits(250) { dice.below(400) } else { 0 },
            half_sent: if dice.hits(100) { dice.below(100) } else { 0 },
            gossip: times(4),
        }
    }
}

impl JobPlan {
    fn of(dice: &Dice, segment_bytes: usize, last: Duration) -> Self {
        let (job, options) = program(dice);
        let mut order = Order::of(job);
        order.options = options;
        order.by = if dice.hits(700) { By::Value } else { By::Reference };
        order.chunk_bytes = 64 + dice.below(1 + dice.below(800));
        order.segment_bytes = segment_bytes;
        order.partitions = 1 + u32::try_from(dice.below(4)).expect("it is small");
        order.max_losses = if dice.hits(50) { dice.below(3) } else { MANY };
        let last = last.as_millis().try_into().expect("it is short");
        Self {
            sources: (0..dice.below(4)).map(|number| source(&format!("s{number}"), text(dice, job))).collect(),
            order,
            begins: if dice.hits(500) { Duration::ZERO } else { time(dice, 2000) },
            cancelled: dice.hits(80).then(|| time(dice, last)),
            retries: dice.below(3),
            removed: dice.hits(150),
        }
    }
}

fn program(dice: &Dice) -> (&'static str, Options) {
    let plain = Options::default();
    match dice.below(8) {
        0 => ("count", plain),
        1 => ("count", Options { by_source: true, ..plain }),
        2 | 3 => ("sum", plain),
        4 => ("index", Options { lowercase: dice.hits(500), ..plain }),
        5 => ("grep", Options { pattern: Some("[ae]".to_owned()), ..plain }),
        6 => ("letter-count", Options { lowercase: dice.hits(500), ..plain }),
        _ => ("word-count", Options { tokens: Some(TokensName::Words), ..plain }),
    }
}

/// Words, numbers, now and then something else; many of them are the same.
fn text(dice: &Dice, job: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let words = dice.below(1 + dice.below(300));
    for _ in 0..words {
        let word = match (job, dice.below(40)) {
            ("sum", 0) => "none".to_owned(),
            ("sum", 1..30) => dice.below(1000).to_string(),
            ("sum", _) => format!("-{}.5e{}", dice.below(100), dice.below(9)),
            (_, 0) => "x".repeat(1 + place(dice, 600)),
            (_, 1) => "Ä\u{301}ö".to_owned(),
            (_, 2) => "\u{fffd}1".to_owned(),
            (_, 3..20) => ["the", "a", "of", "and"][place(dice, 4)].to_owned(),
            _ => format!("w{}", dice.below(400)),
        };
        text.extend_from_slice(word.as_bytes());
        text.extend_from_slice(if dice.hits(150) { b"\n" } else { b" " });
    }
    text
}

fn place(dice: &Dice, bound: u64) -> usize {
    usize::try_from(dice.below(bound)).expect("it is small")
}

/// Up to so many milliseconds; early times are more likely.
fn time(dice: &Dice, most: u64) -> Duration {
    millis(dice.below(1 + dice.below(most.max(1))))
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
