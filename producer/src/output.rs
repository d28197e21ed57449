//! From the parts of a result to the bytes that people read.

use rabbit_reduce_core::jobs::Job;
use rabbit_reduce_core::rows::format::Format;
use std::num::NonZeroUsize;

/// What a result looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// How rows are written.
    pub format: Format,
    /// In which order.
    pub order: Order,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By key, as the job defines it.
    #[default]
    Key,
    /// The largest value first, ties by key.
    Value {
        /// Only so many.
        top: Option<NonZeroUsize>,
    },
}

/// An order that the job's rows do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--top and --sort value need a row for every key and its count (word-count, letter-count); the job `{job}` has other rows"
)]
pub struct OrderError {
    /// The job.
    pub job: &'static str,
}

impl OutputOptions {
    /// Whether the job's rows can be had in this order.
    ///
    /// # Errors
    /// Names the job if not.
    pub fn check(&self, job: &Job) -> Result<(), OrderError> {
        if self.order != Order::Key && !job.ranked() { Err(OrderError { job: job.name() }) } else { Ok(()) }
    }
}
