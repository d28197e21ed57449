//! The producer's process.

use clap::Parser;
use rabbit_reduce_producer::cli::Cli;
use rabbit_reduce_producer::{execute, shown};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::{complain, start};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let logs = cli.log().clone();
    match cli.into_command() {
        Ok(command) => start::run(&logs, |shutdown| execute(command, logs.quiet, shutdown)),
        Err(error) => {
            complain(&shown::one_line(&error));
            Exit::Usage.into()
        }
    }
}
