//! The processes of a group and what all of them take, as the system's process table tells.
//!
//! What would surprise: where there is no such table, nothing is found, and limits on it hold nothing.

use rustix::process::Pid;
use std::fs;

/// The processes of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// How many there are.
    pub(super) count: usize,
    /// What they hold in memory, in bytes; what they share counts for each of them.
    pub(super) resident_bytes: u64,
}

/// Counts them.
pub(super) fn of(group: Pid) -> Found {
    let group = group.as_raw_nonzero().get().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found = Found::default();
    for process in processes.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()) {
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        // `pid (name) state parent group … resident …`: the name may hold anything, so what follows its end is looked at.
        let Some((_, facts)) = stat.rsplit_once(") ") else { continue };
        let facts: Vec<&str> = facts.split(' ').collect();
        if facts.get(2) == Some(&group.as_str()) {
            found.count += 1;
            let pages: u64 = facts.get(21).and_then(|pages| pages.parse().ok()).unwrap_or_default();
            found.resident_bytes += pages * rustix::param::page_size() as u64;
        }
    }
    found
}
