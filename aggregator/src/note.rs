//! The note beside a message that is kept: why it is, and where it came from.
//!
//! What would surprise: `fuzz/` includes this file as it is, so it names nothing of this crate.

use rabbit_reduce_core::id::JobId;
use serde::{Deserialize, Serialize};

/// Why a message is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// One line for people.
    pub(crate) reason: String,
    /// The queue that it came from, as far as is known.
    pub(crate) queue: String,
    /// The job that it speaks of, if it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobId>,
    /// When it came first, in milliseconds since 1970, by the aggregator's clock.
    pub(crate) first_seen_ms: u64,
}
