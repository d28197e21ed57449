use super::feed::{Batch, Feed, Said};
use super::*;
use rabbit_reduce_core::id::{ChunkNumber, JobId, SourceNumber};
use rabbit_reduce_core::program::NamedProgram;
use rabbit_reduce_core::table::ScratchFile;
use std::sync::mpsc::sync_channel;

struct NoScratch;

impl Scratch for NoScratch {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        Err(io::Error::other("nothing spills here"))
    }
}

const OFFSET: &str = r#"(import "rabbit_reduce_1" "offset" (func $offset (result i64)))"#;

/// A module of what makes one, in text form.
fn program(body: &str) -> NamedProgram {
    program_with(OFFSET, body)
}

/// The same of one that may need something more.
fn program_with(import: &str, body: &str) -> NamedProgram {
    let whole = format!(
        r#"(module
            (import "rabbit_reduce_1" "emit" (func $emit (param i32 i32 i32 i32)))
            (import "rabbit_reduce_1" "emit_all" (func $emit_all (param i32 i32)))
            (import "rabbit_reduce_1" "source" (func $source (param i32 i32) (result i32)))
            (import "rabbit_reduce_1" "setting" (func $setting (param i32 i32 i32 i32) (result i32)))
            (import "rabbit_reduce_1" "refuse" (func $refuse (param i32 i32)))
            {import}
            (memory (export "memory") 2)
            (func (export "reserve") (param i32) (result i32) (i32.const 65536))
            {body})"#
    );
    let bytes = wat::parse_str(whole).unwrap();
    let files = ShippedFiles::temporary(&std::env::temp_dir()).unwrap();
    let module = check(&bytes, 1 << 20, Duration::from_secs(60)).unwrap();
    assert_eq!(files.keep(&bytes).unwrap(), module.file);
    let host = Host { files, silence: Duration::from_secs(60), memory_bytes: 1 << 30, threads: 1 };
    let module = Some(Box::new(module));
    let set = [("name".to_owned(), "value".to_owned())].into();
    with_modules(Programs::built_in(), Some(host)).make(NAME, &Options { module, set, ..Options::default() }).unwrap()
}

/// Nobody wants the chunk any more, once so many records have begun.
struct Until {
    records: usize,
    begun: usize,
}

impl Watch for Until {
    fn record(&mut self, _: Option<rabbit_reduce_core::skip::Place>, _: &[u8]) {
        self.begun += 1;
    }

    fn stops(&mut self) -> bool {
        self.begun >= self.records
    }
}

/// The pairs of a text, and what is left out of it.
fn mapped(program: &NamedProgram, text: &str) -> (Vec<(String, String)>, Vec<String>, u64) {
    mapped_within(1 << 20, program, text)
}

fn mapped_within(output_bytes: u64, program: &NamedProgram, text: &str) -> (Vec<(String, String)>, Vec<String>, u64) {
    let mut mapped = watched(output_bytes, program, text, &mut ()).unwrap();
    let mut pairs = rabbit_reduce_core::pairs::PairReader::new(mapped.body(0, 0).unwrap());
    let mut found = Vec::new();
    while let Some((key, value)) = PairSource::next(&mut pairs).unwrap() {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        // One that is combined is its own inner form.
        let key = rabbit_reduce_core::key::split_part(key)
            .map_or_else(|| key.to_vec(), |(part, _)| rabbit_reduce_core::key::read_part(part).into_owned());
        found.push((text(&key), text(value)));
    }
    let reasons = mapped.skips.listed.into_iter().map(|skip| format!("{} {}", skip.offset, skip.reason)).collect();
    (found, reasons, mapped.digest)
}

fn watched(output_bytes: u64, program: &NamedProgram, text: &str, watch: &mut dyn Watch) -> Result<Mapped, MapError> {
    let piece = Piece {
        source: SourceNumber(3),
        name: b"source.txt",
        offset: 100,
        bytes: text.as_bytes(),
        continues: false,
        ends: true,
        column: None,
    };
    let at = MapPlace { job: JobId(uuid::Uuid::nil()), chunk: ChunkNumber(0), alone: false };
    let limits = Limits { partitions: 1, segment_bytes: 1 << 20, output_bytes, budget_bytes: 1 << 20 };
    program.map_chunk(&at, &[piece], LeftOut::default(), limits, &NoScratch, watch)
}

#[test]
fn whoever_stops_it_waits_for_few_records_however_slow_they_are() {
    // Each asks for its own time, so that it maps one by one, and takes some tenths of a second.
    let program = program(
        r#"(func (export "map") (param i32 i32)
            (local $left i64)
            (local.set $left (i64.add (call $offset) (i64.const 300000000)))
            (loop $l
                (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                (br_if $l (i64.ne (local.get $left) (i64.const 0)))))"#,
    );
    let mut watch = Until { records: 2, begun: 0 };
    let stopped = watched(1 << 20, &program, &"x\n".repeat(60), &mut watch);
    assert!(matches!(stopped, Err(MapError::Stopped)), "it mapped {} records", watch.begun);
}

#[test]
fn a_module_sees_where_its_record_is_and_what_it_was_told() {
    // The key is the source, the value is the setting `name`, which lies behind it; the offset says how long the key is.
    let program = program(
        r#"(data (i32.const 0) "name")
        (func (export "map") (param i32 i32)
            (drop (call $source (i32.const 16) (i32.const 10)))
            (drop (call $setting (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 5)))
            (call $emit (i32.const 16) (i32.wrap_i64 (i64.sub (call $offset) (i64.const 92)))
                (i32.const 64) (call $setting (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0))))"#,
    );
    let (pairs, skips, _) = mapped(&program, "a\nb\n");
    let pair = |key: &str| (key.to_owned(), "value".to_owned());
    assert_eq!(pairs, [pair("source.t"), pair("source.txt")]);
    assert_eq!(skips, [""; 0]);
}

#[test]
fn a_record_that_puts_out_more_than_is_held_for_one_is_left_out() {
    // On an `x`, pairs of 60,000 bytes without end; of anything else one.
    let program = program(
        r#"(func (export "map") (param i32 i32)
            (call $emit (local.get 0) (local.get 1) (i32.const 0) (i32.const 0))
            (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 120)) (then
                (loop (call $emit (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 0)) (br 0)))))"#,
    );
    let (pairs, skips, _) = mapped_within(1 << 30, &program, "a\nx\nb\n");
    assert_eq!(pairs.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(skips, ["102 it puts out more than 64 MiB, which are held until it is done"]);
}

#[test]
fn the_tables_of_an_instance_have_a_limit_together() {
    // Each alone would do. It says of two steps whether they were one too many: the first is, the second is not, and what the last
    // table's own limit forbids counts for nothing.
    let program = program(
        r#"(table $a 60000 funcref) (table $b 60000 funcref) (table $c 0 funcref) (table $d 0 10 funcref)
        (func (export "map") (param i32 i32)
            (drop (table.grow $d (ref.null func) (i32.const 11000)))
            (i32.store8 (i32.const 0) (i32.add (i32.const 48)
                (i32.lt_s (table.grow $c (ref.null func) (i32.const 20000)) (i32.const 0))))
            (i32.store8 (i32.const 1) (i32.add (i32.const 48)
                (i32.lt_s (table.grow $c (ref.null func) (i32.const 10000)) (i32.const 0))))
            (call $emit (local.get 0) (local.get 1) (i32.const 0) (i32.const 2)))"#,
    );
    let (pairs, skips, _) = mapped(&program, "a\n");
    assert_eq!((pairs, skips.len()), (vec![("a".to_owned(), "10".to_owned())], 0));
}

#[test]
fn a_record_that_traps_is_left_out_and_the_next_begins_anew() {
    // It traps on an `x`, and puts out how many records it has seen since it began.
    let program = program(
        r#"(global $seen (mut i32) (i32.const 48))
        (func (export "map") (param i32 i32)
            (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 120)) (then unreachable))
            (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
            (i32.store8 (i32.const 0) (global.get $seen))
            (call $emit (local.get 0) (local.get 1) (i32.const 0) (i32.const 1)))"#,
    );
    let (pairs, skips, digest) = mapped(&program, "a\nb\nx\nc\n");
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("a", "1"), ("b", "2"), ("c", "1")]);
    assert_eq!(skips, ["104 wasm trap: wasm `unreachable` instruction executed"]);
    assert_eq!(mapped(&program, "a\nb\nx\nc\n").2, digest, "it is the same for every attempt");
}

#[test]
fn pairs_may_be_put_out_together_and_none_of_them_if_the_last_is_cut_short() {
    // Two pairs, and one of the record's length more of what follows: a third that is cut short.
    let program = program(
        r#"(data (i32.const 0) "\01\02abc\00\01d\01\01e")
        (func (export "map") (param i32 i32)
            (call $emit (local.get 0) (local.get 1) (i32.const 2) (i32.const 1))
            (call $emit_all (i32.const 0) (i32.add (i32.const 7) (local.get 1))))"#,
    );
    let (pairs, skips, _) = mapped(&program, "x\nyyyy\n");
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("", "d"), ("a", "bc"), ("x", "a")]);
    assert_eq!(skips, ["102 the last of the pairs that it puts out together is cut short"]);
}

#[test]
fn a_number_that_is_none_has_the_same_bytes_everywhere() {
    // The bits of 0/0, whose sign a processor may choose.
    let program = program(
        r#"(func (export "map") (param i32 i32)
            (f64.store (i32.const 0) (f64.div (f64.const 0) (f64.const 0)))
            (i32.store8 (i32.const 8) (i32.add (i32.const 65) (i32.shr_u (i32.load8_u (i32.const 7)) (i32.const 7))))
            (call $emit (local.get 0) (local.get 1) (i32.const 8) (i32.const 1)))"#,
    );
    assert_eq!(mapped(&program, "a").0, [("a".to_owned(), "A".to_owned())]);
}

#[test]
fn values_are_combined_as_the_module_says() {
    // Of values of one byte each the greatest.
    let program = program(
        r#"(func (export "map") (param i32 i32)
            (call $emit (local.get 0) (i32.const 1) (i32.add (local.get 0) (i32.const 1)) (i32.const 1)))
        (func (export "combine") (param $at i32) (param $length i32) (result i64) (local $most i32)
            (loop $next
                (if (i32.gt_u (i32.load8_u (i32.add (local.get $at) (i32.const 1))) (local.get $most))
                    (then (local.set $most (i32.load8_u (i32.add (local.get $at) (i32.const 1))))))
                (local.set $at (i32.add (local.get $at) (i32.const 2)))
                (local.set $length (i32.sub (local.get $length) (i32.const 2)))
                (br_if $next (local.get $length)))
            (i32.store8 (i32.const 0) (local.get $most))
            (i64.const 1))"#,
    );
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(mapped(&program, "a1\nb7\na3\na2\n").0, [pair("a", "3"), pair("b", "7")]);
    let mut total = b"4".to_vec();
    program.combiner()(b"a", &mut total, b"6").unwrap();
    assert_eq!(total, b"6");
}

/// Counts lines, and those that went through it together by the bytes they took. It refuses an `x` and traps on a `y`, alone or not.
const TOGETHER: &str = r#"
    (data (i32.const 0) "1no")
    (func $look (param $at i32) (param $length i32)
        (loop $next
            (if (local.get $length) (then
                (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 120)) (then (call $refuse (i32.const 1) (i32.const 2))))
                (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 121)) (then unreachable))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (local.set $length (i32.sub (local.get $length) (i32.const 1)))
                (br $next)))))
    (func (export "map") (param i32 i32)
        (call $emit (local.get 0) (i32.const 1) (i32.const 0) (i32.const 1))
        (call $look (local.get 0) (local.get 1)))
    (func (export "map_all") (param i32 i32)
        (call $emit (local.get 0) (local.get 1) (i32.const 0) (i32.const 1))
        (call $look (local.get 0) (local.get 1)))
    (func (export "combine") (param i32 i32) (result i64) (i64.const 1))"#;

#[test]
fn records_go_through_a_module_together_or_where_that_does_not_end_well_one_by_one() {
    let program = program_with("", TOGETHER);
    let pair = |key: &str| (key.to_owned(), "1".to_owned());
    let lines = |text: &str| {
        let (pairs, skips, _) = mapped(&program, text);
        (pairs, skips)
    };
    assert_eq!(lines("ab\nc\n\n"), (vec![pair("\u{2}ab\u{1}c\u{0}")], vec![]), "each behind its length");
    let trap = "105 wasm trap: wasm `unreachable` instruction executed".to_owned();
    let alone = vec![pair("a"), pair("d"), pair("e")];
    assert_eq!(lines("a\nbx\nyc\nd\ne\n"), (alone, vec!["102 no".to_owned(), trap]));
    // What is long goes alone, and those before it and behind it together.
    let long = "l".repeat(5000);
    let together = vec![pair("\u{1}a\u{1}b"), pair("\u{1}c"), pair("l")];
    assert_eq!(lines(&format!("a\nb\n{long}\nc\n")), (together, vec![]));
    // Many lines are many calls, and who fails in a later one takes nothing back of those before.
    let many = "abcdefg\n".repeat(600);
    let (pairs, skips) = lines(&format!("{many}x\n"));
    let calls = pairs.iter().filter(|(key, _)| key.len() > 1).map(|(key, _)| key.len()).collect::<Vec<_>>();
    assert_eq!((calls, skips), (vec![4096], vec!["4900 no".to_owned()]));
    assert_eq!(pairs.iter().filter(|(key, _)| key == "a").count(), 1, "88 lines, combined");
}

#[test]
fn who_asks_where_a_record_is_gets_one_at_a_time() {
    let program = program_with(OFFSET, TOGETHER);
    assert_eq!(mapped(&program, "a\nb\n").0, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())]);
}

#[test]
fn a_feed_gives_keys_and_their_values_across_batches() {
    let (said, hears) = sync_channel(1);
    let (gives, batches) = sync_channel(3);
    let mut first = Batch::default();
    first.key(b"a", b"A");
    first.value(b"1");
    let mut second = Batch::default();
    second.value(b"2");
    second.key(b"b", b"B");
    second.value(b"3");
    let mut last = Batch::default();
    last.last = true;
    [first, second, last].into_iter().for_each(|batch| gives.send(batch).unwrap());
    let asked = std::thread::spawn(move || hears.iter().filter(|said| matches!(said, Said::More)).count());
    let mut feed = Feed::new(said, batches);
    assert_eq!(feed.key().unwrap(), Some((b"a".to_vec(), b"A".to_vec())));
    for value in [b"1", b"2"] {
        assert_eq!(feed.value().unwrap(), Some(&value[..]));
        assert_eq!(feed.value().unwrap(), Some(&value[..]), "until it is taken");
        feed.taken();
    }
    assert_eq!(feed.value().unwrap(), None);
    // The value of `b` is not asked for.
    assert_eq!(feed.key().unwrap(), Some((b"b".to_vec(), b"B".to_vec())));
    assert_eq!(feed.key().unwrap(), None);
    drop(feed);
    assert_eq!(asked.join().unwrap(), 3);
}
