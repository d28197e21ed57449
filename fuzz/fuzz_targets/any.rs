//! The engine: it makes bytes and watches where they lead.
//!
//! One binary for all decoders, since each links the same library; the variable names the one to be fuzzed. See `scripts/fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rabbit_reduce_fuzz::Target;
use std::sync::LazyLock;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("RABBIT_REDUCE_FUZZ_TARGET").expect("RABBIT_REDUCE_FUZZ_TARGET names a decoder");
    rabbit_reduce_fuzz::target(&name).unwrap_or_else(|| panic!("there is no decoder {name}"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
