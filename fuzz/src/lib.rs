//! Every decoder, against any bytes: what it must do with them, as functions that panic where it does not.
//!
//! It knows no fuzzer: `fuzz_targets/any.rs` feeds these functions with bytes that a fuzzer makes, and `tests/tests/corpus.rs` with
//! those that were kept. What would surprise: a decoder that refuses is as good as one that reads; what is looked for is panics,
//! memory that grows past what came, and two ways to read the same bytes that do not agree.

mod frames;
mod inputs;
mod ledgers;
mod letters;
mod messages;
mod programs;

/// A decoder and its name, which is that of its folder in `fuzz/corpus`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Panics if the decoder does something wrong with these bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 17] = [
    Target { name: "message", run: messages::any },
    Target { name: "header", run: messages::header },
    Target { name: "frame", run: frames::frame },
    Target { name: "pairs", run: inputs::pairs },
    Target { name: "run", run: inputs::run },
    Target { name: "key", run: inputs::key },
    Target { name: "varint", run: inputs::varint },
    Target { name: "decimal", run: inputs::decimal },
    Target { name: "spec", run: ledgers::spec },
    Target { name: "sources", run: ledgers::sources },
    Target { name: "ledger", run: ledgers::ledger },
    Target { name: "end", run: letters::end },
    Target { name: "letter", run: letters::letter },
    Target { name: "note", run: letters::note },
    Target { name: "rows", run: programs::rows },
    Target { name: "foreign", run: programs::foreign },
    Target { name: "chunks", run: programs::chunks },
];

/// The decoder of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
