//! Many seeds, on as many threads as the machine has processors.
//!
//! What would surprise: which thread lives through a seed does not matter; each is a world of its own.

use super::fault::Fault;
use super::plan::Plan;
use super::{Case, Told};
use rabbit_reduce_runtime::mistake::Mistake;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;

/// Complaints in other words than those looked for, of which somebody is told.
const OTHERS: usize = 5;

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Many {
    /// How many were lived through.
    pub lived: u64,
    /// Those that did not end well, or where the mistake was told of, the least first.
    pub failing: Vec<(u64, Told)>,
    /// Other complaints, some of them.
    pub others: Vec<String>,
    /// How often each fault was injected.
    pub faults: BTreeMap<Fault, u64>,
}

/// Lives through seeds; after `enough` that do not end well no more are begun.
#[must_use]
pub fn live(seeds: Range<u64>, mistake: Option<Mistake>, enough: usize, paused: fn() -> Runtime) -> Many {
    live_until(seeds, mistake, enough, paused, |told| !told.wrong.is_empty())
}

/// Lives through seeds until somebody complains of a mistake in these words.
#[must_use]
pub fn catch(seeds: Range<u64>, mistake: Mistake, words: &str, paused: fn() -> Runtime) -> Many {
    live_until(seeds, Some(mistake), 1, paused, |told| told.wrong.iter().any(|wrong| wrong.contains(words)))
}

fn live_until(
    seeds: Range<u64>,
    mistake: Option<Mistake>,
    enough: usize,
    paused: fn() -> Runtime,
    counts: impl Fn(&Told) -> bool + Sync,
) -> Many {
    let (next, many) = (AtomicU64::new(seeds.start), Mutex::new(Many::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let lock = || many.lock().expect("nobody panics with it");
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while lock().failing.len() < enough {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if mistake.is_some_and(|mistake| !Plan::of(seed).invites(mistake)) {
                        continue;
                    }
                    let told = Case { mistake, ..Case::of(seed) }.run(paused);
                    let counts = counts(&told);
                    lock().add(seed, told, counts);
                }
            });
        }
    });
    let mut many = many.into_inner().expect("nobody panics with it");
    many.failing.sort_by_key(|(seed, _)| *seed);
    many
}

impl Many {
    fn add(&mut self, seed: u64, told: Told, counts: bool) {
        self.lived += 1;
        for (fault, times) in &told.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
        if !told.wrong.is_empty() && !counts && self.others.len() < OTHERS {
            self.others.push(format!("seed {seed}: {}", told.wrong.join("; ")));
        }
        if counts {
            self.failing.push((seed, told));
        }
    }
}

/// How to look at a seed.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("cargo run -p rabbit-reduce-tests --example simulate -- --seed {seed} --trace")
}
