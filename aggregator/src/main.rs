//! The aggregator's process.

use rabbit_reduce_aggregator::cli;
use rabbit_reduce_core::program::Programs;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(Programs::built_in(), std::env::args_os())
}
