//! The tour, typed as a reader would: every command, in order, against a real broker, and what it shows compared with the page.
//!
//! What would surprise: an aggregator or worker of the page runs on beside the rest, as in a terminal of its own; and what other
//! programs do (Docker, cargo) has been done by whoever runs the tests.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "the tests of the pages use the rest")]
#[path = "docs/markdown.rs"]
mod markdown;

use markdown::{Block, Page};
use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::{Outcome, Running};
use std::path::Path;

/// What stands for anything.
const ANY: &str = "…";

/// Whether a line is what the page shows.
fn fits(shown: &str, line: &str) -> bool {
    let mut parts = shown.split(ANY).map(str::trim);
    let Some(mut rest) = parts.next().and_then(|first| line.trim().strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        (rest, last) = (&rest[at + part.len()..], Some(part));
    }
    // Behind a last `…` anything may follow.
    last == Some("") || rest.trim().is_empty()
}

/// Whether lines are what the page shows; a line that is nothing but `…` stands for any number of them.
fn all_fit(shown: &[&str], lines: &[&str]) -> bool {
    match (shown, lines) {
        ([], lines) => lines.is_empty(),
        ([first, rest @ ..], lines) if first.trim() == ANY => {
            (0..=lines.len()).any(|passed| all_fit(rest, &lines[passed..]))
        }
        ([first, rest @ ..], [line, lines @ ..]) => fits(first, line) && all_fit(rest, lines),
        (_, []) => false,
    }
}

#[test]
fn the_comparison_tells_what_fits_from_what_does_not() {
    assert!(fits("a … c", "a b c") && fits("… c", "b c") && fits("a …", "a b c") && fits("a", "a"));
    assert!(!fits("a … c", "a b d") && !fits("a", "a b") && !fits("b …", "a b"));
    assert!(all_fit(&["…", "z"], &["x", "y", "z"]) && all_fit(&["a"], &["a"]) && all_fit(&["…"], &[]));
    assert!(!all_fit(&["a"], &["a", "b"]) && !all_fit(&["a", "b"], &["a"]) && !all_fit(&[], &["a"]));
}

/// The lines that a reader sees of it and the page shows: all of the answer, and then what is wrong or lost.
fn seen(outcome: &Outcome) -> Vec<String> {
    let told = outcome.stderr.lines().filter(|line| line.starts_with("lost: ") || line.starts_with("error: "));
    // `watch` tells nothing but how the job ended, and that on stderr.
    let ended = outcome.stderr.lines().filter(|line| line.starts_with("job ") && line.contains("done; "));
    let answer = String::from_utf8(outcome.stdout.clone()).unwrap();
    let answer: Vec<String> = answer.lines().map(str::to_owned).collect();
    if answer.is_empty() {
        return told.chain(ended).map(str::to_owned).collect();
    }
    answer.into_iter().chain(told.map(str::to_owned)).collect()
}

struct Tour {
    namespace: Namespace,
    beside: Vec<Running>,
    commands: usize,
    stopped: usize,
}

impl Tour {
    /// Runs a command of ours to its end; one that has none goes on beside.
    fn run(&mut self, line: &str) -> Option<Outcome> {
        let words = markdown::pipeline(line).unwrap().remove(0);
        let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        match words[0].as_str() {
            "aggregator" | "worker" => {
                let mut running = Running::start(&mut self.namespace.command(&words[0], &args));
                running.says(if words[0] == "worker" { "working" } else { "aggregating" });
                self.beside.push(running);
                None
            }
            "producer" => {
                self.commands += 1;
                // As the page says before.
                if args[0] == "teardown" {
                    self.stop();
                }
                Some(Running::start(&mut self.namespace.command("producer", &args)).ended())
            }
            "cargo" | "export" | "docker" => None,
            other => panic!("the tour has a command that this test does not know: {other}"),
        }
    }

    /// Ctrl-C, wherever somebody runs beside.
    fn stop(&mut self) {
        self.stopped += self.beside.len();
        for running in self.beside.drain(..) {
            running.signal("INT");
            assert_eq!(running.ended().code, Some(0), "it is done with what it was at");
        }
    }

    fn block(&mut self, block: &Block) {
        match block.kind.split_once(' ').unwrap_or((block.kind.as_str(), "")) {
            ("text", name) if !name.is_empty() => drop(self.namespace.room.write(name, &block.text)),
            ("sh", _) => {
                for line in block.text.lines() {
                    if let Some(outcome) = self.run(line) {
                        assert_eq!(outcome.code, Some(0), "{line}: {}", outcome.stderr);
                    }
                }
            }
            ("console", _) => {
                let mut lines = block.text.lines().peekable();
                while let Some(line) = lines.next() {
                    let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}"));
                    let mut shown = Vec::new();
                    while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                        shown.push(line);
                    }
                    let outcome = self.run(command).expect("it shows something");
                    let seen = seen(&outcome);
                    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
                    let (wanted, found) = (shown.join("\n"), seen.join("\n"));
                    assert!(
                        all_fit(&shown, &seen),
                        "`{command}` shows\n{found}\nand on stderr\n{}\nbut the page shows\n{wanted}",
                        outcome.stderr
                    );
                }
            }
            (kind, _) => panic!("the tour has a block that this test does not know: {kind}"),
        }
    }
}

#[test]
fn everything_on_the_tour_is_as_the_page_shows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = Page::read(root, "docs/tour.md".into());
    let mut tour = Tour { namespace: Namespace::default(), beside: Vec::new(), commands: 0, stopped: 0 };
    for block in page.blocks() {
        tour.block(&block);
    }
    assert!(tour.commands > 15, "only {} commands were run", tour.commands);
    assert_eq!((tour.stopped, tour.beside.len()), (3, 0));
}
