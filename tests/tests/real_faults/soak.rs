//! Hundreds of small jobs from four producers at once, with random kills all the while: nothing grows.
//!
//! What would surprise: one worker and one aggregator are never killed, since what leaks is seen in who lives long; and no job is
//! removed, so the store fills, and only the store.

use crate::is_spent;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_tests::dice::Dice;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, counted, words};
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process)).expect("it lives");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        self.kibibytes.push(resident.trim().trim_end_matches(" kB").parse().expect("a number"));
        self.files.push(std::fs::read_dir(format!("/proc/{}/fd", self.process)).expect("it lives").count() as u64);
    }

    /// The medians of the four quarters.
    fn quarters(samples: &[u64]) -> [u64; 4] {
        std::array::from_fn(|quarter| {
            let mut part = samples[quarter * samples.len() / 4..(quarter + 1) * samples.len() / 4].to_vec();
            part.sort_unstable();
            part[part.len() / 2]
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

#[test]
#[ignore = "long: scripts/long-faults"]
fn hundreds_of_jobs_under_kills_leave_nothing_behind() {
    let node = Node::default();
    let namespace = Namespace::at(node.url());
    let expected: Vec<String> = (0..INPUTS)
        .map(|number| {
            let text = words(100 + 80 * number);
            namespace.room.write(&format!("{number}.txt"), &text);
            counted(&text)
        })
        .collect();
    let (aggregator, worker) = (namespace.aggregator(), namespace.worker(&[]));
    let broker = node.control(&["eval", "list_to_integer(os:getpid())."]);
    let mut watched = [
        Watched::new("aggregator", aggregator.id(), 0),
        Watched::new("worker", worker.id(), 0),
        Watched::new("broker", broker, LOG_KIBIBYTES),
    ];
    let jobs = std::env::var("RABBIT_REDUCE_SOAK_JOBS").map_or(JOBS, |jobs| jobs.parse().expect("a number of jobs"));
    let (next, over, killed) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let began = clock::instant();
    thread::scope(|scope| {
        let producing: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                scope.spawn(|| {
                    for number in
                        std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|n| *n < jobs)
                    {
                        let file = format!("{}.txt", number % INPUTS);
                        let outcome = namespace.ask(&["push", "--chunk-size", "4KiB", "--partitions", "4", &file]);
                        assert_eq!(outcome.text(0), expected[number % INPUTS], "job {number}");
                    }
                })
            })
            .collect();
        let killing = scope.spawn(|| killed.store(kill_others(&namespace, &over), Ordering::Relaxed));
        while producing.iter().any(|producer| !producer.is_finished()) {
            watched.iter_mut().for_each(Watched::sample);
            thread::sleep(SAMPLE);
        }
        over.store(true, Ordering::Relaxed);
        killing.join().expect("killing does not fail");
    });
    is_spent(&node, &namespace);
    let (seconds, killed) = (began.elapsed().as_secs(), killed.into_inner());
    let seen: Vec<(String, bool)> = watched.iter().map(Watched::seen).collect();
    let text = seen.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("; ");
    seen::fault(
        "soak",
        &format!("{jobs} jobs, {killed} kills, {seconds} s, answers exact, queues empty; by quarters: {text}"),
    );
    assert!(seen.iter().all(|(_, flat)| *flat), "something grows: {text}");
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
