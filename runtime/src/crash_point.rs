//! Places where a process can be made to die on purpose, one for each step of the protocol.
//!
//! `RABBIT_REDUCE_CRASH_AT=worker.confirmed` kills the process the first time it comes to that place, `worker.confirmed:3` the
//! third time. What would surprise: builds without debug assertions, such as those of users, have none of this.

/// Every place, each told of where it is: after `worker.mapped` a task is mapped and nothing of it published.
pub const PLACES: [&str; 56] = [
    "aggregator.acked",
    "aggregator.answered",
    "aggregator.asked",
    "aggregator.committed",
    "aggregator.ended",
    "aggregator.ended_without_result",
    "aggregator.ending",
    "aggregator.ending_without_result",
    "aggregator.entry_judged",
    "aggregator.entry_put",
    "aggregator.file_put",
    "aggregator.finished",
    "aggregator.half_removed",
    "aggregator.held",
    "aggregator.letter_dealt_with",
    "aggregator.letter_sent_again",
    "aggregator.letter_stored",
    "aggregator.loss_noted",
    "aggregator.orphan_deleted",
    "aggregator.orphan_retired",
    "aggregator.part_written",
    "aggregator.record_left_out",
    "aggregator.replaced_run_deleted",
    "aggregator.retry_agreed",
    "aggregator.run_durable",
    "aggregator.run_written",
    "aggregator.runs_merged",
    "aggregator.runs_replaced",
    "aggregator.seal_put",
    "aggregator.sources_put",
    "aggregator.spec_put",
    "aggregator.step_begun",
    "aggregator.step_published",
    "aggregator.step_sealed",
    "aggregator.tidied",
    "aggregator.tombstone_put",
    "aggregator.unacked",
    "producer.all_confirmed",
    "producer.confirmed",
    "producer.end_seen",
    "producer.file_put",
    "producer.page_read",
    "producer.sealed",
    "producer.sources_put",
    "producer.split",
    "producer.submitted",
    "worker.acked",
    "worker.buried",
    "worker.file_fetched",
    "worker.mapped",
    "worker.published",
    "worker.retried",
    "worker.suspected",
    "worker.taken",
    "worker.unacked",
    "worker.waiting",
];

/// Says that a step of the protocol is reached.
#[inline]
pub fn reached(_place: &str) {
    #[cfg(debug_assertions)]
    armed::reached(_place);
}

/// Shows a record that is about to be mapped: `RABBIT_REDUCE_POISON=text` kills every process that maps one with that text.
#[inline]
pub fn tasted(_input: &[u8]) {
    #[cfg(debug_assertions)]
    armed::tasted(_input);
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    const VARIABLE: &str = "RABBIT_REDUCE_CRASH_AT";
    const POISON: &str = "RABBIT_REDUCE_POISON";

    struct Charge {
        place: String,
        /// Visits left until it goes off.
        visits: AtomicU64,
    }

    static CHARGE: OnceLock<Option<Charge>> = OnceLock::new();

    fn charge() -> Option<Charge> {
        let wanted = std::env::var(VARIABLE).ok()?;
        let (place, visits) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        assert!(super::PLACES.contains(&place), "{VARIABLE}={wanted}: there is no such place");
        let visits = visits.parse().ok().filter(|visits| *visits > 0);
        let visits = visits.unwrap_or_else(|| panic!("{VARIABLE}={wanted}: after the colon comes a number from 1"));
        Some(Charge { place: place.to_owned(), visits: AtomicU64::new(visits) })
    }

    pub(super) fn reached(place: &str) {
        let Some(charge) = CHARGE.get_or_init(charge).as_ref().filter(|charge| charge.place == place) else { return };
        if charge.visits.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::error!(place, "dying here, as asked");
            std::process::abort();
        }
    }

    pub(super) fn tasted(input: &[u8]) {
        static TEXT: OnceLock<Option<String>> = OnceLock::new();
        let poison = TEXT.get_or_init(|| std::env::var(POISON).ok().filter(|text| !text.is_empty()));
        let is_in = |text: &String| input.windows(text.len()).any(|window| window == text.as_bytes());
        if poison.as_ref().is_some_and(is_in) {
            tracing::error!("dying of this input, as asked");
            std::process::abort();
        }
    }
}
