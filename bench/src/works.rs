//! The work that is measured: which input, who does it beside us, and what the goal is.
//!
//! Runs nothing. What would surprise: peers that are not installed are left out, and that is said.

use crate::Programs;
use crate::contest::{Contender, Goal};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One line of the table.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// The first of them is ours, or what ours is measured by.
    pub(crate) contenders: Vec<Contender>,
    pub(crate) through_broker: bool,
}

/// What the works are made from.
pub(crate) struct Given<'g> {
    pub(crate) programs: &'g Programs,
    pub(crate) inputs: &'g Path,
    pub(crate) peers: &'g Path,
    pub(crate) namespace: Option<&'g str>,
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

fn contender(name: &str, program: PathBuf, arguments: &str) -> Contender {
    let mut command = vec![program.into_os_string()];
    command.extend(words(arguments));
    Contender { name: name.to_owned(), command, goal: None }
}

impl Given<'_> {
    fn ours(&self, name: &str, arguments: &str) -> Contender {
        let mut ours = self.program(name, "producer", arguments);
        if let Some(namespace) = self.namespace.filter(|_| arguments.starts_with("push")) {
            ours.command.extend(words(&format!("--namespace {namespace}")));
        }
        ours
    }

    fn program(&self, name: &str, program: &str, arguments: &str) -> Contender {
        contender(name, self.programs.of(program), arguments)
    }

    fn peer(&self, name: &str, script: &str, arguments: &str) -> Contender {
        let mut peer = contender(name, "python3".into(), arguments);
        peer.command.insert(1, self.peers.join(script).into_os_string());
        peer
    }

    /// A mapper and a reducer in Python.
    fn streaming(&self, name: &str, input: &str) -> Contender {
        let mut streaming = self.ours(name, &format!("run -o /dev/null {input}"));
        for (flag, script) in [("--mapper", "word_totals.py"), ("--reducer", "sum_totals.py")] {
            let command = format!("python3 '{}'", self.peers.join(script).display());
            streaming.command.extend([flag.into(), command.into()]);
        }
        streaming
    }

    /// A module that `scripts/guests` has built.
    fn module(&self, name: &str, module: &str, input: &str) -> Contender {
        let mut ours = self.ours(name, &format!("run -o /dev/null {input}"));
        let module = self.programs.of("guests").join(format!("{module}.wasm"));
        ours.command.extend(["--program".into(), module.into_os_string()]);
        ours
    }

    /// All of the works.
    pub(crate) fn works(&self) -> Vec<Work> {
        let natural = "--lowercase --top 20 kjv100.txt";
        let tenfold = format!("--lowercase --top 20{}", " kjv100.txt".repeat(10));
        let local = |name, what, contenders| Work { name, what, contenders, through_broker: false };
        let remote = |name, what, contenders| Work { name, what, contenders, through_broker: true };
        vec![
            local(
                "words",
                "20 most common words of 430 MB of natural text",
                vec![
                    self.ours("run", &format!("run {natural}")),
                    self.program("floor: two threads that only count", "floor", "kjv100.txt").goal(Goal::AtLeast(0.5)),
                    self.peer("Polars", "polars_count.py", "kjv100.txt").goal(Goal::AtLeast(8.0)),
                    self.peer("DuckDB", "duckdb_count.py", "kjv100.txt").goal(Goal::AtLeast(12.0)),
                ],
            ),
            remote(
                "broker",
                "the same through RabbitMQ, by value, one worker and one aggregator",
                vec![
                    self.ours("push", &format!("push {natural}")),
                    self.program("transit of the same bytes", "transit", "7340032 429823900").goal(Goal::AtLeast(0.6)),
                    self.peer("Polars, without a broker", "polars_count.py", "kjv100.txt").goal(Goal::AtLeast(3.0)),
                ],
            ),
            remote(
                "reference",
                "4.3 GB through RabbitMQ by reference, beside one process",
                vec![
                    self.ours("push --by reference", &format!("push --by reference {tenfold}")),
                    self.ours("run", &format!("run {tenfold}")).goal(Goal::AtLeast(0.75)),
                ],
            ),
            local(
                "distinct",
                "all words of 1.2 GB with 11.6 million distinct ones, sorted, to a file",
                vec![
                    self.ours("run", "run --lowercase -o /dev/null linux.txt"),
                    self.ours("run --memory 256MiB", "run --memory 256MiB --lowercase -o /dev/null linux.txt")
                        .goal(Goal::AtMost(2.0)),
                    self.peer("Polars", "polars_count.py", "linux.txt /dev/null").goal(Goal::AtLeast(2.0)),
                ],
            ),
            local(
                "files",
                "words of 80,000 small files",
                vec![
                    self.ours("run", "run -o /dev/null linux"),
                    self.peer("two Python processes", "pool_count.py", "linux count").goal(Goal::AtLeast(5.0)),
                ],
            ),
            local(
                "index",
                "which of 80,000 small files every word is in",
                vec![
                    self.ours("run", "run --job index -o /dev/null linux"),
                    self.peer("two Python processes", "pool_count.py", "linux index").goal(Goal::AtLeast(5.0)),
                ],
            ),
            local(
                "program",
                "words of 430 MB, built in, and by a program of one's own in Rust",
                vec![
                    self.ours("word-count", "run --top 20 kjv100.txt"),
                    self.program(
                        "a program in Rust",
                        "rabbit-examples",
                        "producer run --job words --top 20 kjv100.txt",
                    )
                    .goal(Goal::AtMost(1.0 / 0.6)),
                ],
            ),
            local(
                "module",
                "words of 430 MB, built in, and by modules of WebAssembly",
                vec![
                    self.ours("word-count", "run -o /dev/null kjv100.txt"),
                    self.module("a module from Rust", "word_count", "kjv100.txt").goal(Goal::AtMost(4.0)),
                    self.module("a module from C", "word_count.c", "kjv100.txt").goal(Goal::AtMost(4.0)),
                ],
            ),
            local(
                "command",
                "words of 430 MB by commands in Python, and by the same in a shell",
                vec![
                    self.streaming("commands", "kjv100.txt"),
                    contender("the commands alone", self.peers.join("commands_alone.sh"), "kjv100.txt")
                        .goal(Goal::AtLeast(1.0 / 1.2)),
                ],
            ),
            local("tiny", "12 bytes, from start to result", vec![self.ours("run", "run tiny.txt")]),
            remote(
                "tiny-broker",
                "12 bytes through RabbitMQ, syncs of the store included",
                vec![self.ours("push", "push tiny.txt")],
            ),
            local(
                "tenfold",
                "ten times the input",
                vec![
                    self.ours("run on 43 MB", "run --lowercase --top 20 kjv10.txt"),
                    self.ours("run on 430 MB", &format!("run {natural}")).goal(Goal::AtMost(10.5)),
                ],
            ),
            local(
                "cliffs",
                "200 MB each: natural text, then what could be a cliff",
                vec![
                    self.ours("natural text", "run -o /dev/null kjv200.txt"),
                    self.ours("random keys of 64 characters", "run -o /dev/null random.txt"),
                    self.ours("one key only", "run -o /dev/null same.txt"),
                    self.ours("one line", "run -o /dev/null line.txt"),
                    self.ours("one token without an end", "run --job count -o /dev/null token.txt"),
                ],
            ),
            local(
                "many",
                "a million files of one line each in one folder",
                vec![self.ours("run", "run -o /dev/null many")],
            ),
        ]
    }
}

impl Contender {
    fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Whether what it needs is installed; else how to get it.
    pub(crate) fn missing(&self) -> Option<String> {
        let script = self.command.get(1).map(PathBuf::from)?;
        let module = script.file_name()?.to_str()?.strip_suffix("_count.py")?;
        if module == "pool" {
            return None;
        }
        let asked = Command::new("python3").args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
        let found = asked.is_ok_and(|status| status.success());
        (!found).then(|| format!("{} is not installed: pip install {module}", self.name))
    }
}
