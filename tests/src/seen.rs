//! One line for each fault that a test has injected: what it was, and what was seen.
//!
//! What would surprise: the line is written past the capture of the test harness, so that it is seen of tests that pass.

use std::io::Write;

/// Tells of a fault. `fault` is its name in `docs/faults.md`; `result` is what the test has checked to be so.
pub fn fault(fault: &str, result: &str) {
    // A test does not fail because nobody reads what it says.
    drop(writeln!(std::io::stderr(), "fault: {fault}: {result}"));
}
