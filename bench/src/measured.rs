//! A command measured as a whole process: wall time, processor time, the most memory it had.
//!
//! What would surprise: each run is started by a process of its own, this program again, because the system tells of the most
//! memory of all children together, and so has to be asked where there is one child only.

use nix::sys::resource::{UsageWho, getrusage};
use rabbit_reduce_runtime::process::clock;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What one run took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_bytes: u64,
}

/// Runs a command whose output nobody wants, and writes its figures to `report`.
pub(crate) fn measure(command: &[OsString], report: &Path) -> io::Result<()> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let began = clock::instant();
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let wall_s = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err(io::Error::other(format!("{} ended with {status}", program.display())));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu_s = seconds(usage.user_time()) + seconds(usage.system_time());
    let peak_bytes = u64::try_from(usage.max_rss()).unwrap_or(0) * 1024;
    std::fs::write(report, serde_json::to_vec(&Figures { wall_s, cpu_s, peak_bytes })?)
}

/// The same in a process of its own. What the command says on stderr is shown only if it fails.
pub(crate) fn measure_apart(command: &[OsString], folder: &Path) -> io::Result<Figures> {
    let report = tempfile::NamedTempFile::new()?;
    let ran = Command::new(std::env::current_exe()?)
        .current_dir(folder)
        .arg("measure")
        .arg(report.path())
        .args(command)
        .stdin(Stdio::null())
        .output()?;
    if !ran.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&ran.stderr).into_owned()));
    }
    Ok(serde_json::from_slice(&std::fs::read(report.path())?)?)
}
