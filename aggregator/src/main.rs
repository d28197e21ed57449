//! The aggregator's process.

use clap::Parser;
use rabbit_reduce_aggregator::cli::Cli;
use rabbit_reduce_runtime::process::start;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let logs = cli.logs.clone();
    start::run(&logs, |shutdown| cli.work(shutdown))
}
