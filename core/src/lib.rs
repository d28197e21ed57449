//! The pure half of rabbit-reduce: programs, splitting, codecs, the ledger, merging.
//!
//! Nothing here is asynchronous, opens a socket or reads a clock: time, randomness and input are arguments. The other crates
//! interpret what this one decides.
#![warn(missing_docs)]

pub mod boundary;
pub mod counting;
pub mod decimal;
pub mod grouping;
pub mod id;
pub mod job;
pub mod jobs;
pub mod key;
pub mod ledger;
pub mod lines;
pub mod local;
pub mod map;
pub mod map_reduce;
pub mod merge;
pub mod message;
pub mod mistake;
pub mod nearest;
pub mod ordered;
pub mod output;
pub mod pairs;
pub mod partition;
pub mod parts;
pub mod permissions;
pub mod postings;
pub mod program;
pub mod records;
pub mod rows;
pub mod run;
pub mod selection;
pub mod shipped;
pub mod short;
pub mod skip;
mod spaces;
pub mod spec;
pub mod split;
pub mod table;
pub mod text;
pub mod tokens;
pub mod topology;
