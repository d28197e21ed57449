//! Workers, as this aggregator sees them by their partials.
//!
//! It asks nobody and decides nothing; it is for people. What would surprise: a chunk is counted where its home partition is, so
//! of several aggregators each sees a part of what a worker does; and a chunk that came twice is seen twice.

use rabbit_reduce_core::message::{Partial, SeenWorker};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Workers that are remembered: a stranger may call itself anything.
const REMEMBERED: usize = 1000;
/// Who was not heard for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// What a rate is taken over.
const WINDOW: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Workers(BTreeMap<String, Worker>);

#[derive(Debug)]
struct Worker {
    chunks: u64,
    bytes: u64,
    heard: Instant,
    release: Option<String>,
    /// When the window began, and the bytes since then and in the one before.
    window: (Instant, u64, u64),
}

impl Workers {
    /// A partial came.
    pub(super) fn heard(&mut self, partial: &Partial, now: Instant) {
        if !self.0.contains_key(&partial.worker) {
            self.forget(now);
            if self.0.len() >= REMEMBERED {
                return;
            }
            let worker = Worker { chunks: 0, bytes: 0, heard: now, release: None, window: (now, 0, 0) };
            self.0.insert(partial.worker.clone(), worker);
        }
        let worker = self.0.get_mut(&partial.worker).expect("it is there by now");
        worker.heard = now;
        if let Some(home) = &partial.home {
            let bytes = home.counters.get("bytes").copied().unwrap_or(0);
            worker.chunks += 1;
            if worker.release != home.release {
                worker.release.clone_from(&home.release);
            }
            worker.bytes = worker.bytes.saturating_add(bytes);
            worker.turn(now);
            worker.window.1 = worker.window.1.saturating_add(bytes);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, worker| now.saturating_duration_since(worker.heard) < FORGOTTEN);
    }

    /// Those that were heard lately, by name.
    pub(super) fn seen(&mut self, now: Instant) -> Vec<SeenWorker> {
        self.forget(now);
        let seen = |(name, worker): (&String, &mut Worker)| {
            worker.turn(now);
            let (_, current, before) = worker.window;
            SeenWorker {
                name: name.clone(),
                chunks: worker.chunks,
                bytes: worker.bytes,
                // The window before is whole; the one of now is none yet.
                bytes_per_second: before.max(current) / WINDOW.as_secs(),
                silent_ms: u64::try_from(now.saturating_duration_since(worker.heard).as_millis()).unwrap_or(u64::MAX),
                release: worker.release.clone(),
            }
        };
        self.0.iter_mut().map(seen).collect()
    }
}

impl Worker {
    /// Begins a new window, if this one is over.
    fn turn(&mut self, now: Instant) {
        let (began, current, _) = self.window;
        let age = now.saturating_duration_since(began);
        if age >= 2 * WINDOW {
            self.window = (now, 0, 0);
        } else if age >= WINDOW {
            self.window = (now, 0, current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folding::tests::partial;
    use rabbit_reduce_core::message::Home;

    fn of(worker: &str, bytes: Option<u64>) -> Partial {
        let home = bytes.map(|bytes| Home {
            pairs: 1,
            counters: BTreeMap::from([("bytes".to_owned(), bytes)]),
            release: None,
        });
        Partial { worker: worker.to_owned(), home, ..partial() }
    }

    #[test]
    fn a_worker_is_seen_by_the_chunks_that_it_maps_and_has_a_rate() {
        let (mut workers, now) = (Workers::default(), rabbit_reduce_runtime::process::clock::instant());
        workers.heard(&of("b", Some(1000)), now);
        workers.heard(&of("b", None), now);
        workers.heard(&of("a", Some(50)), now);
        let seen = workers.seen(now + Duration::from_secs(3));
        let told: Vec<_> =
            seen.iter().map(|seen| (seen.name.as_str(), seen.chunks, seen.bytes, seen.silent_ms)).collect();
        assert_eq!(told, [("a", 1, 50, 3000), ("b", 1, 1000, 3000)]);
        assert_eq!(seen[1].bytes_per_second, 100);
        // A window later it did nothing, and then it is forgotten.
        assert_eq!(workers.seen(now + 3 * WINDOW)[1].bytes_per_second, 0);
        assert_eq!(workers.seen(now + FORGOTTEN), []);
    }

    #[test]
    fn names_without_end_take_no_memory_without_end() {
        let (mut workers, now) = (Workers::default(), rabbit_reduce_runtime::process::clock::instant());
        (0..2 * REMEMBERED).for_each(|number| workers.heard(&of(&number.to_string(), Some(1)), now));
        assert_eq!(workers.seen(now).len(), REMEMBERED);
    }
}
