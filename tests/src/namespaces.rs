//! A namespace on a real broker for one test: the roles as processes, on one store, gone when the test ends.
//!
//! It knows no test. What would surprise: it is torn down by `producer teardown` itself; processes that were started in it
//! must be dropped before it, as those declared after it are.

use crate::processes::{Outcome, Room, Running, counted, words};
use crate::rabbit;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

/// The namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Where its processes work.
    pub room: Room,
    /// What it is called.
    pub name: String,
    /// What else its processes find in their environment, by name.
    pub settings: BTreeMap<&'static str, String>,
    url: String,
}

impl Default for Namespace {
    fn default() -> Self {
        Self::at(rabbit())
    }
}

impl Namespace {
    /// A namespace on the broker of this URL.
    #[must_use]
    pub fn at(url: String) -> Self {
        let (room, name) = (Room::default(), format!("test-{}", Uuid::new_v4().simple()));
        Self { room, name, settings: BTreeMap::new(), url }
    }

    /// From now on processes find the broker at this URL.
    pub fn reach_by(&mut self, url: String) {
        self.url = url;
    }

    /// A command that finds the broker and the namespace in its environment.
    #[must_use]
    pub fn command(&self, name: &str, args: &[&str]) -> Command {
        self.with_environment(self.room.command(name), args)
    }

    /// The same of any program.
    #[must_use]
    pub fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        self.with_environment(self.room.command_of(program), args)
    }

    fn with_environment(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).env("AMQP_URL", &self.url).env("RABBIT_REDUCE_NAMESPACE", &self.name);
        // What `resume` takes and `worker` needs is the same in every test.
        command.env("RABBIT_REDUCE_MEMORY", "300MiB").envs(&self.settings);
        command
    }

    /// Starts a producer.
    #[must_use]
    pub fn producer(&self, args: &[&str]) -> Running {
        Running::start(&mut self.command("producer", args))
    }

    /// Runs a producer to its end.
    #[must_use]
    pub fn ask(&self, args: &[&str]) -> Outcome {
        self.producer(args).ended()
    }

    /// Starts a worker, which maps one chunk at a time and may read the room.
    #[must_use]
    pub fn worker(&self, args: &[&str]) -> Running {
        let mut command = self.command("worker", &["--threads", "1", "--input-root", "."]);
        Running::start(command.args(args))
    }

    /// Starts an aggregator on the store `store` in the room.
    #[must_use]
    pub fn aggregator(&self) -> Running {
        Running::start(&mut self.command("aggregator", &["--store", "store", "--threads", "2"]))
    }

    /// Writes so many lines of input, and tells what they count to.
    #[must_use]
    pub fn input(&self, lines: usize) -> String {
        let text = words(lines);
        self.room.write("in.txt", &text);
        counted(&text)
    }

    /// The files of the store, by their paths beneath `jobs/JOB`, of every job.
    #[must_use]
    pub fn stored(&self, kind: &str) -> usize {
        let jobs = std::fs::read_dir(self.room.path("store/jobs")).into_iter().flatten().flatten();
        jobs.map(|job| files_beneath(job.path().join(kind))).sum()
    }
}

fn files_beneath(folder: PathBuf) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_beneath(entry.path()) } else { 1 }).sum()
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let torn_down = self.command("producer", &["teardown", "--yes"]).output();
        let said = match torn_down {
            Ok(ended) if ended.status.success() => return,
            Ok(ended) => String::from_utf8_lossy(&ended.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        // A second panic would hide the first.
        assert!(std::thread::panicking(), "the namespace {} is left behind: {said}", self.name);
    }
}
