//! Lives through seeds of the simulation, and says which do not end well.
//!
//! `cargo run -p rabbit-reduce-tests --example simulate -- --seeds 10000` for many, `--seed 17 --trace` for all that happens in
//! one. `--mistake CountTwice` has the code err on purpose.

use clap::Parser;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_tests::simulation::{Case, many};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
struct Flags {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so many that do not end well.
    #[arg(long, default_value_t = 10)]
    enough: usize,
    /// Have this mistake made.
    #[arg(long, value_parser = mistake)]
    mistake: Option<Mistake>,
    /// This seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print what happens.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn mistake(name: &str) -> Result<Mistake, String> {
    let found = mistake::ALL.into_iter().find(|mistake| format!("{mistake:?}") == name);
    found.ok_or_else(|| format!("there are {:?}", mistake::ALL))
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime of one thread")
}

#[expect(clippy::print_stdout, reason = "it is a command")]
fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(seed) = flags.seed {
        let told = Case { kept: flags.trace, mistake: flags.mistake, ..Case::of(seed) }.run(paused);
        told.lines.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {} events, trace {:016x}", told.events, told.hash);
        told.wrong.iter().for_each(|wrong| println!("wrong: {wrong}"));
        return if told.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    #[expect(clippy::disallowed_methods, reason = "the speed is told to people")]
    let began = Instant::now();
    let many = many::live(flags.from..flags.from + flags.seeds, flags.mistake, flags.enough, paused);
    let rate = many.lived as f64 / began.elapsed().as_secs_f64();
    for (seed, told) in &many.failing {
        println!("seed {seed} fails: {}", told.wrong.join("; "));
        println!("  look at it with: {}", many::replay(*seed));
    }
    println!("{:?}", many.faults);
    println!("{} seeds, {rate:.0} a second, {} failing", many.lived, many.failing.len());
    if many.failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
