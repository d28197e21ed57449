//! Programs of one's own: a file each, and the list of them that makes a producer, a worker and an aggregator know them.
#![warn(missing_docs)]

pub mod average;
pub mod join;
pub mod next_word;
pub mod users_per_day;
pub mod words;

use average::Average;
use join::Join;
use next_word::NextWord;
use rabbit_reduce_core::grouping::Grouping;
use rabbit_reduce_core::map_reduce::Reducing;
use rabbit_reduce_core::program::Programs;
use users_per_day::UsersPerDay;
use words::Words;

/// The built-in programs and the examples.
#[must_use]
pub fn programs() -> Programs {
    Programs::built_in()
        .with("next-word", |settings| Ok(Reducing(NextWord { least: settings.take("least")?.unwrap_or(1) })))
        .with("join", |settings| {
            let left = settings.take::<String>("left")?.ok_or("it needs the left source: --set left=NAME")?;
            Ok(Reducing(Grouping(Join { left: left.into_bytes() })))
        })
        .with("users-per-day", |_| Ok(Reducing(UsersPerDay)))
        .with("average", |_| Ok(Reducing(Average)))
        .with("words", |_| Ok(Words))
}
