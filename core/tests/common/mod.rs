//! What tests of the core share: input, jobs, and a whole job in one thread.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod cluster;
mod inputs;

#[allow(unused_imports, reason = "every test binary uses a part of it")]
pub(crate) use inputs::*;
