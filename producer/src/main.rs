//! The producer's process.

use rabbit_reduce_core::program::Programs;
use rabbit_reduce_producer::main_with;
use std::process::ExitCode;

fn main() -> ExitCode {
    main_with(Programs::built_in(), std::env::args_os())
}
