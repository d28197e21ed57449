//! Every step of the protocol, and a process that dies right there: its successor goes on, and the answer is exact.
//!
//! `crash_point::PLACES` lists the steps. What would surprise: a process that does not die where it was told to fails the test,
//! so does a place that no walk comes to, and one that is in the sources and not in the list.

use crate::{agrees, is_spent, side_by_side};
use rabbit_reduce_runtime::crash_point::PLACES;
use rabbit_reduce_tests::guests::guest;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, arg, counted, until};
use rabbit_reduce_tests::seen;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Walks that go on at once: most of one is waiting.
const AT_ONCE: usize = 4;
/// Returns after which the broker sets a message aside, and one more.
const RETURNS: usize = 21;

/// Places, `:n` for the n-th visit, by what it takes to get there.
const PRODUCING: [&str; 11] = [
    "producer.sources_put",
    "producer.submitted",
    "producer.split",
    "producer.split:5",
    "producer.confirmed",
    "producer.confirmed:5",
    "producer.all_confirmed",
    "producer.sealed",
    "producer.end_seen",
    "producer.page_read",
    "producer.page_read:2",
];
const MAPPING: [&str; 7] = [
    "worker.taken",
    "worker.mapped",
    "worker.published",
    "worker.published:3",
    "worker.unacked",
    "worker.unacked:4",
    "worker.acked",
];
const FOLDING: [&str; 22] = [
    "aggregator.sources_put",
    "aggregator.spec_put",
    "aggregator.asked",
    "aggregator.answered",
    "aggregator.answered:3",
    "aggregator.held",
    "aggregator.held:7",
    "aggregator.run_written",
    "aggregator.run_durable",
    "aggregator.entry_judged",
    "aggregator.entry_put",
    "aggregator.entry_put:3",
    "aggregator.committed",
    "aggregator.unacked",
    "aggregator.acked",
    "aggregator.acked:3",
    "aggregator.seal_put",
    "aggregator.tidied",
    "aggregator.part_written",
    "aggregator.finished",
    "aggregator.ending",
    "aggregator.ended",
];
const SHIPPING: [&str; 3] = ["producer.file_put", "aggregator.file_put", "worker.file_fetched"];
const STEPPING: [&str; 3] = ["aggregator.step_begun", "aggregator.step_published", "aggregator.step_sealed"];
const RETRYING: [&str; 2] = ["worker.retried", "worker.waiting"];
const SUSPECTING: [&str; 1] = ["worker.suspected"];
const LOSING: [&str; 5] = [
    "worker.buried",
    "aggregator.letter_stored",
    "aggregator.loss_noted",
    "aggregator.loss_noted:2",
    "aggregator.letter_dealt_with",
];
const RETURNING: [&str; 1] = ["aggregator.letter_sent_again"];
const LEAVING_OUT: [&str; 2] = ["aggregator.record_left_out", "aggregator.record_left_out:2"];
const PUTTING_BACK: [&str; 2] = ["aggregator.retry_agreed", "aggregator.retry_agreed:2"];
const REDUCING_AGAIN: [&str; 2] = ["aggregator.retry_agreed", "aggregator.part_written"];
const COMPACTING: [&str; 4] = [
    "aggregator.runs_merged",
    "aggregator.runs_replaced",
    "aggregator.replaced_run_deleted",
    "aggregator.replaced_run_deleted:9",
];
const TIDYING: [&str; 2] = ["aggregator.orphan_retired", "aggregator.orphan_deleted"];
const REMOVING: [&str; 3] = ["aggregator.tombstone_put", "aggregator.half_removed", "aggregator.half_removed:2"];
const CANCELLING: [&str; 2] = ["aggregator.ending_without_result", "aggregator.ended_without_result"];

/// Starts a role that will die at a place.
fn armed(namespace: &Namespace, place: &str, args: &[&str]) -> Running {
    let role = place.split('.').next().unwrap();
    let usual: &[&str] = match role {
        "worker" => &["--threads", "1", "--input-root", "."],
        "aggregator" => &["--store", "store", "--threads", "2"],
        _ => &[],
    };
    Running::start(namespace.command(role, usual).args(args).env("RABBIT_REDUCE_CRASH_AT", place))
}

/// It died, at that place and nowhere else.
#[track_caller]
fn died(armed: Running, place: &str) {
    let outcome = armed.ended();
    let name = place.split(':').next().unwrap();
    let there = outcome.stderr.contains("dying here, as asked") && outcome.stderr.contains(name);
    assert!(outcome.code.is_none() && there, "{place}: it ended with {:?}: {}", outcome.code, outcome.stderr);
}

/// Walks to each of the places on one broker, some at once; every walk has a namespace of its own, and leaves nothing in it while
/// there are successors to see to what the dead held.
fn walk(places: &[&str], fault: &str, way: impl Fn(&Node, &Namespace, &str) + Sync) {
    let node = Node::default();
    side_by_side(AT_ONCE, places, |place| {
        let namespace = Namespace::at(node.url());
        way(&node, &namespace, place);
    });
    seen::fault(fault, &format!("{} places, each died at, each answer exact, nothing left", places.len()));
}

/// The one job that there is, or none.
fn job(namespace: &Namespace) -> Option<String> {
    let listed = namespace.ask(&["jobs", "--format", "json"]).text(0);
    let jobs: serde_json::Value = serde_json::from_str(&listed).unwrap();
    jobs.as_array().unwrap().first().map(|job| job["job"].as_str().unwrap().to_owned())
}

const PUSH: [&str; 7] = ["push", "--chunk-size", "16KiB", "--partitions", "2", "--quiet", "in.txt"];

#[test]
fn a_producer_may_die_at_any_step() {
    walk(&PRODUCING, "producer dies at a step", |node, namespace, place| {
        let expected = namespace.input(1500);
        let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
        died(armed(namespace, place, &PUSH), place);
        let successor = match job(namespace) {
            Some(job) => namespace.producer(&["resume", &job]),
            None => namespace.producer(&PUSH),
        };
        agrees(successor, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn a_worker_may_die_at_any_step() {
    walk(&MAPPING, "worker dies at a step", |node, namespace, place| {
        let expected = namespace.input(1500);
        let (_aggregator, push) = (namespace.aggregator(), namespace.producer(&PUSH));
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.worker(&[]);
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn an_aggregator_may_die_at_any_step() {
    walk(&FOLDING, "aggregator dies at a step", |node, namespace, place| {
        let expected = namespace.input(1500);
        let (_worker, push) = (namespace.worker(&[]), namespace.producer(&PUSH));
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn an_aggregator_may_die_between_two_steps() {
    walk(&STEPPING, "aggregator dies between two steps", |node, namespace, place| {
        let expected = counted(&namespace.input(1500));
        let push = [&PUSH[..], &["--then", "--chunk-size", "4KiB"]].concat();
        let (_worker, push) = (namespace.worker(&[]), namespace.producer(&push));
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn whoever_has_a_file_of_a_job_in_its_hands_may_die() {
    walk(&SHIPPING, "a file of a job passes who dies", |node, namespace, place| {
        let expected = namespace.input(500);
        let module = guest("word_count.c");
        let push = [&PUSH[..], &["--program", arg(&module)]].concat();
        if place.starts_with("producer") {
            let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
            died(armed(namespace, place, &push), place);
            agrees(namespace.producer(&push), &expected);
        } else if place.starts_with("aggregator") {
            let (_worker, push) = (namespace.worker(&[]), namespace.producer(&push));
            died(armed(namespace, place, &[]), place);
            let _successor = namespace.aggregator();
            agrees(push, &expected);
        } else {
            let (_aggregator, push) = (namespace.aggregator(), namespace.producer(&push));
            // As on another machine: it does not find what the aggregator keeps.
            std::fs::create_dir(namespace.room.path("elsewhere")).unwrap();
            died(armed(namespace, place, &["--temporary", "elsewhere"]), place);
            let _successor = namespace.worker(&["--temporary", "elsewhere"]);
            agrees(push, &expected);
        }
        is_spent(node, namespace);
    });
}

/// A file that is away for a while is what fails an attempt.
#[test]
fn a_worker_may_die_while_a_task_is_tried_again() {
    walk(&RETRYING, "worker dies as a task is tried again", |node, namespace, place| {
        let expected = namespace.input(500);
        let _aggregator = namespace.aggregator();
        let mut push = namespace.producer(&["push", "--by", "reference", "in.txt"]);
        push.says("waiting for a worker");
        let (file, away) = (namespace.room.path("in.txt"), namespace.room.path("away"));
        std::fs::rename(&file, &away).unwrap();
        died(armed(namespace, place, &[]), place);
        std::fs::rename(&away, &file).unwrap();
        let _successor = namespace.worker(&[]);
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn a_worker_may_die_while_it_sets_a_suspect_apart() {
    walk(&SUSPECTING, "worker dies as a task is suspected", |node, namespace, place| {
        let expected = namespace.input(500);
        let (_aggregator, push) = (namespace.aggregator(), namespace.producer(&["push", "--quiet", "in.txt"]));
        for _ in 0..3 {
            died(armed(namespace, "worker.taken", &[]), "worker.taken");
        }
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.worker(&[]);
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

/// A file outside of the worker's roots is lost at once.
#[test]
fn a_loss_may_be_noted_by_several_who_die() {
    walk(&LOSING, "who notes a loss dies", |node, namespace, place| {
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&elsewhere, "a b\n").unwrap();
        let args = ["push", "--by", "reference", "--partitions", "2", arg(elsewhere.path())];
        let push = namespace.producer(&args);
        let (_worker, _aggregator);
        if place.starts_with("worker") {
            _aggregator = namespace.aggregator();
            died(armed(namespace, place, &[]), place);
            _worker = namespace.worker(&[]);
        } else {
            _worker = namespace.worker(&[]);
            died(armed(namespace, place, &[]), place);
            _aggregator = namespace.aggregator();
        }
        let outcome = push.ended();
        assert_eq!(outcome.text(3), "", "{place}");
        let lost = outcome.stderr.lines().filter(|line| line.starts_with("lost: ")).count();
        assert!(lost == 1 && outcome.stderr.contains("lost: chunk 0"), "{place}: {}", outcome.stderr);
        is_spent(node, namespace);
    });
}

/// So many aggregators die with a partial that the broker gives it up.
#[test]
fn a_partial_that_the_broker_gives_up_is_counted_whoever_dies() {
    walk(&RETURNING, "a partial outlives its aggregators", |node, namespace, place| {
        let expected = namespace.input(100);
        let first = namespace.aggregator();
        let job = namespace.ask(&["push", "--detach", "--partitions", "1", "in.txt"]).text(0);
        first.signal("TERM");
        assert_eq!(first.ended().code, Some(0));
        let worker = namespace.worker(&["--exit-when-idle"]);
        assert_eq!(worker.ended().code, Some(0));
        for _ in 0..RETURNS {
            died(armed(namespace, "aggregator.held", &[]), "aggregator.held");
        }
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        agrees(namespace.producer(&["resume", job.trim()]), &expected);
        is_spent(node, namespace);
    });
}

/// Of which who maps it dies: a number, too.
const DEADLY: &str = "31337";

/// Workers that die of what is deadly, one after the other.
struct Mortals<'n> {
    namespace: &'n Namespace,
    alive: Running,
}

impl<'n> Mortals<'n> {
    fn new(namespace: &'n Namespace) -> Self {
        Self { namespace, alive: Self::worker(namespace) }
    }

    fn worker(namespace: &Namespace) -> Running {
        let mut command = namespace.command("worker", &["--threads", "1"]);
        Running::start(command.env("RABBIT_REDUCE_POISON", DEADLY))
    }

    fn come_until_it_ends(&mut self, process: &mut Running) {
        until("its end", || {
            if !self.alive.lives() {
                self.alive = Self::worker(self.namespace);
            }
            (!process.lives()).then_some(())
        });
    }
}

#[test]
fn an_aggregator_may_die_while_it_leaves_out_a_record() {
    walk(&LEAVING_OUT, "aggregator dies as it leaves out a record", |node, namespace, place| {
        namespace.room.write("in.txt", format!("{}{DEADLY}\n{}", "1 2 3\n".repeat(1000), "4 5 6\n".repeat(1000)));
        let mut push = namespace.producer(&["push", "--job", "sum", "--partitions", "2", "in.txt"]);
        let (mut first, mut workers) = (armed(namespace, place, &[]), Mortals::new(namespace));
        workers.come_until_it_ends(&mut first);
        died(first, place);
        let _successor = namespace.aggregator();
        workers.come_until_it_ends(&mut push);
        let outcome = push.ended();
        assert_eq!(outcome.text(3), "count\t6000\nsum\t21000\nmin\t1\nmax\t6\nmean\t3.5\n", "{place}");
        assert_eq!(outcome.stderr.matches("lost: ").count(), 1, "{place}: {}", outcome.stderr);
        is_spent(node, namespace);
    });
}

/// Those who lost something leave; somebody has it sent again, an aggregator dies over it, and others make the result whole.
fn die_while_it_is_sent_again(namespace: &Namespace, place: &str, leaving: [Running; 2], expected: &str) {
    for process in leaving {
        process.signal("TERM");
        assert_eq!(process.ended().code, Some(0));
    }
    let retry = namespace.producer(&["dead", "retry", "@"]);
    died(armed(namespace, place, &[]), place);
    let (_successor, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    assert_eq!(retry.ended().text(0), "", "{place}");
    agrees(namespace.producer(&["results"]), expected);
}

/// What a worker lost that may read nothing is sent again to one that may.
#[test]
fn an_aggregator_may_die_while_it_puts_chunks_back() {
    walk(&PUTTING_BACK, "aggregator dies as it puts a chunk back", |node, namespace, place| {
        let expected = namespace.input(1500);
        std::fs::create_dir(namespace.room.path("empty")).unwrap();
        let first = namespace.aggregator();
        let blind = Running::start(&mut namespace.command("worker", &["--input-root", "empty"]));
        let args = ["push", "--by", "reference", "--chunk-size", "16KiB", "--partitions", "2", "in.txt"];
        assert_eq!(namespace.ask(&args).text(3), "", "{place}");
        die_while_it_is_sent_again(namespace, place, [first, blind], &expected);
        is_spent(node, namespace);
    });
}

/// What a worker died of is sent again to one that does not.
#[test]
fn an_aggregator_may_die_while_it_puts_a_record_back() {
    walk(&PUTTING_BACK, "aggregator dies as it puts a record back", |node, namespace, place| {
        namespace.room.write("in.txt", format!("1 2 {DEADLY} 4\n"));
        let (first, mut workers) = (namespace.aggregator(), Mortals::new(namespace));
        let mut push = namespace.producer(&["push", "--job", "sum", "--partitions", "2", "in.txt"]);
        workers.come_until_it_ends(&mut push);
        assert!(push.ended().text(3).contains("sum\t7\n"), "{place}");
        let expected = namespace.ask(&["run", "--job", "sum", "in.txt"]).text(0);
        die_while_it_is_sent_again(namespace, place, [first, workers.alive], &expected);
        is_spent(node, namespace);
    });
}

/// A key that a reducer refused is reduced again by one that does not.
#[test]
fn an_aggregator_may_die_while_it_reduces_a_key_again() {
    walk(&REDUCING_AGAIN, "aggregator dies as it reduces a key again", |node, namespace, place| {
        namespace.room.write("in.txt", "a\t1\nb\tBAD\nc\t3\n");
        let better = namespace.room.path("better");
        let reducer = format!(r#"awk '/BAD/ {{ if (system("test -e {}")) exit 3 }} {{ print }}'"#, better.display());
        let usual = ["--store", "store", "--threads", "2", "--allow-commands"];
        let aggregator = || Running::start(&mut namespace.command("aggregator", &usual));
        let first = aggregator();
        let _worker = namespace.worker(&["--allow-commands"]);
        let push = ["push", "--mapper", "cat", "--reducer", &reducer, "--partitions", "1", "in.txt"];
        assert_eq!(namespace.ask(&push).text(3), "a\t1\nc\t3\n", "{place}");
        first.signal("TERM");
        assert_eq!(first.ended().code, Some(0));
        namespace.room.write("better", "");
        let retry = namespace.producer(&["dead", "retry", "@"]);
        died(armed(namespace, place, &["--allow-commands"]), place);
        let _successor = aggregator();
        assert_eq!(retry.ended().text(0), "", "{place}");
        agrees(namespace.producer(&["results"]), "a\t1\nb\tBAD\nc\t3\n");
        is_spent(node, namespace);
    });
}

/// Many small chunks in one partition make many runs.
#[test]
fn an_aggregator_may_die_while_it_merges_runs() {
    walk(&COMPACTING, "aggregator dies as it merges runs", |node, namespace, place| {
        let expected = namespace.input(6000);
        let (_worker, _worker_too) = (namespace.worker(&[]), namespace.worker(&[]));
        let push = namespace.producer(&["push", "--chunk-size", "1KiB", "--partitions", "1", "--quiet", "in.txt"]);
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn an_aggregator_may_die_while_it_tidies_up_after_another() {
    walk(&TIDYING, "aggregator dies as it tidies up", |node, namespace, place| {
        let expected = namespace.input(1500);
        let (_worker, push) = (namespace.worker(&[]), namespace.producer(&PUSH));
        died(armed(namespace, "aggregator.run_durable", &[]), "aggregator.run_durable");
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        agrees(push, &expected);
        is_spent(node, namespace);
    });
}

#[test]
fn an_aggregator_may_die_while_it_removes_a_job() {
    walk(&REMOVING, "aggregator dies as it removes a job", |node, namespace, place| {
        let expected = namespace.input(200);
        let first = namespace.aggregator();
        let worker = namespace.worker(&[]);
        agrees(namespace.producer(&PUSH), &expected);
        drop(worker);
        first.signal("TERM");
        assert_eq!(first.ended().code, Some(0));
        let job = namespace.room.names("store/jobs").pop().unwrap();
        let removal = namespace.producer(&["remove", "@"]);
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        assert!(removal.ended().stderr.contains("is removed"), "{place}");
        assert_eq!(namespace.room.names(&format!("store/jobs/{job}")), ["removed"], "{place}");
        is_spent(node, namespace);
    });
}

#[test]
fn an_aggregator_may_die_while_it_cancels_a_job() {
    walk(&CANCELLING, "aggregator dies as it cancels a job", |node, namespace, place| {
        let _counts = namespace.input(200);
        let first = namespace.aggregator();
        let mut push = namespace.producer(&["push", "in.txt"]);
        push.says("waiting for a worker");
        first.signal("TERM");
        assert_eq!(first.ended().code, Some(0));
        let cancel = namespace.producer(&["cancel", "@"]);
        died(armed(namespace, place, &[]), place);
        let _successor = namespace.aggregator();
        assert!(cancel.ended().stderr.contains("is cancelled"), "{place}");
        push.ended().refused(6, &["was cancelled"]);
        // Its tasks are nobody's any more: a worker drops them.
        let worker = namespace.worker(&["--exit-when-idle"]);
        assert_eq!(worker.ended().code, Some(0));
        is_spent(node, namespace);
    });
}

#[test]
fn every_place_is_walked_to_and_listed() {
    let walks: [&[&str]; 16] = [
        &PRODUCING,
        &MAPPING,
        &FOLDING,
        &SHIPPING,
        &STEPPING,
        &RETRYING,
        &SUSPECTING,
        &LOSING,
        &RETURNING,
        &LEAVING_OUT,
        &PUTTING_BACK,
        &REDUCING_AGAIN,
        &COMPACTING,
        &TIDYING,
        &REMOVING,
        &CANCELLING,
    ];
    let walked: BTreeSet<String> =
        walks.concat().iter().map(|place| place.split(':').next().unwrap().to_owned()).collect();
    let listed: BTreeSet<String> = PLACES.map(str::to_owned).into();
    assert_eq!(walked, listed, "walked to, and listed");
    assert_eq!(in_the_sources(), listed, "in the sources, and listed");
}

fn in_the_sources() -> BTreeSet<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> =
        ["producer", "worker", "aggregator", "runtime"].map(|member| workspace.join(member).join("src")).into();
    let mut places = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let named = text.split("crash_point::reached(").skip(1);
            places.extend(named.map(|rest| rest.split('"').nth(1).unwrap().to_owned()));
        }
    }
    places
}
