//! A program that fails in every way that a program can, on inputs that say so; and the list of programs with it.

use rabbit_reduce_core::counting::count;
use rabbit_reduce_core::grouping::{Grouping, GroupingProgram, Values};
use rabbit_reduce_core::job::{Piece, RecordError};
use rabbit_reduce_core::map_reduce::{Reducing, Row};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_runtime::module::{Host, with_modules};
use rabbit_reduce_runtime::shipped::ShippedFiles;
use std::io;
use std::time::Duration;

/// The built-in programs, the examples, modules that lie in a folder, and this one.
#[must_use]
pub fn programs(files: &ShippedFiles) -> Programs {
    let modules = Host { files: files.clone(), silence: Duration::from_secs(60), memory_bytes: 4 << 30, threads: 1 };
    with_modules(named(), Some(modules))
}

/// The same where none is run.
#[must_use]
pub fn printing() -> Programs {
    with_modules(named(), None)
}

fn named() -> Programs {
    rabbit_reduce_examples::programs().with("fragile", |_| Ok(Reducing(Grouping(Fragile))))
}

/// Lines `key<TAB>value`: a row for every key, with how many values it has. A line that holds `refuse` is refused after its
/// pair was given, one that holds `panic` panics; the reduce fails on a key that holds `fail`, and panics on one that holds
/// `die`, each after a row.
pub struct Fragile;

impl GroupingProgram for Fragile {
    type Key = String;
    type Value = String;

    fn map<'r>(&'r self, line: Piece<'r>) -> impl Iterator<Item = Result<(String, String), RecordError>> + 'r {
        let line = line.text().unwrap_or_default();
        let (key, value) = line.split_once('\t').unwrap_or((line, ""));
        count("lines", 1);
        let after = std::iter::from_fn(move || {
            assert!(!value.contains("panic"), "this line panics");
            value.contains("refuse").then(|| Err(RecordError::new("this line is refused")))
        });
        std::iter::once(Ok((key.to_owned(), value.to_owned()))).chain(after.take(1))
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "values"]
    }

    fn reduce<'v>(&'v self, key: &'v String, values: Values<'v, String>) -> impl Iterator<Item = io::Result<Row>> + 'v {
        let count = values.map(|value| value.map(|_| 1)).sum::<io::Result<u64>>();
        let row = count.map(|count| Row::new().with(key.as_str()).with(count));
        rabbit_reduce_core::counting::count("keys", 1);
        let after = std::iter::from_fn(move || {
            assert!(!key.contains("die"), "this key panics");
            key.contains("fail").then(|| Err(io::Error::other("this key fails")))
        });
        std::iter::once(row).chain(after.take(1))
    }
}
