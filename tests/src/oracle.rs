//! The answer of a plain run, as it is printed, for built-in jobs and for the examples of programs of one's own.

use crate::fragile::Fragile;
use rabbit_reduce_core::grouping::Grouping;
use rabbit_reduce_core::job::Program;
use rabbit_reduce_core::jobs::{Job, Options};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::map_reduce::Reducing;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::skip::{LostKey, Skip};
use rabbit_reduce_core::split::MAX_RECORD_BYTES;
use rabbit_reduce_core::with_program;
use rabbit_reduce_examples::average::Average;
use rabbit_reduce_examples::join::Join;
use rabbit_reduce_examples::next_word::NextWord;
use rabbit_reduce_examples::users_per_day::UsersPerDay;
use rabbit_reduce_examples::words::Words;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The rows as TSV.
    pub tsv: Vec<u8>,
    /// The rows as JSON.
    pub json: Vec<u8>,
    /// Records that are not counted, in order.
    pub skips: Vec<Skip>,
    /// Keys that are not, in order.
    pub keys: Vec<LostKey>,
}

/// Runs a job over its sources.
///
/// # Panics
/// If there is no such job.
#[must_use]
pub fn answer(job: &str, options: &Options, sources: &[LocalSource]) -> Answer {
    match job {
        "next-word" => of(&Reducing(NextWord { least: 1 }), sources),
        "join" => of(&Reducing(Grouping(Join { left: options.set["left"].clone().into_bytes() })), sources),
        "users-per-day" => of(&Reducing(UsersPerDay), sources),
        "average" => of(&Reducing(Average), sources),
        "words" => of(&Words, sources),
        "fragile" => of(&Reducing(Grouping(Fragile)), sources),
        built_in => {
            let job = Job::new(built_in, options).expect("the job exists");
            with_program!(&job, program => of(program, sources))
        }
    }
}

fn of<P: Program>(program: &P, sources: &[LocalSource]) -> Answer {
    let result = local::run_program(program, sources, MAX_RECORD_BYTES);
    let print = |format| local::print_program(program, sources, &result, format).expect("its own pairs can be printed");
    Answer {
        tsv: print(Format::Tsv),
        json: print(Format::Json),
        skips: result.skips.clone(),
        keys: result.keys.clone(),
    }
}
