//! One line for each fault that a test has injected: what it was, and what was seen.
//!
//! What would surprise: the line is written past the capture of the test harness, so that it is seen of tests that pass; and a
//! fault that has no row in `docs/faults.md` fails its test.

use std::io::Write;
use std::path::Path;

/// Tells of a fault. `fault` is its name in `docs/faults.md`; `result` is what the test has checked to be so.
///
/// # Panics
/// If it has no row there.
#[track_caller]
pub fn fault(fault: &str, result: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a workspace");
    let text = std::fs::read_to_string(page.join("docs/faults.md")).expect("the page can be read");
    assert!(text.contains(&format!("\n| {fault} | ")), "docs/faults.md has no row for \"{fault}\"");
    // A test does not fail because nobody reads what it says.
    drop(writeln!(std::io::stderr(), "fault: {fault}: {result}"));
}
