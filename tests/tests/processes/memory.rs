//! `--memory` is what a role takes, held by the system: past a hard limit somewhat above it an allocation fails, and the process
//! with it.
//!
//! The input is the worst for a word count: no word comes twice. What would surprise: the limit is on memory that is written to
//! (`RLIMIT_DATA`), stacks of threads and buffers of the client library included; `--memory` is not about the program itself.

use rabbit_reduce_tests::dice::Dice;
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::Running;
use rabbit_reduce_tests::seen;
use std::process::Command;

const WORDS: u64 = 2_000_000;
const MEBI: u64 = 1 << 20;
/// What a process may take beside its `--memory`: its stacks, its connections, and the program.
const BESIDE: u64 = 100 * MEBI;

/// So many words of 63 letters, each of them once, and what they count to.
fn distinct_words(namespace: &Namespace) -> String {
    let dice = Dice::new(11);
    let mut words: Vec<String> = (0..WORDS)
        .map(|number| {
            let [first, second, third] = [dice.throw(), dice.throw(), dice.throw()];
            format!("{first:016x}{second:016x}{third:016x}{number:015x}")
        })
        .collect();
    namespace.room.write("in.txt", words.join("\n"));
    words.sort_unstable();
    words.into_iter().map(|word| word + "\t1\n").collect()
}

fn limit(process: &Running, bytes: u64) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process.id().to_string(), &format!("--data={bytes}")]);
    assert!(prlimit.status().expect("util-linux has prlimit").success());
}

#[test]
fn every_role_keeps_to_its_memory_where_no_word_comes_twice() {
    let namespace = Namespace::default();
    let expected = distinct_words(&namespace);

    let alone = namespace.producer(&["run", "--memory", "128MiB", "-o", "run.tsv", "in.txt"]);
    limit(&alone, 128 * MEBI + BESIDE);
    let alone = alone.ended();
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    assert!(std::fs::read_to_string(namespace.room.path("run.tsv")).unwrap() == expected, "`run` differs");

    // The memory of these is 300 MiB, see the namespace.
    let (aggregator, worker) = (namespace.aggregator(), namespace.worker(&[]));
    for process in [&aggregator, &worker] {
        limit(process, 300 * MEBI + BESIDE);
    }
    let push = namespace.producer(&["push", "-o", "push.tsv", "in.txt"]);
    limit(&push, 300 * MEBI);
    let push = push.ended();
    assert_eq!(push.code, Some(0), "{}", push.stderr);
    assert!(std::fs::read_to_string(namespace.room.path("push.tsv")).unwrap() == expected, "`push` differs");
    seen::fault("two million words, each of them once", "every role stays below a hard limit of memory, answers exact");
}
