//! The worker's process.

use rabbit_reduce_core::program::Programs;
use rabbit_reduce_worker::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(Programs::built_in(), std::env::args_os())
}
