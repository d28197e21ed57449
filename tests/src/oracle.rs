//! The answer of a plain run, as it is printed, for built-in jobs and for the examples of programs of one's own.

use crate::fragile::Fragile;
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::counting::{Counters, count};
use rabbit_reduce_core::grouping::Grouping;
use rabbit_reduce_core::job::{Pair, PairTaker, Piece, Program, ProgramFailed, RecordError, Records};
use rabbit_reduce_core::jobs::{Job, Options};
use rabbit_reduce_core::lines::{LineFormat, Lines};
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::map_reduce::Reducing;
use rabbit_reduce_core::pairs::PairSource;
use rabbit_reduce_core::rows::RowSink;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::skip::{LostKey, Skip};
use rabbit_reduce_core::split::MAX_RECORD_BYTES;
use rabbit_reduce_core::with_program;
use rabbit_reduce_examples::average::Average;
use rabbit_reduce_examples::join::Join;
use rabbit_reduce_examples::next_word::NextWord;
use rabbit_reduce_examples::users_per_day::UsersPerDay;
use rabbit_reduce_examples::words::Words;
use std::collections::BTreeMap;
use std::io;

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
    /// What the program has counted.
    pub counters: Counters,
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
        "module" => of(&FragileModule(Lines(LineFormat::default())), sources),
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
        counters: result.counters.clone(),
    }
}

/// What the module `fragile.c` does, in Rust.
struct FragileModule(Lines);

/// What a module that traps says of it.
const TRAPPED: &str = "wasm trap: wasm `unreachable` instruction executed";

impl Program for FragileModule {
    type Value = Vec<u8>;

    fn boundary(&self) -> Boundary {
        self.0.boundary()
    }

    fn records(&self) -> Records {
        self.0.records()
    }

    fn map<'r>(&'r self, line: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Vec<u8>>, RecordError>> + 'r {
        let holds = |what: &str| line.bytes.windows(what.len()).any(|part| part == what.as_bytes());
        let reason = match (holds("panic"), holds("refuse")) {
            (true, _) => Some(TRAPPED),
            (false, true) => Some("this line is refused"),
            (false, false) => None,
        };
        count("lines", 1);
        let pairs = self.0.map(line).take(if reason.is_some() { 0 } else { 1 });
        pairs.chain(reason.map(|reason| Err(RecordError::new(reason))))
    }

    fn merge(&self, _: &[u8], _: &mut Vec<u8>, _: Vec<u8>) {
        unreachable!("each pair has its place")
    }

    fn group<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.0.0.without_place(key)
    }

    fn reduce(&self, pairs: &mut dyn PairSource, out: &mut PairTaker<'_>) -> io::Result<()> {
        let mut counts = BTreeMap::<Vec<u8>, u64>::new();
        while let Some((inner, _)) = pairs.next()? {
            *counts.entry(self.0.0.without_place(inner).to_vec()).or_default() += 1;
        }
        let mut lost = Vec::new();
        for (group, count) in counts {
            let mut inner = group.clone();
            inner.extend_from_slice(&[0; 16]);
            let key = self.0.0.key_of(&inner).expect("it is one").into_owned();
            let holds = |what: &str| key.windows(what.len()).any(|part| part == what.as_bytes());
            let reason = match (holds("die"), holds("fail")) {
                (true, _) => TRAPPED,
                (false, true) => "this key is refused",
                (false, false) => {
                    rabbit_reduce_core::counting::count("keys", 1);
                    out(&inner, count.to_string().as_bytes())?;
                    continue;
                }
            };
            lost.push(LostKey::new(&group, key, format!("the reduce failed: {reason}")));
        }
        if lost.is_empty() { Ok(()) } else { Err(ProgramFailed::on(lost).into()) }
    }

    fn columns(&self) -> &'static [&'static str] {
        self.0.columns()
    }

    fn rows(&self, sources: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        self.0.rows(sources, pairs, sink)
    }
}
