//! Input that kills whoever maps it: it is found out alone, in a process of its own, and nothing healthy is lost with it.

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Running, until};
use rabbit_reduce_tests::seen;

/// What kills: a number, too.
const DEADLY: &str = "31337";

/// What a push printed, what it said, and how many workers died of its input.
struct Pushed {
    rows: String,
    said: String,
    died: usize,
}

/// Pushes with a worker that dies of deadly input, and a new one whenever it does.
fn push(namespace: &Namespace, args: &[&str]) -> Pushed {
    let worker = || {
        let mut command = namespace.command("worker", &["--threads", "2", "--input-root", "."]);
        Running::start(command.env("RABBIT_REDUCE_POISON", DEADLY))
    };
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(args);
    let (mut alive, mut died) = (worker(), 0);
    until("the end of the job", || {
        if !alive.lives() {
            died += 1;
            alive = worker();
        }
        (!push.lives()).then_some(())
    });
    assert!(alive.lives());
    let ended = push.ended();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    Pushed { rows: String::from_utf8(ended.stdout).expect("the input is text"), said: ended.stderr, died }
}

#[test]
fn a_record_that_kills_its_workers_is_left_out_and_nothing_else() {
    let namespace = Namespace::default();
    let (before, after) = ("1 2 3\n".repeat(5000), "4 5 6\n".repeat(5000));
    namespace.room.write("in.txt", format!("{before}{DEADLY} {after}"));
    let Pushed { rows, said, died } = push(&namespace, &["push", "--job", "sum", "--chunk-size", "4KiB", "in.txt"]);
    assert_eq!(rows, "count\t30000\nsum\t105000\nmin\t1\nmax\t6\nmean\t3.5\n");
    assert!(said.contains(&format!("in.txt, byte {}", before.len())), "{said}");
    assert!(said.contains("3 processes died with it, alone") && said.matches("lost: ").count() == 1, "{said}");
    assert!((1..=3).contains(&died), "{died} workers died of it");
    seen::fault("a record kills who maps it", "it alone is lost, after three deaths in processes of its own");
}

/// Whose fault was not the record's: the next release of the program maps it.
#[test]
fn a_record_that_killed_one_worker_is_counted_by_another_once_it_is_sent_again() {
    let namespace = Namespace::default();
    namespace.room.write("in.txt", format!("{}{DEADLY} {}", "1 2 3\n".repeat(2000), "4 5 6\n".repeat(2000)));
    let args = ["push", "--job", "sum", "--chunk-size", "4KiB", "--partitions", "3", "in.txt"];
    let Pushed { rows, said, .. } = push(&namespace, &args);
    assert!(rows.contains("sum\t42000\n") && said.contains("3 processes died with it, alone"), "{said}");
    let (_aggregator, _healthy) = (namespace.aggregator(), namespace.worker(&[]));
    let again = namespace.ask(&["dead", "retry", "@"]);
    assert_eq!(again.text(0), "");
    assert!(again.stderr.contains("1 record put back: 1 counted; result version 2\n"), "{}", again.stderr);
    let whole = namespace.ask(&["results"]).text(0);
    assert_eq!(whole, namespace.ask(&["run", "--job", "sum", "in.txt"]).text(0));
    assert!(whole.contains("sum\t73337\n") && whole.contains("max\t31337\n"), "{whole}");
    assert!(namespace.ask(&["status"]).text(0).contains("losses      0\n"));
    seen::fault(
        "a record that killed one worker is sent again to another",
        "counted once, in a new version of the result",
    );
}

#[test]
fn a_chunk_that_kills_its_workers_is_lost_and_its_neighbours_are_counted() {
    const WORDS: usize = 8000;
    const POISONED: usize = 5000;
    let namespace = Namespace::default();
    let word = |number: usize| if number == POISONED { DEADLY.to_owned() } else { format!("word{number:06}") };
    namespace.room.write("in.txt", (0..WORDS).map(|number| word(number) + " ").collect::<String>());
    let Pushed { rows, said, died } = push(&namespace, &["push", "--chunk-size", "4KiB", "in.txt"]);
    assert!(said.contains("lost: chunk ") && said.matches("lost: ").count() == 1, "{said}");
    let counted: Vec<usize> = (0..WORDS).filter(|number| rows.contains(&format!("{}\t1\n", word(*number)))).collect();
    let first = counted.iter().zip(0..).take_while(|(counted, number)| **counted == *number).count();
    let lost = WORDS - counted.len();
    assert_eq!(counted[first..], (first + lost..WORDS).collect::<Vec<_>>(), "one range is lost");
    assert!(
        (first..first + lost).contains(&POISONED) && lost <= 4096 / 11 + 1,
        "words {first} to {} are lost",
        first + lost
    );
    assert_eq!(rows.lines().count(), counted.len());
    assert!((1..=3).contains(&died), "{died} workers died of it");
    seen::fault("a chunk kills who maps it", "it alone is lost, after three deaths in processes of its own");
}
