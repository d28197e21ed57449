//! The command line as people and scripts meet it: the real binaries, their exit codes, and what they write where.
//!
//! No broker: what needs one is in `processes`. What would surprise: help texts are kept beside the tests in `help/`; with
//! UPDATE_HELP set they are written anew instead of compared.

mod config;
mod help;
mod inputs;
mod outputs;
mod records;
mod refusals;
mod signals;
