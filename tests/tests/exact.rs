//! The promise of exactness, end to end: whatever goes wrong, the printed bytes are those of a plain run over the same sources.
//!
//! What would surprise: on the embedded broker the clock is the test's own, so that pauses take no time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../core/tests/common/inputs.rs"]
mod inputs;
mod world;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rabbit_reduce_core::local::LocalSource;
use rabbit_reduce_core::message::Outcome;
use rabbit_reduce_core::spec::By;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::memory::MemoryStore;
use rabbit_reduce_runtime::store::temporary::TemporaryStore;
use rabbit_reduce_tests::cluster::{Cluster, Order, Report, source, topology};
use rabbit_reduce_tests::crew::Setup;
use rabbit_reduce_tests::dice::Dice;
use rabbit_reduce_tests::guests::module;
use rabbit_reduce_tests::home::Home;
use rabbit_reduce_tests::oracle::answer;
use rabbit_reduce_tests::troubles::Trouble;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Seeds on the embedded broker; `RABBIT_REDUCE_SEEDS=FROM..TO` takes others.
const SIMULATED: std::ops::Range<u64> = 0..1000;
/// Seeds on RabbitMQ.
const REAL: std::ops::Range<u64> = 0..36;

/// Programs that are not built in, with their options.
const OF_OTHERS: [(&str, &str); 7] = [
    ("next-word", "{}"),
    ("join", r#"{"set":{"left":"a"}}"#),
    ("users-per-day", "{}"),
    ("average", "{}"),
    ("words", "{}"),
    ("fragile", "{}"),
    ("module", "{}"),
];

/// Everything that must not matter, from one seed.
struct Case {
    seed: u64,
    order: Order,
    /// Whose input the answer is, if the answer is not all.
    then: Option<Order>,
    sources: Vec<LocalSource>,
    workers: usize,
    aggregators: usize,
    setup: Setup,
    trouble: Trouble,
    on_disk: bool,
}

impl Case {
    fn of(seed: u64, longest: Duration) -> Self {
        let dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut jobs = inputs::named_jobs();
        jobs.extend(OF_OTHERS.map(|(job, options)| (job, options.to_owned())));
        // Every job in turn, so that few seeds meet all of them.
        let (job, options) = &jobs[usize::try_from(seed % jobs.len() as u64).unwrap()];
        let (options, files) = match &**job {
            "module" => module("fragile.c"),
            _ => (inputs::options_of(options), Vec::new()),
        };
        let segment_bytes = [256, 700, 64 << 10][usize::try_from(dice.below(3)).unwrap()];
        let order = Order {
            options,
            files,
            by: if dice.hits(500) { By::Value } else { By::Reference },
            chunk_bytes: 64 + dice.below(300),
            segment_bytes,
            partitions: 1 + u32::try_from(dice.below(9)).unwrap(),
            ..Order::of(job)
        };
        let repeats = 1 + usize::try_from(dice.below(1 + dice.below(20))).unwrap();
        let trouble = if dice.hits(250) { Trouble::default() } else { trouble(&dice, longest) };
        let mut built_in = inputs::named_jobs();
        // Its input is no CSV, and refused as such.
        built_in.retain(|(_, options)| !options.contains("csv"));
        let then = dice.hits(200).then(|| {
            let (job, options) = &built_in[usize::try_from(dice.below(built_in.len() as u64)).unwrap()];
            Order { options: inputs::options_of(options), ..Order::of(job) }
        });
        Self {
            seed,
            order,
            then,
            sources: if OF_OTHERS.iter().any(|(other, _)| other == job) {
                lines(&dice, repeats)
            } else {
                sources(dice.throw(), repeats)
            },
            workers: 1 + usize::try_from(dice.below(4)).unwrap(),
            aggregators: 1 + usize::try_from(dice.below(3)).unwrap(),
            setup: Setup { segment_bytes, prefetch: 8 + dice.below(9), ..Setup::default() },
            trouble,
            on_disk: dice.hits(100),
        }
    }

    async fn check(&self, home: Home) {
        let store: Arc<dyn Store> =
            if self.on_disk { Arc::new(TemporaryStore::new(None).unwrap()) } else { Arc::new(MemoryStore::default()) };
        let cluster =
            Cluster::builder().seed(self.seed).store(store).workers(self.workers).aggregators(self.aggregators);
        let cluster = cluster.setup(self.setup.clone()).trouble(self.trouble.clone()).start(home).await;
        let report = match &self.then {
            None => cluster.run(&self.order, &self.sources).await,
            Some(then) => cluster.run_steps(&[self.order.clone(), then.clone()], &self.sources).await,
        };
        self.compare(&report);
        assert_eq!(cluster.files(report.job, "end"), ["000001"]);
        // Records that the program refused are kept there; nothing else is lost.
        if report.end.losses.count == 0 {
            assert_eq!(cluster.files(report.job, "dead"), [""; 0]);
        }
        assert_eq!(cluster.set_aside(), [""; 0]);
        cluster.finish().await;
    }

    fn compare(&self, report: &Report) {
        let mut expected = answer(&self.order.job, &self.order.options, &self.sources);
        if let Some(then) = &self.then {
            expected = answer(&then.job, &then.options, &[source("step-1", expected.tsv)]);
        }
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(shown(&report.tsv), shown(&expected.tsv));
        assert_eq!(shown(&report.json), shown(&expected.json));
        let own = report.end.counters.iter().filter(|(name, _)| name.starts_with("program."));
        assert_eq!(own.collect::<Vec<_>>(), expected.counters.iter().collect::<Vec<_>>());
        let lost = expected.skips.len() + expected.keys.len();
        assert_eq!(report.end.outcome, if lost == 0 { Outcome::Done } else { Outcome::DoneWithLosses });
        assert_eq!(report.end.losses.count, lost as u64);
        assert_eq!(report.end.losses.keys.iter().collect::<BTreeSet<_>>(), expected.keys.iter().collect());
        assert_eq!(report.end.losses.chunks, []);
        let skips: BTreeSet<_> = expected.skips.iter().collect();
        assert!(report.end.losses.records.iter().all(|record| skips.contains(record)), "{:?}", report.end.losses);
        assert_eq!(report.end.chunks, report.chunks);
    }
}

/// Says which seed it was if the test panics.
struct Told<'c>(&'c Case);

impl Drop for Told<'_> {
    #[expect(clippy::print_stderr, reason = "it stands beside what the panic says")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Case { seed, order, then, workers, aggregators, trouble, .. } = self.0;
            eprintln!(
                "seed {seed} (RABBIT_REDUCE_SEEDS={seed}..{}): {order:?}, then {then:?}, {workers} workers, {aggregators} aggregators, {trouble:?}",
                seed + 1
            );
        }
    }
}

fn trouble(dice: &Dice, longest: Duration) -> Trouble {
    let share = |most: u64| if dice.hits(500) { dice.below(most) } else { 0 };
    // Early ones more often: many jobs are over soon.
    let moments = |most: u64, last: u64| {
        let count = if dice.hits(600) { dice.below(most) } else { 0 };
        (0..count).map(|_| dice.below(1 + dice.below(last))).collect()
    };
    Trouble {
        duplicates: share(500),
        delays: share(300),
        longest,
        lost: share(100),
        unknown: share(100),
        cuts: moments(5, 100),
        kills: moments(5, 300),
    }
}

fn sources(seed: u64, repeats: usize) -> Vec<LocalSource> {
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
    let drawn = inputs::sources().new_tree(&mut runner).unwrap().current();
    drawn.into_iter().map(|(name, bytes)| LocalSource { name, bytes: bytes.repeat(repeats) }).collect()
}

/// Lines that every one of the examples makes something of, but for a few.
fn lines(dice: &Dice, repeats: usize) -> Vec<LocalSource> {
    let line = || match dice.below(20) {
        0 => "nothing".to_owned(),
        1 => "d1 u1\tpanic refuse".to_owned(),
        2 => format!("{}\t1", ["fail", "die", "fail and die"][usize::try_from(dice.below(3)).unwrap()]),
        3 => "d1 u2\trefuse".to_owned(),
        _ => format!("d{} u{}\t{}", dice.below(3), dice.below(5), dice.below(20).cast_signed() - 10),
    };
    let source = |name: &str| {
        let lines: Vec<String> = (0..dice.below(1 + 10 * repeats as u64)).map(|_| line()).collect();
        LocalSource { name: name.as_bytes().to_vec(), bytes: lines.join("\n").into_bytes() }
    };
    ["a", "b", "c"].map(source).to_vec()
}

fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(given) = std::env::var("RABBIT_REDUCE_SEEDS") else { return usual };
    let (from, to) = given.split_once("..").expect("RABBIT_REDUCE_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

fn simulate(remainder: u64) {
    for seed in seeds(SIMULATED).filter(|seed| seed % 2 == remainder) {
        let case = Case::of(seed, Duration::from_secs(5));
        let _told = Told(&case);
        world::simulated(async { case.check(Home::embedded_with(topology()).await).await });
    }
}

#[test]
fn every_job_is_exact_on_the_embedded_broker_even_seeds() {
    simulate(0);
}

#[test]
fn every_job_is_exact_on_the_embedded_broker_odd_seeds() {
    simulate(1);
}

async fn run_for_real(remainder: u64) {
    for seed in seeds(REAL).filter(|seed| seed % 3 == remainder) {
        let case = Case::of(seed, Duration::from_millis(50));
        let _told = Told(&case);
        case.check(Home::rabbit_with(topology()).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_exact_on_rabbitmq_first_third_of_the_seeds() {
    run_for_real(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_exact_on_rabbitmq_second_third_of_the_seeds() {
    run_for_real(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_exact_on_rabbitmq_last_third_of_the_seeds() {
    run_for_real(2).await;
}
