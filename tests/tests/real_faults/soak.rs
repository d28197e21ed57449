//! Hundreds of small jobs from four producers at once, with random kills of everybody all the while: nothing grows.
//!
//! What would surprise: one worker and one aggregator are never killed, since what leaks is seen in who lives long; and no job is
//! removed, so the store fills, and only the store. A producer that is killed is resumed, or, if it had no job yet, begins anew.

use crate::{BOUND, is_spent};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_tests::dice::Dice;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, counted, resident_bytes, until, words};
use rabbit_reduce_tests::seen;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Unless `RABBIT_REDUCE_SOAK_JOBS` says otherwise.
const JOBS: usize = 500;
const PRODUCERS: usize = 4;
/// Inputs of different lengths that the jobs take in turn.
const INPUTS: usize = 7;
/// Between two kills, in milliseconds, from and to.
const PAUSE_MS: (u64, u64) = (300, 1500);
const SAMPLE: Duration = Duration::from_millis(500);
/// What the last quarter's median may be, in hundredths of the second quarter's: caches fill, samples scatter.
const FLAT_PERCENT: u64 = 125;
/// What a broker may hold besides: its write-ahead log is in memory until that is full, 64 MiB in these nodes.
const LOG_KIBIBYTES: u64 = 64 << 10;
/// Between two looks at the queues, each of which starts a program.
const LOOK: Duration = Duration::from_secs(1);
/// Messages of all queues that are none too many: those of the producers' few chunks, and what a kill brings back.
const MOST_QUEUED: u64 = 2000;
/// How many of a thousand producers are killed, and after how many milliseconds at the most: a job takes about as long.
const KILLED_PRODUCERS: u64 = 250;
const LONGEST_LIFE_MS: u64 = 600;
/// File descriptors that come and go with jobs that run just then.
const SPARE_FILES: u64 = 16;

/// A process that is looked at now and then.
struct Watched {
    name: &'static str,
    process: String,
    spare_kibibytes: u64,
    kibibytes: Vec<u64>,
    files: Vec<u64>,
}

impl Watched {
    fn new(name: &'static str, process: impl ToString, spare_kibibytes: u64) -> Self {
        Self { name, process: process.to_string(), spare_kibibytes, kibibytes: Vec::new(), files: Vec::new() }
    }

    fn sample(&mut self) {
        self.kibibytes.push(resident_bytes(&self.process) >> 10);
        self.files.push(std::fs::read_dir(format!("/proc/{}/fd", self.process)).expect("it lives").count() as u64);
    }

    /// The medians of the four quarters.
    fn quarters(samples: &[u64]) -> [u64; 4] {
        std::array::from_fn(|quarter| {
            let mut part = samples[quarter * samples.len() / 4..(quarter + 1) * samples.len() / 4].to_vec();
            part.sort_unstable();
            // A very short soak has quarters without samples.
            part.get(part.len() / 2).copied().unwrap_or(0)
        })
    }

    /// What was seen, and whether the last quarter is as good as the second.
    fn seen(&self) -> (String, bool) {
        let (kibibytes, files) = (Self::quarters(&self.kibibytes), Self::quarters(&self.files));
        let flat = kibibytes[3] * 100 <= kibibytes[1] * FLAT_PERCENT + self.spare_kibibytes * 100
            && files[3] <= files[1] + SPARE_FILES;
        (format!("{} {kibibytes:?} KiB, {files:?} files", self.name), flat)
    }
}

/// What the jobs are made of, and what they come to.
struct Soak {
    namespace: Namespace,
    expected: Vec<String>,
    jobs: usize,
    next: AtomicUsize,
    over: AtomicBool,
    killed: AtomicUsize,
    killed_producers: AtomicUsize,
}

impl Soak {
    fn at(node: &Node) -> Self {
        let namespace = Namespace::at(node.url());
        let input = |number: usize| {
            let text = words(100 + 80 * number);
            namespace.room.write(&format!("{number}.txt"), &text);
            counted(&text)
        };
        let expected = (0..INPUTS).map(input).collect();
        let jobs =
            std::env::var("RABBIT_REDUCE_SOAK_JOBS").map_or(JOBS, |jobs| jobs.parse().expect("a number of jobs"));
        let (next, over, killed, killed_producers) = Default::default();
        Self { namespace, expected, jobs, next, over, killed, killed_producers }
    }

    /// Job after job, each to its answer, whoever dies.
    fn produce(&self, producer: usize) {
        let dice = Dice::new(producer as u64);
        for number in
            std::iter::repeat_with(|| self.next.fetch_add(1, Ordering::Relaxed)).take_while(|n| *n < self.jobs)
        {
            let file = format!("{}.txt", number % INPUTS);
            let args = ["push", "--chunk-size", "4KiB", "--partitions", "4", &file];
            let mut pushing = self.namespace.producer(&args);
            if dice.hits(KILLED_PRODUCERS) {
                pushing = self.killed_and_resumed(pushing, &args, Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
            }
            assert_eq!(pushing.ended_within(BOUND).text(0), self.expected[number % INPUTS], "job {number}");
        }
    }

    /// Who goes on after one that is killed when it has lived so long.
    fn killed_and_resumed(&self, mut pushing: Running, args: &[&str], life: Duration) -> Running {
        let began = clock::instant();
        until("its time has come", || (began.elapsed() >= life || !pushing.lives()).then_some(()));
        if !pushing.lives() {
            return pushing;
        }
        let said = pushing.said();
        pushing.kill();
        self.killed_producers.fetch_add(1, Ordering::Relaxed);
        let job = said.lines().find_map(|line| line.strip_prefix("job ")?.split([' ', ':', ',']).next());
        match job {
            Some(job) => self.namespace.producer(&["resume", job]),
            None => self.namespace.producer(args),
        }
    }
}

#[test]
#[ignore = "long: scripts/long-faults"]
fn hundreds_of_jobs_under_kills_leave_nothing_behind() {
    let node = Node::default();
    let soak = Soak::at(&node);
    let (aggregator, worker) = (soak.namespace.aggregator(), soak.namespace.worker(&[]));
    let broker = node.control(&["eval", "list_to_integer(os:getpid())."]);
    let mut watched = [
        Watched::new("aggregator", aggregator.id(), 0),
        Watched::new("worker", worker.id(), 0),
        Watched::new("broker", broker, LOG_KIBIBYTES),
    ];
    let began = clock::instant();
    let queued = thread::scope(|scope| {
        let producing: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let soak = &soak;
                scope.spawn(move || soak.produce(producer))
            })
            .collect();
        let killing = scope.spawn(|| soak.killed.store(kill_others(&soak.namespace, &soak.over), Ordering::Relaxed));
        let looking = scope.spawn(|| queued(&node, &soak));
        while producing.iter().any(|producer| !producer.is_finished()) {
            watched.iter_mut().for_each(Watched::sample);
            thread::sleep(SAMPLE);
        }
        soak.over.store(true, Ordering::Relaxed);
        killing.join().expect("killing does not fail");
        looking.join().expect("looking does not fail")
    });
    is_spent(&node, &soak.namespace);
    let (seconds, jobs) = (began.elapsed().as_secs(), soak.jobs);
    let [killed, producers] = [&soak.killed, &soak.killed_producers].map(|killed| killed.load(Ordering::Relaxed));
    let seen: Vec<(String, bool)> = watched.iter().map(Watched::seen).collect();
    let text = seen.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("; ");
    let (looks, most) = (queued.len(), queued.iter().max().copied().unwrap_or(0));
    seen::fault(
        "soak",
        &format!(
            "{jobs} jobs, {killed} kills, {producers} of producers, {seconds} s, answers exact, queues empty, and never more than \
             {most} messages in {looks} looks; by quarters: {text}"
        ),
    );
    assert!(most < MOST_QUEUED, "queues grow: {queued:?}");
    assert!(seen.iter().all(|(_, flat)| *flat), "something grows: {text}");
}

/// How many messages lie in all queues together, look after look.
fn queued(node: &Node, soak: &Soak) -> Vec<u64> {
    let mut looks = Vec::new();
    while !soak.over.load(Ordering::Relaxed) {
        looks.push(node.holding(&soak.namespace.name).iter().map(|queue| queue.messages).sum());
        thread::sleep(LOOK);
    }
    looks
}

/// Kills workers and aggregators, one after the other, each replaced at once; how many.
fn kill_others(namespace: &Namespace, over: &AtomicBool) -> usize {
    let hire = |place: usize| if place < 2 { namespace.worker(&[]) } else { namespace.aggregator() };
    let mut crew: Vec<Running> = (0..3).map(hire).collect();
    let (dice, mut killed) = (Dice::new(500), 0);
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(PAUSE_MS.0 + dice.below(PAUSE_MS.1 - PAUSE_MS.0)));
        let victim = usize::try_from(dice.below(3)).expect("it is small");
        std::mem::replace(&mut crew[victim], hire(victim)).kill();
        killed += 1;
    }
    killed
}
