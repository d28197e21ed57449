//! Benchmarks: whole processes side by side, in one run, on real inputs.
//!
//! `bench [--inputs DIR] [--runs N] [--json FILE] [WORK…]`, `bench scale [--inputs DIR] [--json FILE]`. Works through RabbitMQ need `AMQP_URL` (`scripts/with-broker`).

mod contest;
mod inputs;
mod measured;
mod model;
mod processes;
mod roles;
mod scale;
mod works;

use crate::contest::{Goal, Score};
use crate::roles::Roles;
use crate::works::{Given, Work};
use clap::{Parser, Subcommand};
use rabbit_reduce_runtime::process::tell;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures rabbit-reduce side by side with what else a person could use.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Flags {
    #[command(subcommand)]
    inner: Option<Inner>,
    /// Where the inputs are
    #[arg(long, default_value = "inputs")]
    inputs: PathBuf,
    /// How often each contender runs, after once for warming up
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Also write all figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only these works
    works: Vec<String>,
}

#[derive(Subcommand)]
enum Inner {
    /// Measures what jobs of three sizes cost, beside what they should, and foretells larger ones
    Scale {
        /// Where the inputs are
        #[arg(long, default_value = "inputs")]
        inputs: PathBuf,
        /// Also write all figures to this file
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Runs one command and writes its figures
    #[command(hide = true)]
    Measure {
        report: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Where the programs are: beside this one.
#[derive(Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    pub(crate) fn of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

#[derive(Serialize)]
struct Measured {
    work: &'static str,
    what: &'static str,
    scores: Vec<Score>,
    /// Of the roles beside the producer, in bytes.
    peaks: Vec<(&'static str, u64)>,
    /// Who is not here, and how to get it.
    missing: Vec<String>,
}

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> io::Result<()> {
    let exe = std::env::current_exe()?;
    let programs = Programs(exe.parent().unwrap_or(Path::new(".")).to_owned());
    match flags.inner {
        Some(Inner::Measure { report, command }) => return measured::measure(&command, &report),
        Some(Inner::Scale { inputs, json }) => return scale::run(&programs, &prepared(&inputs)?, json.as_deref()),
        None => {}
    }
    let inputs = prepared(&flags.inputs)?;
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let given = Given { programs: &programs, inputs: &inputs, peers: &peers, namespace: None };
    let names: Vec<&str> = given.works().iter().map(|work| work.name).collect();
    if let Some(unknown) = flags.works.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(io::Error::other(format!("there is no work `{unknown}`; there are {}", names.join(", "))));
    }
    let mut all = Vec::new();
    for name in names.into_iter().filter(|name| flags.works.is_empty() || flags.works.iter().any(|one| one == name)) {
        if name == "many" {
            inputs::make_many(&inputs)?;
        }
        let measured = measure(&given, name, flags.runs)?;
        print(&measured)?;
        all.push(measured);
    }
    match flags.json {
        Some(path) => std::fs::write(path, serde_json::to_vec_pretty(&all)?),
        None => Ok(()),
    }
}

/// The folder of inputs, with everything in it that can be made.
fn prepared(folder: &Path) -> io::Result<PathBuf> {
    let inputs = folder.canonicalize().map_err(|error| {
        io::Error::other(format!("{}: {error}; --inputs says where the inputs are", folder.display()))
    })?;
    inputs::make(&inputs)?;
    Ok(inputs)
}

fn measure(given: &Given<'_>, name: &str, runs: usize) -> io::Result<Measured> {
    let work_of =
        |given: &Given<'_>| given.works().into_iter().find(|work| work.name == name).expect("it was asked for");
    let roles =
        if work_of(given).through_broker { Some(Roles::start(given.programs, given.inputs, &[])?) } else { None };
    let given = Given { namespace: roles.as_ref().map(Roles::namespace), ..*given };
    let Work { name, what, contenders, .. } = work_of(&given);
    let missing = contenders.iter().filter_map(|contender| contender.missing()).collect();
    let contenders: Vec<_> = contenders.into_iter().filter(|contender| contender.missing().is_none()).collect();
    let scores = contest::run(&contenders, runs, given.inputs)?;
    let peaks = roles.as_ref().map_or_else(|| Ok(Vec::new()), Roles::peaks)?;
    Ok(Measured { work: name, what, scores, peaks, missing })
}

fn print(measured: &Measured) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}: {}", measured.work, measured.what)?;
    writeln!(out, "{:<36} {:>9} {:>17} {:>8} {:>9}  ratio", "", "wall s", "from - to", "cpu s", "peak MiB")?;
    for score in &measured.scores {
        let (least, most) = score.range_s();
        let range = format!("{least:.3} - {most:.3}");
        let ratio = match score.ratio {
            Some(ratio) => format!("{ratio:.2}{}", score.goal.map_or(String::new(), |goal| told(goal, ratio))),
            None => "none: the runs scatter too much".to_owned(),
        };
        let (wall, cpu, peak) = (score.wall_s(), score.cpu_s(), score.peak_bytes() >> 20);
        writeln!(out, "{:<36} {wall:>9.3} {range:>17} {cpu:>8.2} {peak:>9}  {ratio}", score.name)?;
    }
    for (role, peak) in &measured.peaks {
        writeln!(out, "{role:<36} {:>9} {:>17} {:>8} {:>9}", "", "", "", peak >> 20)?;
    }
    measured.missing.iter().try_for_each(|missing| writeln!(out, "{missing}"))
}

fn told(goal: Goal, ratio: f64) -> String {
    let (bound, number) = match goal {
        Goal::AtLeast(number) => ("at least", number),
        Goal::AtMost(number) => ("at most", number),
    };
    format!(" (goal: {bound} {number}{})", if goal.is_reached(ratio) { "" } else { "; missed" })
}
