//! What a mapped chunk promises, with built-in programs.

use super::*;
use crate::id::SourceNumber;
use crate::jobs::{Grep, Sum, WordCount};
use crate::pairs::{PairReader, PairSource};
use crate::skip::{LISTED_SKIPS, MAX_REASON_BYTES};
use crate::table::ScratchFile;
use crate::tokens::Tokens;

struct InMemory;

impl Scratch for InMemory {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(io::Cursor::new(Vec::new())))
    }
}

/// No room for scratch files.
struct Full;

impl Scratch for Full {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

const WORDS: WordCount = WordCount { tokens: Tokens::Whitespace, lowercase: false };
const LIMITS: Limits = Limits { partitions: 3, segment_bytes: 1 << 20, output_bytes: u64::MAX, budget_bytes: 1 << 20 };

fn mapped<P: Program>(program: &P, bytes: &[u8], limits: Limits) -> Result<Mapped, MapError> {
    let piece =
        Piece { source: SourceNumber(0), name: b"a", offset: 0, bytes, continues: false, ends: true, column: None };
    map_chunk(program, &[piece], LeftOut::default(), limits, &InMemory, &mut ())
}

fn sizes(mapped: &mut Mapped) -> Vec<usize> {
    let places: Vec<(usize, usize)> = (0..mapped.partials.len())
        .flat_map(|partition| (0..mapped.partials[partition].len()).map(move |segment| (partition, segment)))
        .collect();
    places.into_iter().map(|(partition, segment)| mapped.body(partition, segment).unwrap().len()).collect()
}

#[test]
fn an_empty_partial_still_has_one_segment() {
    let mut nothing = mapped(&WORDS, b"", LIMITS).unwrap();
    assert_eq!(sizes(&mut nothing), [0, 0, 0]);
    let mut one = mapped(&WORDS, b"word word", LIMITS).unwrap();
    assert_eq!(sizes(&mut one).into_iter().filter(|size| *size > 0).count(), 1);
    assert_eq!(one.partials.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(one.partials.iter().flatten().map(|segment| segment.pairs).sum::<u64>(), 2);
    assert_eq!(one.pairs, 2);
}

#[test]
fn a_segment_keeps_to_its_size_and_a_pair_over_it_goes_alone() {
    let text = format!("b c {} d e", "m".repeat(500));
    let limits = Limits { partitions: 1, segment_bytes: 64, ..LIMITS };
    let mut mapped = mapped(&WORDS, text.as_bytes(), limits).unwrap();
    let mut keys = Vec::new();
    for segment in 0..mapped.partials[0].len() {
        let body = mapped.body(0, segment).unwrap();
        let mut reader = PairReader::new(&body[..]);
        let mut here = Vec::new();
        while let Some((key, _)) = reader.next().unwrap() {
            here.push(key.len());
        }
        assert!(body.len() <= 64 || here.len() == 1, "{} bytes, {here:?}", body.len());
        keys.push(here);
    }
    assert_eq!(keys.concat(), [1, 1, 1, 1, 500]);
    assert_eq!(keys.last().unwrap(), &[500]);
}

#[test]
fn neither_memory_nor_scratch_files_change_what_comes_out() {
    let text: String = (0..3000).map(|number| format!("word{} ", number % 700)).collect();
    let limits = Limits { segment_bytes: 1000, ..LIMITS };
    let mut large = mapped(&WORDS, text.as_bytes(), limits).unwrap();
    for budget_bytes in [1, 300, 5000] {
        let mut small = mapped(&WORDS, text.as_bytes(), Limits { budget_bytes, ..limits }).unwrap();
        assert_eq!((small.digest, small.pairs), (large.digest, large.pairs));
        for partition in 0..3 {
            assert_eq!(small.partials[partition].len(), large.partials[partition].len());
            for segment in 0..small.partials[partition].len() {
                assert_eq!(small.body(partition, segment).unwrap(), large.body(partition, segment).unwrap());
            }
        }
    }
}

#[test]
fn a_chunk_over_its_output_fails_whatever_the_memory() {
    // Each of 100 words has 3 bytes and a count of 1: 400 bytes, however often it comes.
    let text: String = (0..5000).map(|number| format!("w{:02} ", number % 100)).collect();
    for budget_bytes in [1, 100, 10_000, 1 << 20] {
        let limits = |output_bytes| Limits { output_bytes, budget_bytes, ..LIMITS };
        assert!(mapped(&WORDS, text.as_bytes(), limits(400)).is_ok(), "budget {budget_bytes}");
        let failure = mapped(&WORDS, text.as_bytes(), limits(399)).err().unwrap();
        assert_eq!(failure.to_string(), "the chunk maps to more than 399 bytes of pairs");
    }
}

#[test]
fn a_pair_that_no_message_carries_fails_the_chunk() {
    // In lower case this letter takes three bytes instead of two.
    let text = "Ⱥ".repeat(4 << 20);
    let lowercase = WordCount { lowercase: true, ..WORDS };
    let failure = mapped(&lowercase, text.as_bytes(), LIMITS).err().unwrap();
    assert!(matches!(failure, MapError::Pair { bytes } if bytes == 12 << 20), "{failure}");
    let longest = vec![b'x'; 8 << 20];
    assert!(mapped(&WORDS, &longest, LIMITS).is_ok());
}

#[test]
fn a_record_counts_wholly_or_not_at_all_and_skips_past_the_list_are_counted() {
    let text = "1 x ".repeat(150);
    let sum = mapped(&Sum, text.as_bytes(), LIMITS).unwrap();
    assert_eq!((sum.skips.listed.len(), sum.skips.more, sum.skips.count()), (LISTED_SKIPS, 50, 150));
    assert_eq!(sum.skips.listed[1].offset, 6);
    assert_eq!(sum.counters["records"], 300);
    let all = mapped(&Sum, "1 ".repeat(150).as_bytes(), LIMITS).unwrap();
    assert_eq!(sum.pairs, all.pairs);
}

#[test]
fn the_digest_tells_of_input_skips_and_pairs() {
    let digest = |bytes: &[u8]| mapped(&Sum, bytes, LIMITS).unwrap().digest;
    assert_eq!(digest(b"1 2"), digest(b"1 2"));
    assert_ne!(digest(b"1 2"), digest(b"2 1"), "the same pairs of another input");
    let piece = Piece {
        source: SourceNumber(0),
        name: b"a",
        offset: 0,
        bytes: b"1",
        continues: false,
        ends: true,
        column: None,
    };
    let with = |too_long: &[Skip]| {
        let left_out = LeftOut { too_long, agreed: &[] };
        map_chunk(&Sum, &[piece], left_out, LIMITS, &InMemory, &mut ()).unwrap().digest
    };
    assert_ne!(with(&[]), with(&[Skip::new(SourceNumber(0), 1, "too long".into())]));
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let skip = Skip::new(SourceNumber(0), 0, "é".repeat(MAX_REASON_BYTES));
    assert_eq!(skip.reason, format!("{}…", "é".repeat(MAX_REASON_BYTES / 2)));
}

#[test]
fn segments_past_the_memory_are_read_from_their_file() {
    let text: String = (0..200).map(|number| format!("line {number}\n")).collect();
    let grep = Grep { pattern: regex::bytes::Regex::new("").unwrap(), selection: None };
    let limits = Limits { partitions: 2, segment_bytes: 100, budget_bytes: 600, ..LIMITS };
    let mut mapped = mapped(&grep, text.as_bytes(), limits).unwrap();
    let mut lines = 0;
    for (partition, segment) in [(0, 0), (1, 0)] {
        assert!(!mapped.body(partition, segment).unwrap().is_empty());
    }
    for partition in [1, 0] {
        for segment in (0..mapped.partials[partition].len()).rev() {
            let body = mapped.body(partition, segment).unwrap();
            let mut reader = PairReader::new(&body[..]);
            while reader.next().unwrap().is_some() {
                lines += 1;
            }
        }
    }
    assert_eq!(lines, 200);
}

#[test]
fn no_room_for_scratch_files_fails_the_attempt() {
    let piece = Piece {
        source: SourceNumber(0),
        name: b"a",
        offset: 0,
        bytes: b"a b",
        continues: false,
        ends: true,
        column: None,
    };
    let limits = Limits { budget_bytes: 1, ..LIMITS };
    assert!(matches!(
        map_chunk(&WORDS, &[piece], LeftOut::default(), limits, &Full, &mut ()),
        Err(MapError::Scratch(_))
    ));
}

#[test]
fn a_record_that_was_agreed_to_be_left_out_is_never_mapped() {
    struct Places(Vec<u64>);
    impl Watch for Places {
        fn record(&mut self, place: Option<Place>, _: &[u8]) {
            self.0.push(place.expect("tokens have places").offset);
        }
    }
    let piece = Piece {
        source: SourceNumber(2),
        name: b"a",
        offset: 100,
        bytes: b"1 two 3 4",
        continues: false,
        ends: true,
        column: None,
    };
    let agreed =
        [Skip::new(SourceNumber(2), 106, "it kills".to_owned()), Skip::new(SourceNumber(1), 100, String::new())];
    let (left_out, mut places) = (LeftOut { too_long: &[], agreed: &agreed }, Places(Vec::new()));
    let mapped = map_chunk(&Sum, &[piece], left_out, LIMITS, &InMemory, &mut places).unwrap();
    assert_eq!(places.0, [100, 102, 108], "the watch hears of what is mapped, refused or not");
    let offsets: Vec<u64> = mapped.skips.listed.iter().map(|skip| skip.offset).collect();
    assert_eq!((offsets, mapped.pairs), (vec![102, 106], 8), "two records of four pairs each");
    assert_eq!(mapped.refused.bytes, b"two3");
    assert_eq!(mapped.refused.records.iter().map(|record| record.kept).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn mapping_stops_soon_after_nobody_wants_it_any_more() {
    /// Wants so many answers.
    struct Patience(u32);
    impl Watch for Patience {
        fn record(&mut self, _: Option<Place>, _: &[u8]) {}
        fn stops(&mut self) -> bool {
            self.0 -= 1;
            self.0 == 0
        }
    }
    let text = "1 ".repeat(100_000);
    let piece = Piece {
        source: SourceNumber(0),
        name: b"a",
        offset: 0,
        bytes: text.as_bytes(),
        continues: false,
        ends: true,
        column: None,
    };
    for questions in [1, 2] {
        let mut watch = Patience(questions);
        let words = map_chunk(&WORDS, &[piece], LeftOut::default(), LIMITS, &InMemory, &mut watch);
        assert!(matches!(words, Err(MapError::Stopped)));
        let mut watch = Patience(questions);
        let sum = map_chunk(&Sum, &[piece], LeftOut::default(), LIMITS, &InMemory, &mut watch);
        assert!(matches!(sum, Err(MapError::Stopped)) && watch.0 == 0);
    }
}
