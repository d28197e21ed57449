//! The worker's process.

use clap::Parser;
use rabbit_reduce_runtime::process::start;
use rabbit_reduce_worker::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let logs = cli.logs.clone();
    start::run(&logs, |shutdown| cli.work(shutdown))
}
