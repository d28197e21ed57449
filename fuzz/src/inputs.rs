//! The small codecs: pairs, runs, keys, numbers.

use rabbit_reduce_core::decimal::Decimal;
use rabbit_reduce_core::job::Value;
use rabbit_reduce_core::key::{put_part, read_part, split_part};
use rabbit_reduce_core::pairs::{Cursor, PairReader, PairWriter, put_varint, take_varint};
use rabbit_reduce_core::run::{RunReader, RunWriter};

/// Keys and values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything a cursor gives before it ends or refuses, and whether it ended.
fn drain(mut cursor: impl Cursor) -> (Pairs, bool) {
    let mut pairs = Vec::new();
    loop {
        match cursor.advance() {
            Ok(true) => pairs.push((cursor.key().to_vec(), cursor.value().to_vec())),
            ended => return (pairs, ended.is_ok()),
        }
    }
}

/// Keys ascend; what was read whole reads back when written again.
pub(crate) fn pairs(bytes: &[u8]) {
    let (pairs, whole) = drain(PairReader::new(bytes));
    assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0));
    if whole {
        let (mut again, mut writer) = (Vec::new(), PairWriter::default());
        pairs.iter().for_each(|(key, value)| writer.put(&mut again, key, value));
        assert_eq!(drain(PairReader::new(again.as_slice())), (pairs, true));
    }
}

/// As a file, and as the pairs of one that was written.
pub(crate) fn run(bytes: &[u8]) {
    drain(RunReader::new(bytes));
    let (pairs, _) = drain(PairReader::new(bytes));
    let mut writer = RunWriter::new(Vec::new()).expect("memory takes it");
    pairs.iter().for_each(|(key, value)| writer.put(key, value).expect("memory takes it"));
    let (mut written, size) = writer.finish().expect("memory takes it");
    assert_eq!(size.pairs, pairs.len() as u64);
    assert_eq!(drain(RunReader::new(written.as_slice())), (pairs, true));
    // A byte that is changed anywhere is noticed.
    let place =
        bytes.iter().fold(0_usize, |place, &byte| place.wrapping_mul(31).wrapping_add(byte.into())) % written.len();
    written[place] ^= 0x10;
    assert!(!drain(RunReader::new(written.as_slice())).1);
}

/// A part comes back; what no part was put into splits or does not.
pub(crate) fn key(bytes: &[u8]) {
    if let Some((part, rest)) = split_part(bytes) {
        assert_eq!(part.len() + rest.len(), bytes.len());
        assert!(read_part(part).len() <= part.len());
    }
    let (part, rest) = bytes.split_at(bytes.len() / 2);
    let mut made = Vec::new();
    put_part(&mut made, part);
    made.extend_from_slice(rest);
    let (found, after) = split_part(&made).expect("a part was put");
    assert_eq!((&*read_part(found), after), (part, rest));
}

/// One form for each number.
pub(crate) fn varint(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(number) = take_varint(&mut rest) {
        let mut again = Vec::new();
        put_varint(&mut again, number);
        assert!(bytes[..bytes.len() - rest.len()].ends_with(&again));
    }
    drop(u64::decode(bytes));
}

/// A number read is the number printed; the byte form is the only one; sums do not depend on their order.
pub(crate) fn decimal(bytes: &[u8]) {
    if let Ok(number) = Decimal::decode(bytes) {
        let mut again = Vec::new();
        number.encode(&mut again);
        assert_eq!(again, bytes);
    }
    let mut numbers = bytes.split(|&byte| byte == b' ').filter_map(|token| Decimal::parse(token).ok());
    let (Some(left), Some(right)) = (numbers.next(), numbers.next()) else { return };
    let printed = left.to_string();
    assert_eq!(Decimal::parse(printed.as_bytes()), Ok(left.clone()), "{printed}");
    let (mut one, mut other) = (left.clone(), right.clone());
    one.add(right);
    other.add(left);
    assert_eq!(one, other);
    assert!(one.divide(7).is_some());
}
