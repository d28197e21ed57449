//! The half of rabbit-reduce that touches the world but is no role: brokers, stores, the process.
#![warn(missing_docs)]

pub mod broker;
pub mod client;
pub mod command;
pub mod crash_point;
pub mod figures;
pub mod http;
pub mod module;
pub mod packed;
pub mod private;
pub mod process;
pub mod publishing;
pub mod reader;
mod reduced;
pub mod remote_part;
pub mod scratch;
pub mod shipped;
pub mod shown;
pub mod stamp;
pub mod standing;
pub mod store;

pub use rabbit_reduce_core::mistake;
