//! Values of one key that wait to be combined, and the list of them that a module takes: each behind its length in LEB128.
//!
//! What would surprise: to call a module costs as much as to combine some ten small values, so values are gathered first; and a
//! short value that comes again and again, as the one of a count does, is kept once, with how many times it came.

use rabbit_reduce_core::job::{Value, ValueError};
use rabbit_reduce_core::pairs::{put_varint, take_varint};

/// Waiting values that are longer are combined, in bytes; where one of them is long, once they are twice as long as that.
const LONG_BYTES: usize = 1 << 10;
/// So many equal values are combined at once; what they make, as often, and so on.
const ALIKE: u64 = 64;

/// Appends a value to a list.
pub(super) fn put(list: &mut Vec<u8>, value: &[u8]) {
    put_varint(list, value.len() as u64);
    list.extend_from_slice(value);
}

/// A value of up to seven bytes, with its length above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short(u64);

impl Short {
    const LONGEST: usize = 7;

    #[inline(always)]
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        let bytes = match value {
            [] => 0,
            [byte] => u64::from(*byte),
            _ if value.len() <= Self::LONGEST => {
                value.iter().rev().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte))
            }
            _ => return None,
        };
        Some(Self(bytes | (value.len() as u64) << (8 * Self::LONGEST)))
    }

    pub(super) fn bytes(self, room: &mut [u8; 8]) -> &[u8] {
        *room = self.0.to_le_bytes();
        let length = usize::from(room[Self::LONGEST]);
        &room[..length]
    }
}

/// The values.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// One, so many times; none at all without any.
    Times(Short, u64),
    /// Runs of them: how many times, and the value behind its length.
    Many(Vec<u8>),
}

impl Default for Waiting {
    fn default() -> Self {
        Self::Times(Short(0), 0)
    }
}

impl Waiting {
    /// One value.
    #[inline(always)]
    pub(super) fn of(value: &[u8]) -> Self {
        match Short::of(value) {
            Some(short) => Self::Times(short, 1),
            None => Self::Many(run(1, value)),
        }
    }

    /// Takes others in if they are the same as all that wait.
    #[inline(always)]
    pub(super) fn take_alike(&mut self, other: Short, more: u64) -> bool {
        match self {
            Self::Times(value, times) if *value == other => {
                *times += more;
                true
            }
            _ => false,
        }
    }

    /// Takes others in.
    pub(super) fn append(&mut self, others: &Self) {
        if let Self::Times(value, times) = others
            && self.take_alike(*value, *times)
        {
            return;
        }
        if let Self::Times(_, 0) = self {
            *self = others.clone();
            return;
        }
        if let Self::Times(value, times) = self {
            *self = Self::Many(run(*times, value.bytes(&mut [0; 8])));
        }
        if let Self::Many(runs) = self {
            others.encode(runs);
        }
    }

    /// Whether they should be combined now.
    #[inline]
    pub(super) fn are_many(&self) -> bool {
        let Self::Many(runs) = self else { return false };
        runs.len() > LONG_BYTES && take_run(&mut runs.as_slice()).is_none_or(|(_, value)| runs.len() > 2 * value.len())
    }
}

/// A run of a value; nothing of none.
fn run(times: u64, value: &[u8]) -> Vec<u8> {
    let mut runs = Vec::new();
    put_run(&mut runs, times, value);
    runs
}

fn put_run(runs: &mut Vec<u8>, times: u64, value: &[u8]) {
    if times > 0 {
        put_varint(runs, times);
        put(runs, value);
    }
}

fn take_run<'r>(runs: &mut &'r [u8]) -> Option<(u64, &'r [u8])> {
    let times = take_varint(runs)?;
    let length = usize::try_from(take_varint(runs)?).ok()?;
    let (value, rest) = runs.split_at_checked(length)?;
    *runs = rest;
    Some((times, value))
}

/// The value of runs that are of one only.
pub(super) fn only(mut runs: &[u8]) -> Option<&[u8]> {
    take_run(&mut runs).filter(|(times, _)| *times == 1 && runs.is_empty()).map(|(_, value)| value)
}

/// Puts into `sum` what runs make together; `combine` has a list of values combined, or tells that it does not any more.
pub(super) fn combined(
    mut runs: &[u8],
    sum: &mut Vec<u8>,
    mut combine: impl FnMut(&[u8], &mut Vec<u8>) -> bool,
) -> bool {
    let mut list = Vec::new();
    while let Some((mut times, value)) = take_run(&mut runs) {
        let (mut value, mut alike) = (value.to_vec(), Vec::new());
        loop {
            (0..times % ALIKE).for_each(|_| put(&mut list, &value));
            times /= ALIKE;
            if times == 0 {
                break;
            }
            alike.clear();
            (0..ALIKE).for_each(|_| put(&mut alike, &value));
            if !combine(&alike, &mut value) {
                return false;
            }
        }
    }
    combine(&list, sum)
}

impl Value for Waiting {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Times(value, times) => put_run(out, *times, value.bytes(&mut [0; 8])),
            Self::Many(runs) => out.extend_from_slice(runs),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let mut rest = bytes;
        match take_run(&mut rest) {
            Some((times, value)) if rest.is_empty() => match Short::of(value) {
                Some(short) => Ok(Self::Times(short, times)),
                None => Ok(Self::Many(bytes.to_vec())),
            },
            _ => Ok(Self::Many(bytes.to_vec())),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Times(..) => 0,
            Self::Many(runs) => runs.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(waiting: &Waiting) -> Vec<u8> {
        let mut bytes = Vec::new();
        waiting.encode(&mut bytes);
        bytes
    }

    /// What a module would make of a list: the sum of its values, each the sum of its bytes, as one number in eight bytes.
    fn sum(mut list: &[u8]) -> u64 {
        let mut sum = 0;
        while let Some(length) = take_varint(&mut list) {
            let (value, rest) = list.split_at(usize::try_from(length).unwrap());
            sum += match value.try_into() {
                Ok(number) => u64::from_le_bytes(number),
                Err(_) => value.iter().map(|byte| u64::from(*byte)).sum(),
            };
            list = rest;
        }
        sum
    }

    #[test]
    fn values_that_are_equal_are_kept_once_and_others_one_after_the_other() {
        let mut waiting = Waiting::default();
        assert_eq!(encoded(&waiting), b"");
        for _ in 0..1000 {
            waiting.append(&Waiting::of(b"ab"));
        }
        assert_eq!((encoded(&waiting).as_slice(), waiting.heap_bytes()), (&b"\xe8\x07\x02ab"[..], 0));
        waiting.append(&Waiting::of(b""));
        waiting.append(&Waiting::of(b"longer than seven"));
        assert_eq!(encoded(&waiting), b"\xe8\x07\x02ab\x01\x00\x01\x11longer than seven");
        for bytes in [&b"\x01\x02ab"[..], b"\x05\x07sevenup", b"\x01\x08eight up", b"", &encoded(&waiting)] {
            assert_eq!(encoded(&Waiting::decode(bytes).unwrap()), bytes);
        }
        assert_eq!((only(b"\x01\x02ab"), only(b"\x01\x00")), (Some(&b"ab"[..]), Some(&b""[..])));
        assert_eq!((only(b"\x02\x02ab"), only(b"\x01\x00\x01\x00"), only(b"")), (None, None, None));
    }

    #[test]
    fn many_equal_values_are_combined_in_few_calls() {
        let mut waiting = Waiting::of(b"\x01");
        (1..1_000_000).for_each(|_| waiting.append(&Waiting::of(b"\x01")));
        waiting.append(&Waiting::of(b"\x07"));
        let (mut calls, mut total) = (0, Vec::new());
        let done = combined(&encoded(&waiting), &mut total, |list, sum| {
            calls += 1;
            *sum = self::tests::sum(list).to_le_bytes().to_vec();
            true
        });
        assert_eq!((done, total, calls), (true, 1_000_007_u64.to_le_bytes().to_vec(), 4));
        assert!(!combined(&encoded(&waiting), &mut Vec::new(), |_, _| false));
    }

    #[test]
    fn values_are_combined_once_they_are_many_and_not_for_one_long_one() {
        let mut waiting = Waiting::default();
        for number in 0_u32.. {
            waiting.append(&Waiting::of(&number.to_le_bytes()));
            if waiting.are_many() {
                break;
            }
        }
        assert_eq!(encoded(&waiting).len(), LONG_BYTES + 2);
        let mut waiting = Waiting::of(&vec![0; 10_000]);
        waiting.append(&Waiting::of(&vec![0; 5000]));
        assert!(!waiting.are_many());
        waiting.append(&Waiting::of(&vec![0; 5000]));
        assert!(waiting.are_many());
    }
}
