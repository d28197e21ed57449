//! Count, sum, least, largest and mean of all numbers between white space, exactly.
//!
//! What would surprise: numbers above and below zero are summed apart, so that totals only ever grow and an addition costs what
//! is added, not what is there. The five measures are keys of their own, so that each travels by itself.

use super::foreign;
use crate::boundary::Boundary;
use crate::decimal::{Decimal, NumberError};
use crate::job::{Pair, Piece, Program, RecordError, Records, Value};
use crate::pairs::PairSource;
use crate::rows::{Cell, RowSink};
use std::borrow::Cow;
use std::fmt::Write;
use std::io;

/// Sums numbers. Key: the measure. Value: a decimal, also the count.
#[derive(Clone, Debug)]
pub struct Sum;

/// How many characters of a token that is no number are shown.
const SHOWN_CHARS: usize = 40;

const COUNT: &[u8] = &[0];
const ABOVE: &[u8] = &[1];
const BELOW: &[u8] = &[2];
const LEAST: &[u8] = &[3];
const LARGEST: &[u8] = &[4];

impl Program for Sum {
    type Value = Decimal;

    fn boundary(&self) -> Boundary {
        Boundary::Space
    }

    fn records(&self) -> Records {
        Records::Tokens
    }

    fn map<'r>(&'r self, record: Piece<'r>) -> impl Iterator<Item = Result<Pair<'r, Decimal>, RecordError>> + 'r {
        let pairs = match Decimal::parse(record.bytes) {
            Err(error) => [Some(Err(refusal(record.bytes, error))), None, None, None],
            Ok(number) => {
                let pair = |key, value| Some(Ok(Pair { key: Cow::Borrowed(key), value }));
                let side = if number.is_negative() { BELOW } else { ABOVE };
                [
                    pair(COUNT, Decimal::from(1)),
                    if number.is_zero() { None } else { pair(side, number.clone()) },
                    pair(LEAST, number.clone()),
                    pair(LARGEST, number),
                ]
            }
        };
        pairs.into_iter().flatten()
    }

    fn merge(&self, key: &[u8], total: &mut Decimal, other: Decimal) {
        match key {
            LEAST if other < *total => *total = other,
            LARGEST if other > *total => *total = other,
            LEAST | LARGEST => {}
            _ => total.add(other),
        }
    }

    fn makes(&self, key: &[u8], value: &[u8]) -> bool {
        let Ok(number) = Decimal::decode(value) else { return false };
        match key {
            COUNT => number.to_u64().is_some(),
            ABOVE => !number.is_negative(),
            BELOW => number.is_negative() || number.is_zero(),
            _ => matches!(key, LEAST | LARGEST),
        }
    }

    fn columns(&self) -> &'static [&'static str] {
        &["key", "value"]
    }

    fn is_summary(&self) -> bool {
        true
    }

    fn rows(&self, _: &[Vec<u8>], pairs: &mut dyn PairSource, sink: &mut dyn RowSink) -> io::Result<()> {
        let mut measures: [Option<Decimal>; 5] = Default::default();
        while let Some((key, value)) = pairs.next()? {
            let &[measure @ 0..=4] = key else {
                return Err(foreign("a key of sum is no measure"));
            };
            measures[usize::from(measure)] =
                Some(Decimal::decode(value).map_err(|_| foreign("a value of sum is no decimal"))?);
        }
        let [count, above, below, least, largest] = measures;
        let count = count.unwrap_or_default().to_u64().ok_or_else(|| foreign("the count of sum is no whole number"))?;
        let mut sum = above.unwrap_or_default();
        sum.add(below.unwrap_or_default());
        let mean = sum.divide(count);
        let mut row = |name: &'static str, cell| sink.row(&[Cell::Bytes(Cow::Borrowed(name.as_bytes())), cell]);
        row("count", Cell::Number(count))?;
        row("sum", decimal(Some(sum)))?;
        row("min", decimal(least))?;
        row("max", decimal(largest))?;
        row("mean", decimal(mean))
    }
}

fn decimal(number: Option<Decimal>) -> Cell<'static> {
    Cell::Decimal(number.map(|number| number.to_string()))
}

/// Names the token, cut and made harmless for a terminal.
fn refusal(token: &[u8], error: NumberError) -> RecordError {
    let (mut shown, mut characters) = (String::new(), 0);
    let mut rest = token;
    while !rest.is_empty() && characters < SHOWN_CHARS {
        let length = crate::text::char_len(rest);
        match crate::text::decode(rest) {
            Some((character, _)) if character.is_control() => shown.extend(character.escape_default()),
            Some((character, _)) => shown.push(character),
            None => write!(shown, "\\x{:02x}", rest[0]).expect("a string takes anything"),
        }
        (rest, characters) = (&rest[length..], characters + 1);
    }
    let more = if rest.is_empty() { "" } else { "…" };
    RecordError { reason: format!("`{shown}{more}` {error}") }
}
