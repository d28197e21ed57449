//! Jobs through the broker, with nothing going wrong.

use rabbit_reduce_core::message::{self, Task};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_tests::home::connect;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::rabbit;
use rabbit_reduce_tests::wait::within;
use std::collections::BTreeSet;

#[test]
fn by_value_and_by_reference_the_answer_is_that_of_run() {
    let namespace = Namespace::default();
    let expected = namespace.input(20_000);
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    assert_eq!(namespace.ask(&["run", "in.txt"]).text(0), expected);
    for by in ["value", "reference"] {
        let outcome = namespace.ask(&["push", "--by", by, "--chunk-size", "128KiB", "in.txt"]);
        assert_eq!(outcome.text(0), expected, "by {by}");
        assert!(outcome.stderr.starts_with("job "), "{}", outcome.stderr);
    }
    let fed = Running::fed(&mut namespace.command("producer", &["push", "-"]), b"b a b").ended();
    assert_eq!(fed.text(0), "a\t1\nb\t2\n");
    let empty = namespace.ask(&["push", "--quiet", "/dev/null"]);
    assert_eq!((empty.text(0), empty.stderr.as_str()), (String::new(), ""));
}

#[test]
fn two_aggregators_and_four_workers_count_every_chunk_once() {
    let namespace = Namespace::default();
    let expected = namespace.input(40_000);
    let _aggregators = [namespace.aggregator(), namespace.aggregator()];
    let _workers = [(); 4].map(|()| namespace.worker(&[]));
    assert_eq!(namespace.ask(&["push", "--chunk-size", "64KiB", "in.txt"]).text(0), expected);
}

#[test]
fn losses_come_back_to_who_pushed() {
    let namespace = Namespace::default();
    namespace.room.write("n.txt", "1 two 3\n");
    let (_aggregator, _worker) = (namespace.aggregator(), namespace.worker(&[]));
    let outcome = namespace.ask(&["push", "--job", "sum", "n.txt"]);
    assert_eq!(outcome.text(3), "count\t2\nsum\t4\nmin\t1\nmax\t3\nmean\t2\n");
    assert!(outcome.stderr.contains("lost: n.txt, byte 2: `two` is no number"), "{}", outcome.stderr);
    let outcome = namespace.ask(&["push", "--job", "sum", "--max-losses", "0", "n.txt"]);
    outcome.refused(1, &["n.txt, byte 2", "--max-losses"]);
}

#[test]
fn a_file_that_workers_may_not_read_is_a_loss_that_says_what_to_do() {
    let namespace = Namespace::default();
    namespace.room.write("elsewhere/in.txt", "a b\n");
    std::fs::create_dir(namespace.room.path("root")).unwrap();
    let _aggregator = namespace.aggregator();
    let mut command = namespace.command("worker", &["--input-root", "root"]);
    let _worker = Running::start(&mut command);
    let outcome = namespace.ask(&["push", "--by", "reference", "elsewhere/in.txt"]);
    assert_eq!(outcome.text(3), "");
    for text in ["lost: chunk 0", "elsewhere/in.txt", "--input-root"] {
        assert!(outcome.stderr.contains(text), "`{text}` is not in {}", outcome.stderr);
    }
}

#[test]
fn packed_chunks_are_counted_and_what_is_lost_of_them_is_kept_as_it_was() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    let numbers = (0..20_000).map(|number| if number == 7000 { "seven\n".to_owned() } else { format!("{number}\n") });
    std::fs::write(namespace.room.path("in.txt"), numbers.collect::<String>()).expect("the room is ours");
    let args = ["push", "--detach", "--job", "sum", "--chunk-size", "32KiB", "in.txt"];
    let plain = namespace.ask(&args).text(0);
    let packed = namespace.ask(&[&args[..], &["--compress", "lz4"]].concat()).text(0);
    let versions = tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let broker = connect(&rabbit(), &namespace.name).await;
        let mut tasks = broker.consume("map", 100).await.expect("the queue exists");
        let mut versions = [plain.trim(), packed.trim()].map(|job| (job.to_owned(), BTreeSet::new()));
        for _ in 0..8 {
            let delivery = within("a task", tasks.next()).await.expect("the channel lives");
            let (task, _) = message::decode::<Task>(&delivery.body).expect("it is a task");
            let (_, seen) = versions.iter_mut().find(|(job, _)| *job == task.job.to_string()).expect("it is of ours");
            seen.insert(delivery.body[2]);
        }
        versions.map(|(_, seen)| Vec::from_iter(seen))
    });
    assert_eq!(versions, [[1], [3]]);
    let _worker = namespace.worker(&[]);
    let [plain, packed] = [plain, packed].map(|job| namespace.ask(&["resume", job.trim()]).text(3));
    assert_eq!(packed, plain);
    assert!(packed.contains(&(19_999 * 10_000 - 7000).to_string()), "{packed}");
    assert!(namespace.ask(&["dead", "show"]).text(0).contains("seven"));
    assert!(namespace.ask(&["dead", "export", "-o", "lost"]).code == Some(0));
    let record = std::fs::read_dir(namespace.room.path("lost/records")).expect("it is there").next().expect("one");
    assert_eq!(std::fs::read(record.expect("an entry").path()).expect("a file"), b"seven");
}
