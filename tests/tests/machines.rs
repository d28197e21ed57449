//! Roles on machines of their own, which reach the broker and nobody else: shared mounts, cables that are cut, slow ones.
//!
//! As root, since it makes those machines (`tests/src/hosts.rs`); AMQP_URL is not used, as the broker has to let others in;
//! scripts/with-bucket starts the object store. What would surprise: heartbeats are short here, so that what is noticed by them is
//! noticed soon.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::directory::{DirectoryStore, Durability};
use rabbit_reduce_tests::buckets::{opened, somewhere, variable};
use rabbit_reduce_tests::forwarder::Forwarder;
use rabbit_reduce_tests::guests::guest;
use rabbit_reduce_tests::hosts::Host;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::node::Node;
use rabbit_reduce_tests::processes::{Running, counted, until, words};
use rabbit_reduce_tests::seen::fault;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

/// Of input that no job is through with before a cable is cut.
const LINES: usize = 20_000;
/// Where somebody listens on machines that are not to be reached.
const PORT: u16 = 7777;
/// What a cable lets pass that is slow, in kilobits a second.
const SLOW: u32 = 2_000;

/// A broker on the test's machine, and a namespace in it.
struct Network {
    /// Goes first: it is torn down at the node.
    namespace: Namespace,
    node: Node,
}

impl Default for Network {
    fn default() -> Self {
        let node = Node::open_to_others();
        let mut namespace = Namespace::at(format!("{}?heartbeat=4", node.url()));
        namespace.settings.insert("RABBIT_REDUCE_MEMORY", "300MiB".to_owned());
        Self { namespace, node }
    }
}

impl Network {
    /// Starts a role on a machine, which finds the broker at its neighbour's.
    fn start(&self, host: &Host, role: &str, args: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = host.command(&self.namespace.command(role, args));
        let url = format!("amqp://{}:{}/%2f?heartbeat=4", host.neighbour(), self.node.port());
        Running::start(command.env("AMQP_URL", url).envs(variables.iter().copied()))
    }

    fn worker(&self, host: &Host) -> Running {
        self.start(host, "worker", &["--threads", "1", "--input-root", "."], &[])
    }

    fn aggregator(&self, host: &Host, place: &str, variables: &[(&str, &str)]) -> Running {
        self.start(host, "aggregator", &["--store", place, "--threads", "2"], variables)
    }
}

#[test]
fn workers_on_machines_of_their_own_reach_the_broker_and_nobody_else() {
    let network = Network::default();
    let [keeper, desk, first, second] = [(); 4].map(|()| Host::default());
    // A machine sees the broker's, and no other, though they have the same broker.
    let open = TcpListener::bind((desk.neighbour(), 0)).unwrap();
    assert!(desk.reaches(open.local_addr().unwrap()));
    for other in [&keeper, &desk, &second] {
        // Somebody answers there, as its own machine finds.
        let _listening = other.listens(PORT);
        let address = SocketAddr::from((other.address(), PORT));
        until("somebody listens", || other.reaches(address).then_some(()));
        assert!(!first.reaches(address));
    }
    let mut roles = [network.aggregator(&keeper, "store", &[]), network.worker(&first), network.worker(&second)];
    let expected = network.namespace.input(2000);
    let push = |args: &[&str]| {
        let all = [&["push", "--chunk-size", "8KiB", "--quiet"], args, &["in.txt"]].concat();
        network.start(&desk, "producer", &all, &[]).ended().text(0)
    };
    assert_eq!(push(&[]), expected);
    // A program that none of them has comes with its job.
    assert_eq!(push(&["--program", &guest("word_count.c").display().to_string()]), expected);
    assert!(roles.iter_mut().all(Running::lives));
}

#[test]
fn files_by_reference_are_read_through_a_mount_that_machines_share() {
    let network = Network::default();
    let room = &network.namespace.room;
    let [mut desk, mut with, without] = [(); 3].map(|()| Host::default());
    let text = words(2000);
    room.write("server/in.txt", &text);
    std::fs::create_dir(room.path("shared")).unwrap();
    for host in [&mut desk, &mut with] {
        host.mount(&room.path("server"), &room.path("shared"));
    }
    let _aggregator = network.namespace.aggregator();
    // Who lacks the mount fails for a while, and is replaced.
    let mut lacking = network.worker(&without);
    let push = ["push", "--by", "reference", "--quiet", "shared/in.txt"];
    let push = network.start(&desk, "producer", &push, &[]);
    lacking.says("a task failed and is tried again");
    lacking.kill();
    let _worker = network.worker(&with);
    assert_eq!(push.ended().text(0), counted(&text));
    fault(
        "a mount is missing on a worker's machine",
        "its tasks are tried again where it is there; the result is exact",
    );
}

/// Two aggregators and two workers, each on a machine; one of each is cut off in the middle of a job, and works on the next one.
fn survives_a_cut(
    network: &Network,
    place: &str,
    store: &dyn Store,
    variables: impl Fn(&Host) -> Vec<(String, String)>,
) {
    let expected = network.namespace.input(LINES);
    let [keeper, spare, first, second] = [(); 4].map(|()| Host::default());
    first.slow_down(SLOW);
    let aggregator = |host: &Host| {
        let variables = variables(host);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut started = network.aggregator(host, place, &variables);
        started.says("aggregating");
        started
    };
    let mut cut = aggregator(&keeper);
    let other = aggregator(&spare);
    let mut away = network.worker(&first);
    let push = ["push", "--chunk-size", "16KiB", "--quiet", "in.txt"];
    let mut push = network.namespace.producer(&push);
    let committed = || {
        let jobs = store.list("jobs").unwrap();
        jobs.iter().any(|job| store.list(&format!("jobs/{job}/ledger/0000")).unwrap().len() > 1)
    };
    until("some commits", || (committed() || !push.lives()).then_some(()));
    assert!(push.lives(), "the job was over before anything could happen");
    keeper.cut_off();
    first.cut_off();
    let _worker = network.worker(&second);
    assert_eq!(push.ended().text(0), expected);
    assert!(cut.lives() && away.lives());
    // They come back, and are all that is left.
    keeper.connect();
    first.connect();
    other.kill();
    second.cut_off();
    let again = network.namespace.ask(&["push", "--quiet", "in.txt"]);
    assert_eq!(again.text(0), expected);
    assert!(cut.lives() && away.lives());
    second.connect();
}

#[test]
fn machines_with_a_shared_folder_are_cut_off_and_come_back() {
    let network = Network::default();
    let store = DirectoryStore::open(network.namespace.room.path("store"), Durability::Volatile).unwrap();
    survives_a_cut(&network, "store", &store, |_| Vec::new());
    fault(
        "machines are cut off",
        "the others end the job with the exact result; they come back and do the next one alone",
    );
}

#[test]
fn machines_with_a_bucket_are_cut_off_and_come_back() {
    let network = Network::default();
    let address = somewhere();
    let server = variable("AWS_ENDPOINT_URL");
    let server = server.strip_prefix("http://").unwrap().to_owned();
    let cables = std::cell::RefCell::new(Vec::new());
    survives_a_cut(&network, &address.to_string(), &opened(&address), |host| {
        let cable = Forwarder::at(host.neighbour(), server.clone()).unwrap();
        let url = format!("http://{}", cable.address());
        cables.borrow_mut().push(cable);
        vec![("AWS_ENDPOINT_URL".to_owned(), url)]
    });
    fault(
        "machines are cut off, from a bucket too",
        "the others end the job with the exact result; they come back and do the next one alone",
    );
}

/// How many chunks the worker on a machine says to have mapped.
fn chunks(host: &Host) -> u64 {
    let mut ask = Command::new("bash");
    let request =
        "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /metrics HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3";
    let told = host.command(ask.args(["-c", request])).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("rabbit_reduce_worker_chunks_total "));
    line.unwrap_or_else(|| panic!("no chunks in {told}")).trim().parse().unwrap()
}

#[test]
fn a_worker_on_a_slow_link_does_what_it_can_and_others_the_rest() {
    let network = Network::default();
    let expected = network.namespace.input(LINES);
    let [slow, fast] = [(); 2].map(|()| Host::default());
    slow.slow_down(SLOW);
    let _aggregator = network.namespace.aggregator();
    let served = ["--threads", "1", "--http", "127.0.0.1:8080"];
    let mut workers = [&slow, &fast].map(|host| network.start(host, "worker", &served, &[]));
    workers.iter_mut().for_each(|worker| drop(worker.says("working")));
    let push = network.namespace.ask(&["push", "--chunk-size", "16KiB", "--quiet", "in.txt"]);
    assert_eq!(push.text(0), expected);
    assert!(workers.iter_mut().all(Running::lives));
    let [little, much] = [&slow, &fast].map(chunks);
    assert!(little > 0 && much > little, "they mapped {little} and {much} chunks");
    fault("a link is slow", "the worker behind it does a part, others the rest; the result is exact");
}
