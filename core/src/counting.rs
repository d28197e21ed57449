//! Counters of programs: what a map or a reduce counts on the way, under a name of its own.
//!
//! Whoever maps a record, or reduces a group, takes what was counted meanwhile; if the record or group does not count, nor does
//! that. What would surprise: counters are the thread's, as a program has nothing else in its hands that outlives a record.

use crate::message::{MAX_COUNT, MAX_COUNTER_BYTES, MAX_COUNTERS};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Numbers by name.
pub type Counters = BTreeMap<String, u64>;

/// Where what is beyond the most counters is counted.
const OTHER_COUNTERS: &str = "other-counters";
/// Before the names of a program's own counters.
const OWN: &str = "program.";

thread_local! {
    static COUNTED: RefCell<Counters> = const { RefCell::new(Counters::new()) };
}

/// Counts something, from within a program's map or reduce: it is told as `program.NAME` with the job's own counters, such as how
/// many records there were. What a record or group counts is only added if it is counted itself.
///
/// ```
/// use rabbit_reduce_core::counting::count;
///
/// fn year(line: &str) -> Option<u16> {
///     let year = line.get(..4).and_then(|year| year.parse().ok());
///     if year.is_none() {
///         count("lines-without-a-year", 1);
///     }
///     year
/// }
/// # assert_eq!(year("2026-11"), Some(2026));
/// ```
pub fn count(name: &str, more: u64) {
    count_as(&format!("{OWN}{name}"), more);
}

/// The same under exactly this name.
pub fn count_as(name: &str, more: u64) {
    COUNTED.with_borrow_mut(|counted| add(counted, name, more));
}

/// Adds to a counter. A name that is too long is cut, and what would be one counter too many is counted with all such.
pub fn add(counters: &mut Counters, name: &str, more: u64) {
    let name = &name[..name.floor_char_boundary(MAX_COUNTER_BYTES)];
    let one_too_many = counters.len() + 1 >= MAX_COUNTERS && !counters.contains_key(name);
    let name = if one_too_many { OTHER_COUNTERS } else { name };
    let count = match counters.get_mut(name) {
        Some(count) => count,
        None => counters.entry(name.to_owned()).or_default(),
    };
    *count = count.saturating_add(more).min(MAX_COUNT);
}

/// What was counted on this thread since it was last taken.
#[must_use]
pub fn taken() -> Counters {
    COUNTED.take()
}

/// Forgets it.
pub fn discard() {
    COUNTED.with_borrow_mut(Counters::clear);
}

/// Adds what was counted on this thread to others.
pub fn take_into(counters: &mut Counters) {
    COUNTED.with_borrow_mut(|counted| {
        for (name, more) in std::mem::take(counted) {
            add(counters, &name, more);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_taken_once() {
        count("a", 1);
        count("a", 2);
        count_as("b", 4);
        let mut counters = Counters::from([("program.a".to_owned(), 10)]);
        take_into(&mut counters);
        assert_eq!(counters, Counters::from([("b".to_owned(), 4), ("program.a".to_owned(), 13)]));
        count("c", 1);
        discard();
        assert_eq!(taken(), Counters::new());
    }

    #[test]
    fn there_are_so_many_counters_and_no_more() {
        let mut counters = Counters::new();
        (0..1000).for_each(|number| add(&mut counters, &number.to_string(), 1));
        assert_eq!((counters.len(), counters[OTHER_COUNTERS]), (MAX_COUNTERS, 1000 - MAX_COUNTERS as u64 + 1));
        add(&mut counters, "0", u64::MAX);
        add(&mut counters, &"x".repeat(1000), 1);
        assert_eq!((counters["0"], counters.len()), (MAX_COUNT, MAX_COUNTERS));
    }
}
