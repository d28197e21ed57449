//! A worker and an aggregator for the benchmarks through RabbitMQ, in a namespace of their own.
//!
//! They are asked to stop when this is dropped, and the namespace goes.

use crate::Programs;
use crate::processes::{Used, used_by};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What the roles have used.
pub(crate) struct BothUsed {
    pub(crate) aggregator: Used,
    pub(crate) worker: Used,
}

/// The roles at work.
pub(crate) struct Roles {
    programs: Programs,
    namespace: String,
    store: tempfile::TempDir,
    processes: Vec<(&'static str, Child)>,
}

impl Roles {
    /// Starts them, the aggregator with these flags. By-reference input may lie below `inputs`.
    pub(crate) fn start(programs: &Programs, inputs: &Path, flags: &[&str]) -> io::Result<Self> {
        let namespace = format!("bench-{}", std::process::id());
        let store = tempfile::tempdir()?;
        let mut roles = Self { programs: programs.clone(), namespace, store, processes: Vec::new() };
        let mut aggregator = roles.program("aggregator");
        aggregator.arg("--store").arg(roles.store.path()).args(flags);
        let mut worker = roles.program("worker");
        worker.arg("--input-root").arg(inputs);
        for (role, mut command) in [("aggregator", aggregator), ("worker", worker)] {
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            roles.processes.push((role, child));
        }
        Ok(roles)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.of(name));
        command.env("RABBIT_REDUCE_NAMESPACE", &self.namespace);
        command
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn store(&self) -> &Path {
        self.store.path()
    }

    /// What each has used so far.
    pub(crate) fn used(&self) -> io::Result<BothUsed> {
        let [(_, aggregator), (_, worker)] = &self.processes[..] else { return Err(io::ErrorKind::NotFound.into()) };
        Ok(BothUsed { aggregator: used_by(aggregator.id())?, worker: used_by(worker.id())? })
    }

    /// The most memory that each had, in bytes.
    pub(crate) fn peaks(&self) -> io::Result<Vec<(&'static str, u64)>> {
        let peak = |(role, child): &(&'static str, Child)| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
            let kib =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            Ok((*role, kib.unwrap_or(0_u64) * 1024))
        };
        self.processes.iter().map(peak).collect()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            let id = i32::try_from(child.id()).expect("process numbers are small");
            // One that is gone already needs no signal.
            let _asked = kill(Pid::from_raw(id), Signal::SIGTERM);
            drop(child.wait());
        }
        drop(self.program("producer").args(["teardown", "--yes"]).stderr(Stdio::null()).status());
    }
}
