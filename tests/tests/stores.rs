//! Several aggregators on one store, as processes: in a bucket of a real object store, and in a folder that they share.
//!
//! AMQP_URL says where the broker is, scripts/with-bucket starts the object store. What would surprise: what is lost or refused
//! on purpose happens in a front that stands before the real server.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::bucket::BucketAddress;
use rabbit_reduce_runtime::store::directory::{DirectoryStore, Durability};
use rabbit_reduce_tests::buckets::{Gateway, files, front, opened, somewhere, variable};
use rabbit_reduce_tests::front::Fate;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::seen::fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Lines of a job that is not over before something could happen to it.
const LINES: usize = 100_000;
/// How soon a start that cannot succeed says so, retries included.
const REFUSED_WITHIN: Duration = Duration::from_secs(45);

fn aggregator(namespace: &Namespace, place: &str, variables: &[(&str, &str)]) -> Running {
    let mut command = namespace.command("aggregator", &["--store", place, "--threads", "2"]);
    Running::start(command.envs(variables.iter().copied()))
}

/// Entries in the ledger of the one job's first partition.
fn entries(store: &dyn Store) -> usize {
    let jobs = store.list("jobs").unwrap();
    jobs.first().map_or(0, |job| store.list(&format!("jobs/{job}/ledger/0000")).unwrap().len())
}

fn push(namespace: &Namespace) -> Running {
    namespace.producer(&["push", "--chunk-size", "32KiB", "in.txt"])
}

/// Two aggregators work on a job, one is killed in the middle, and the job is removed in the end.
fn survives_one_of_two(namespace: &Namespace, place: &str, store: &dyn Store) {
    let expected = namespace.input(LINES);
    let [mut first, mut second] = [(); 2].map(|()| aggregator(namespace, place, &[]));
    first.says("aggregating");
    second.says("aggregating");
    let _worker = namespace.worker(&[]);
    let mut push = push(namespace);
    until("some commits", || (entries(store) > 1 || !push.lives()).then_some(()));
    assert!(push.lives(), "the job was over before anyone could die");
    first.kill();
    assert_eq!(push.ended().text(0), expected);
    assert_eq!(namespace.ask(&["results", "@"]).text(0), expected);
    assert_eq!(namespace.ask(&["remove", "@"]).code, Some(0));
    let left = files(store, "");
    let [id, tombstone] = left.as_slice() else { panic!("more is left: {left:?}") };
    assert!(id == "id" && tombstone.ends_with("/removed"), "{left:?}");
    assert!(second.lives());
}

#[test]
fn one_of_two_aggregators_on_a_bucket_is_killed_and_the_answer_is_exact() {
    let (namespace, address) = (Namespace::default(), somewhere());
    survives_one_of_two(&namespace, &address.to_string(), &opened(&address));
    fault(
        "one of two aggregators on a bucket dies",
        "the result is exact, and after `remove` only the tombstone is left",
    );
}

#[test]
fn one_of_two_aggregators_on_a_shared_folder_is_killed_and_the_answer_is_exact() {
    let namespace = Namespace::default();
    let store = DirectoryStore::open(namespace.room.path("store"), Durability::Volatile).unwrap();
    survives_one_of_two(&namespace, "store", &store);
    fault(
        "one of two aggregators on a folder dies",
        "the result is exact, and after `remove` only the tombstone is left",
    );
}

#[test]
fn a_server_that_is_killed_and_comes_back_costs_time_only() {
    let (namespace, address, mut gateway) = (Namespace::default(), somewhere(), Gateway::start());
    let (expected, store) = (namespace.input(LINES), opened(&address));
    let _aggregator = aggregator(&namespace, &address.to_string(), &[("AWS_ENDPOINT_URL", &gateway.url())]);
    let _worker = namespace.worker(&[]);
    let mut push = push(&namespace);
    let mut deaths = 0;
    while deaths < 2 {
        let before = entries(&store);
        until("another commit", || (entries(&store) > before || !push.lives()).then_some(()));
        if !push.lives() {
            break;
        }
        gateway.kill();
        deaths += 1;
        gateway.revive();
    }
    assert!(deaths > 0, "the job was over before the server could die");
    assert_eq!(push.ended().text(0), expected);
    fault("a bucket's server is killed and comes back", &format!("the result is exact after {deaths} deaths"));
}

#[test]
fn answers_that_are_lost_or_refused_cost_time_only() {
    let (namespace, address, front) = (Namespace::default(), somewhere(), front());
    let expected = namespace.input(LINES);
    let [lost, refused, late] = [(); 3].map(|()| Arc::new(AtomicU32::new(0)));
    let (count, mut number) = ([&lost, &refused, &late].map(Arc::clone), 0_u32);
    front.decide(move |asked| {
        number += u32::from(asked.method == "PUT");
        let (which, fate) = match number % 9 {
            2 => (0, Fate::LoseAnswer),
            5 => (1, Fate::Answer(503, "SlowDown")),
            8 => (2, Fate::AnswerAfter(500, "InternalError")),
            _ => return Fate::Pass,
        };
        if asked.method != "PUT" {
            return Fate::Pass;
        }
        count[which].fetch_add(1, Ordering::Relaxed);
        fate
    });
    let url = front.url();
    let _aggregators =
        [(); 2].map(|()| aggregator(&namespace, &address.to_string(), &[("AWS_ENDPOINT_URL", url.as_str())]));
    let _worker = namespace.worker(&[]);
    assert_eq!(push(&namespace).ended().text(0), expected);
    let [lost, refused, late] = [lost, refused, late].map(|count| count.load(Ordering::Relaxed));
    assert!(lost > 2 && refused > 2 && late > 2, "{lost} lost, {refused} refused, {late} refused after the deed");
    fault("the answer to a put is lost", &format!("the result is exact with {lost} lost and {late} wrong answers"));
    fault("a bucket's server is overloaded", &format!("the result is exact with {refused} puts refused"));
}

#[test]
fn a_full_bucket_is_told_of_and_work_goes_on_when_there_is_room() {
    let (namespace, address, front) = (Namespace::default(), somewhere(), front());
    let expected = namespace.input(LINES);
    let full = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&full);
    front.decide(move |asked| match &*asked.method {
        "PUT" | "POST" if seen.load(Ordering::Relaxed) => Fate::Answer(507, "XMinioStorageFull"),
        _ => Fate::Pass,
    });
    let store = opened(&address);
    let mut aggregator = aggregator(&namespace, &address.to_string(), &[("AWS_ENDPOINT_URL", &front.url())]);
    aggregator.says("aggregating");
    let _worker = namespace.worker(&[]);
    let mut push = push(&namespace);
    until("a commit", || (entries(&store) > 0).then_some(()));
    full.store(true, Ordering::Relaxed);
    push.says("the store is full");
    full.store(false, Ordering::Relaxed);
    assert_eq!(push.ended().text(0), expected);
    fault("a bucket is full", "the producer is told; the result is exact once there is room");
}

fn refused(place: &str, variables: &[(&str, &str)], code: i32, said: &[&str]) {
    let namespace = Namespace::default();
    let began = clock::instant();
    aggregator(&namespace, place, variables).ended_within(REFUSED_WITHIN).refused(code, said);
    assert!(began.elapsed() < REFUSED_WITHIN);
}

#[test]
fn a_bucket_that_puts_the_same_name_twice_is_refused() {
    let place: BucketAddress = format!("{}/{}", variable("TEST_OPEN_BUCKET"), Uuid::new_v4()).parse().unwrap();
    let front = front();
    let (url, unsigned) = (front.url(), ("AWS_SKIP_SIGNATURE", "true"));
    // With its condition it is a bucket like any other.
    let namespace = Namespace::default();
    let mut fit = aggregator(&namespace, &place.to_string(), &[("AWS_ENDPOINT_URL", &url), unsigned]);
    fit.says("aggregating");
    assert_eq!(namespace.ask(&["jobs"]).text(0).lines().count(), 1);
    front.decide(|_| Fate::Unconditional);
    refused(&place.to_string(), &[("AWS_ENDPOINT_URL", &url), unsigned], 5, &["cannot put if absent", "use another"]);
    fault("a bucket without conditional put", "the aggregator refuses it at its start");
}

#[test]
fn a_bucket_that_cannot_be_used_is_told_of_with_the_remedy() {
    let place = somewhere().to_string();
    let secret = ("AWS_SECRET_ACCESS_KEY", "quite-wrong");
    refused(&place, &[secret], 5, &[&place, "check AWS_ACCESS_KEY_ID"]);
    fault("the keys to a bucket are wrong", "the aggregator ends with 5 and names the variables");
    refused("s3://no-such-bucket/x", &[], 5, &["there is no bucket no-such-bucket", "--store"]);
    fault("a bucket is not there", "the aggregator ends with 5 and says to make it");
    refused(&place, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], 5, &["127.0.0.1:9", "check AWS_ENDPOINT_URL"]);
    fault("a bucket's server cannot be reached", "the aggregator ends with 5 and names the variable");
    refused("s3://KEY:quite-wrong@bucket", &[], 2, &["AWS_* variables"]);
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_on() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    refused(&somewhere().to_string(), &[("AWS_ENDPOINT_URL", &url)], 5, &["no answer within", "AWS_ENDPOINT_URL"]);
    fault("a bucket's server accepts and says nothing", "the aggregator ends with 5 after half a minute");
}
