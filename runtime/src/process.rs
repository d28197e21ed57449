//! The process around a role: how it is told to start, to speak, to stop, and how it ends.
//!
//! It knows no role, broker or store. What would surprise: nothing here ends the process; only a `main` does, with an
//! [`exit::Exit`].

pub mod args;
pub mod byte_size;
pub mod clock;
pub mod exit;
pub mod files;
pub mod log;
pub mod memory;
pub mod shutdown;
