//! What a worker has done since it began, in numbers, for whoever watches it.
//!
//! It decides nothing. What would surprise: a task that is mapped twice counts twice here; what is counted of a job is the ledgers'.

use rabbit_reduce_core::message::Task;
use rabbit_reduce_runtime::http::metrics::Page;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    mapped: AtomicU64,
    bytes: AtomicU64,
    mapping_ms: AtomicU64,
    retried: AtomicU64,
    apart: AtomicU64,
    lost: AtomicU64,
    unwanted: AtomicU64,
}

fn add(to: &AtomicU64, number: u64) {
    to.fetch_add(number, Ordering::Relaxed);
}

impl Tally {
    /// A chunk is mapped, and all of it is published.
    pub(crate) fn published(&self, task: &Task) {
        add(&self.mapped, 1);
        add(&self.bytes, task.pieces.iter().map(|piece| piece.length).sum());
    }

    /// A thread was busy for so long.
    pub(crate) fn mapping(&self, time: Duration) {
        add(&self.mapping_ms, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    pub(crate) fn retried(&self) {
        add(&self.retried, 1);
    }

    pub(crate) fn set_apart(&self) {
        add(&self.apart, 1);
    }

    pub(crate) fn lost(&self) {
        add(&self.lost, 1);
    }

    pub(crate) fn unwanted(&self) {
        add(&self.unwanted, 1);
    }

    /// For Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut page = Page::default();
        let mut counter =
            |name: &str, help: &str, number: &AtomicU64| page.counter(name, help, number.load(Ordering::Relaxed));
        counter("worker_chunks", "Chunks that were mapped and published", &self.mapped);
        counter("worker_bytes", "Their input, in bytes", &self.bytes);
        counter("worker_mapping_milliseconds", "Time that threads spent mapping", &self.mapping_ms);
        counter("worker_retried", "Tasks that failed and are tried again", &self.retried);
        counter("worker_set_apart", "Tasks that may kill who maps them", &self.apart);
        counter("worker_lost", "Tasks that failed for good", &self.lost);
        counter("worker_unwanted", "Tasks of jobs that had ended", &self.unwanted);
        page.text()
    }
}
