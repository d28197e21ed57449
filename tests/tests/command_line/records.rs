//! Records of every form, and fields of them: counting a column needs no program.

use rabbit_reduce_tests::processes::{Room, Running};
use std::fmt::Write as _;

const VISITS: &str = "\
name,city,spent\r\n\
ann,\"New York\",10\r\n\
bob,Rome,2.5\r\n\
cid,\"New York\",\r\n\
dan,\"a\r\nb \"\"c\"\"\",7\r\n\
\r\n\
eve,Rome,1";

#[test]
fn values_of_a_column_of_csv_are_counted_summed_found_and_indexed() {
    let room = Room::default();
    room.write("visits.csv", VISITS);
    let run = |args: &[&str]| room.run("producer", &[&["run", "--records", "csv", "visits.csv"], args].concat());
    assert_eq!(run(&["--field", "city"]).text(0), "New York\t2\nRome\t2\na\\r\\nb \"c\"\t1\n");
    assert_eq!(run(&["--field", "2", "--lowercase", "--tokens", "letters", "--top", "2"]).text(0), "new\t2\nrome\t2\n");
    let sum = run(&["--job", "sum", "--field", "spent"]).text(0);
    assert!(sum.starts_with("count\t4\nsum\t20.5\n"), "an empty cell is no number and no error: {sum}");
    let found = run(&["--job", "grep", "--field", "name", "--pattern", "^(bob|dan)$"]).text(0);
    assert_eq!(found, "visits.csv:36\tbob,Rome,2.5\nvisits.csv:67\tdan,\"a\\r\\nb \"\"c\"\"\",7\n");
    assert_eq!(run(&["--job", "index", "--field", "city", "--prefix", "R"]).text(0), "Rome\tvisits.csv\n");
    assert_eq!(run(&["--job", "letter-count", "--field", "name", "--top", "1"]).text(0), "n\t3\n");
    room.write("fr.csv", "what;sum\nrent;1 200\nbread; 3 \n");
    let french = ["run", "--records", "csv", "--delimiter", ";", "--field", "sum", "--job", "sum", "fr.csv"];
    let french = room.run("producer", &french);
    assert!(french.stderr.contains("lost: fr.csv, byte 9: `1 200` is no number"), "{}", french.stderr);
    assert!(french.text(3).starts_with("count\t1\nsum\t3\n"), "a cell is one number, or none");
    // Without a field, all of a record but the header is looked at.
    assert_eq!(run(&["--tokens", "whole", "--prefix", "bob"]).text(0), "bob,Rome,2.5\t1\n");
}

#[test]
fn every_file_orders_its_columns_as_it_likes_and_separates_them_as_it_is_told() {
    let room = Room::default();
    room.write("d/a.csv", "city;name\nRome;x\n");
    room.write("d/b.csv", "name;city\ny;Rome\nz;Oslo\n");
    room.write("d/empty.csv", "");
    let run = |args: &[&str]| room.run("producer", &[&["run", "--records", "csv", "--delimiter", ";"], args].concat());
    assert_eq!(run(&["--field", "city", "d"]).text(0), "Oslo\t1\nRome\t2\n");
    assert_eq!(run(&["--no-header", "--field", "1", "d"]).text(0), "Rome\t1\ncity\t1\nname\t1\ny\t1\nz\t1\n");
    room.write("t.tsv", "a\t1\nb\t2\n");
    let tabs =
        ["run", "--records", "csv", "--delimiter", "\\t", "--no-header", "--field", "2", "--job", "sum", "t.tsv"];
    assert!(room.run("producer", &tabs).text(0).starts_with("count\t2\nsum\t3\n"));
}

#[test]
fn quotes_hold_a_record_together_however_the_input_is_cut() {
    let room = Room::default();
    let mut text = String::from("id,note\n");
    for number in 0..3000 {
        let note = ["plain", "\"a\nb,c\"", "\"say \"\"hi\"\"\"", "5\" pipe"][number % 4];
        writeln!(text, "{number},{note}").unwrap();
    }
    room.write("notes.csv", &text);
    let expected = "5\" pipe\t750\na\\nb,c\t750\nplain\t750\nsay \"hi\"\t750\n";
    for chunk in ["64", "1KiB", "8MiB"] {
        let args = ["run", "--records", "csv", "--field", "note", "--chunk-size", chunk];
        assert_eq!(room.run("producer", &[&args[..], &["notes.csv"]].concat()).text(0), expected, "{chunk}");
        let fed = Running::fed(room.command("producer").args(args).arg("-"), text.as_bytes()).ended();
        assert_eq!(fed.text(0), expected, "{chunk} of a stream");
    }
}

#[test]
fn a_field_of_json_lines_is_named_by_its_way() {
    let room = Room::default();
    let lines = "{\"user\":{\"name\":\"Ann \\u00e9\"},\"n\":1}\r\n{\"user\":{\"name\":\"bob\"},\"n\":2.5}\n\n{\"n\":4}\nnot json\n";
    room.write("log.jsonl", lines);
    let run = |args: &[&str]| room.run("producer", &[&["run", "--records", "jsonl", "log.jsonl"], args].concat());
    let names = run(&["--field", "user.name"]);
    assert!(names.stderr.contains("lost: log.jsonl, byte 79: it is no JSON object"), "{}", names.stderr);
    assert_eq!(names.text(3), "Ann é\t1\nbob\t1\n");
    assert_eq!(run(&["--field", "/user/name", "--prefix", "b"]).text(3), "bob\t1\n");
    assert!(run(&["--field", "n", "--job", "sum"]).text(3).starts_with("count\t3\nsum\t7.5\n"));
    run(&["--field", "a..b"]).refused(2, &["\"a..b\" is no field", "JSON pointer"]);
}

#[test]
fn lines_words_of_lines_paragraphs_and_delimited_records_are_counted() {
    let room = Room::default();
    room.write("access.log", "1.1.1.1 GET /a\r\n2.2.2.2 GET /b\n1.1.1.1 PUT /a\nshort\n");
    let run = |args: &[&str]| room.run("producer", &[&["run"], args].concat()).text(0);
    assert_eq!(run(&["--field", "3", "access.log"]), "/a\t2\n/b\t1\n", "a line ends in both ways");
    room.write("twice", "x y\r\nx y\nz\n");
    assert_eq!(run(&["--tokens", "whole", "twice"]), "x y\t2\nz\t1\n");
    room.write("poem", "\n\na b\nc\n\n\n\na b\nc\n\r\nd\n");
    let paragraphs = run(&["--records", "paragraph", "--tokens", "whole", "poem"]);
    assert_eq!(paragraphs, "a b\\nc\t2\nd\t1\n");
    let found = run(&["--records", "paragraph", "--job", "grep", "--pattern", "d", "--chunk-size", "64", "poem"]);
    assert_eq!(found, "poem:19\td\n");
    room.write("nul", "b\0a\0b\0");
    assert_eq!(run(&["--records", "delimiter", "--delimiter", "\\0", "--tokens", "whole", "nul"]), "a\t1\nb\t2\n");
}

#[test]
fn a_pattern_that_ends_a_line_ends_it_before_a_carriage_return_too() {
    let room = Room::default();
    room.write("in.txt", "foo\r\nfoot\r\nfoo");
    let found = room.run("producer", &["run", "--job", "grep", "--pattern", "foo$", "in.txt"]).text(0);
    assert_eq!(found, "in.txt:0\tfoo\nin.txt:11\tfoo\n");
    let mapped = room.run("producer", &["run", "--mapper", "cat", "in.txt"]).text(0);
    assert_eq!(mapped, "foo\t\nfoo\t\nfoot\t\n", "a command is given lines without it");
}

#[test]
fn a_record_of_another_shape_is_lost_and_named() {
    let room = Room::default();
    room.write("bad.csv", "a,b\n1,2\n3\n4,5,6\n7,\"8\n");
    let outcome = room.run("producer", &["run", "--records", "csv", "--field", "b", "bad.csv"]);
    for said in [
        "lost: bad.csv, byte 8: the number of its fields is 1, that of the first record of its source 2",
        "lost: bad.csv, byte 10: the number of its fields is 3",
        "lost: bad.csv, byte 16: a quote is opened and not closed in 4 bytes",
    ] {
        assert!(outcome.stderr.contains(said), "no `{said}` in {}", outcome.stderr);
    }
    assert_eq!(outcome.text(3), "2\t1\n");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let room = Room::default();
    room.write("v.csv", "name,city\nx,y\n");
    let refused = |args: &[&str], said: &[&str]| room.run("producer", &[&["run"], args].concat()).refused(2, said);
    let csv = ["--records", "csv", "v.csv"];
    refused(
        &[&csv[..], &["--field", "ctiy"]].concat(),
        &["v.csv: it has no column \"ctiy\"", "did you mean \"city\"?"],
    );
    refused(&[&csv[..], &["--field", "3"]].concat(), &["no column \"3\"", "its columns are \"name\", \"city\""]);
    refused(&["--field", "city", "v.csv"], &["is a number", "say --records"]);
    refused(&["--records", "delimiter", "v.csv"], &["--records delimiter needs --delimiter"]);
    refused(&[&csv[..], &["--job", "count"]].concat(), &["`count` does not use --records", "word-count"]);
    refused(&[&csv[..], &["--mapper", "cat"]].concat(), &["`command` does not use --records"]);
    refused(&["--records", "yaml", "v.csv"], &["'yaml'", "paragraph"]);
    let steps = ["v.csv", "--then", "--records", "csv", "--field", "1"];
    refused(&steps, &["the rows of the step before it are TSV", "--records tsv"]);
    let steps = ["run", "v.csv", "--then", "--records", "tsv", "--field", "2"];
    assert_eq!(room.run("producer", &steps).text(0), "1\t2\n", "of `name,city 1` and `x,y 1`");
    // What looks like quotes is none, and what was escaped is what it was.
    room.write("quotes", "he said \"hello there\nfine \\day \"x\n");
    let steps = ["run", "quotes", "--then", "--records", "tsv", "--field", "1"];
    let words = room.run("producer", &steps).text(0);
    assert_eq!(words, "\"hello\t1\n\"x\t1\n\\\\day\t1\nfine\t1\nhe\t1\nsaid\t1\nthere\t1\n");
    let beyond = room.run("producer", &["run", "v.csv", "--then", "--records", "tsv", "--field", "9"]);
    assert!(beyond.stderr.contains("the number of its fields is 2, and field 9 is looked at"), "{}", beyond.stderr);
    assert_eq!(beyond.text(3), "");
    let fed =
        Running::fed(room.command("producer").args(["run", "--records", "csv", "--field", "z", "-"]), b"a,b\n1,2\n");
    fed.ended().refused(2, &["-: it has no column \"z\"", "\"a\", \"b\""]);
}
