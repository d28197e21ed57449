//! What cannot be done is told of before anything is begun: what it is, and what would help.

use rabbit_reduce_tests::processes::Room;

#[track_caller]
fn refused(args: &[&str], code: i32, said: &[&str]) {
    let room = Room::default();
    room.write("in.txt", "words\n");
    room.write("folder/in.txt", "words\n");
    room.run("producer", args).refused(code, said);
    assert!(room.is_clean());
}

#[test]
fn an_input_that_is_not_there_is_named_with_all_others() {
    refused(&["run", "no1", "in.txt", "no2"], 5, &["no1", "no2", "check the spelling"]);
    refused(&["push", "no1"], 5, &["no1", "check the spelling"]);
}

#[test]
fn an_input_that_cannot_be_read_is_named() {
    // A file where a folder should be, and memory that is not mapped: these stop root, too.
    refused(&["run", "in.txt/beneath"], 5, &["in.txt/beneath", "Not a directory"]);
    refused(&["run", "/proc/self/mem"], 5, &["/proc/self/mem", "Input/output error"]);
}

#[test]
fn an_unknown_job_is_told_of_with_the_one_that_was_meant() {
    refused(&["run", "--job", "wordcount", "in.txt"], 2, &["wordcount", "did you mean `word-count`?", "letter-count"]);
    refused(&["run", "--job", "zzz", "in.txt"], 2, &["zzz", "word-count, letter-count, count, sum, index, grep"]);
}

#[test]
fn an_expression_that_is_none_is_shown() {
    refused(&["run", "--job", "grep", "--pattern", "a(", "in.txt"], 2, &["--pattern", "a(", "unclosed group"]);
    refused(&["run", "--token-regex", "[", "in.txt"], 2, &["--token-regex", "["]);
    refused(&["run", "--job", "grep", "in.txt"], 2, &["--pattern"]);
}

#[test]
fn numbers_out_of_range_are_told_of_with_the_range() {
    refused(&["run", "--chunk-size", "4 elephants", "in.txt"], 2, &["--chunk-size", "4 elephants", "64KiB"]);
    refused(&["run", "--chunk-size", "1", "in.txt"], 2, &["--chunk-size is 1", "from 64 to 64MiB"]);
    refused(&["run", "--chunk-size", "1GiB", "in.txt"], 2, &["--chunk-size is 1GiB", "from 64 to 64MiB"]);
    refused(&["run", "--memory", "99999999999GiB", "in.txt"], 2, &["--memory", "more bytes than there are"]);
    refused(&["run", "--partitions", "0", "in.txt"], 2, &["--partitions is 0", "from 1 to 1024"]);
    refused(&["run", "--threads", "0", "in.txt"], 2, &["--threads is 0", "from 1 to"]);
    refused(&["run", "--top", "0", "in.txt"], 2, &["--top 0"]);
    refused(&["run", "--max-losses=-1", "in.txt"], 2, &["--max-losses"]);
}

#[test]
fn what_contradicts_itself_is_told_of() {
    refused(&["run", "-", "-"], 2, &["standard input can be read once"]);
    refused(&["push", "--by", "reference", "-"], 2, &["--by reference", "`-`"]);
    refused(&["run", "--sort", "key", "--top", "3", "in.txt"], 2, &["--top", "--sort key"]);
    refused(&["run", "--job", "count", "--top", "3", "in.txt"], 2, &["--top", "`count`", "word-count"]);
    refused(&["run", "--job", "sum", "--lowercase", "in.txt"], 2, &["--lowercase", "sum"]);
    refused(&["run", "--quiet", "--verbose", "in.txt"], 2, &["--quiet", "--verbose"]);
}

#[test]
fn what_is_missing_or_misspelt_is_told_of() {
    refused(&["run"], 2, &["<INPUT>", "--help"]);
    refused(&["rum", "in.txt"], 2, &["rum", "run"]);
    refused(&["run", "--chunksize", "1KiB", "in.txt"], 2, &["--chunksize", "--chunk-size"]);
    refused(&["run", "--format", "xml", "in.txt"], 2, &["xml", "tsv, json, ndjson, csv"]);
    refused(&["cancel"], 2, &["<JOB>"]);
    refused(&["status", "yesterday"], 2, &["`yesterday` is no job", "producer jobs", "@"]);
    refused(&["dead", "drop", "@"], 2, &["name letters, or a filter, or --all"]);
    refused(&["dead", "retry", "@", "17"], 2, &["`17` is no dead letter's name", "--chunk 17"]);
    refused(&["dead", "export"], 2, &["--output <DIR>"]);
    refused(&["dead", "export", "-o", "folder"], 5, &["folder is not empty", "name a new folder"]);
    refused(&["teardown"], 2, &["rabbit-reduce", "--yes"]);
    refused(&["jobs", "--namespace", "Über"], 2, &["--namespace", "a-z"]);
    refused(&["jobs", "--broker-url", "http://me:s3cret@host"], 2, &["--broker-url", "AMQP_URL", "amqp"]);
}

#[test]
fn no_command_at_all_shows_the_help() {
    let outcome = Room::default().run("producer", &[]);
    assert_eq!((outcome.code, outcome.stdout.len()), (Some(2), 0));
    assert!(outcome.stderr.contains("Commands:"), "{}", outcome.stderr);
}

#[test]
fn the_other_roles_refuse_what_they_cannot_use() {
    let room = Room::default();
    room.write("file", "");
    room.run("worker", &["--input-root", "nowhere"]).refused(2, &["--input-root", "nowhere"]);
    room.run("worker", &["--threads", "0"]).refused(2, &["--threads"]);
    room.run("aggregator", &["--memory", "1MiB"]).refused(2, &["--memory", "1MiB", "needs at least 289MiB"]);
    room.run("aggregator", &["--store", "s3://me@bucket"]).refused(2, &["--store", "s3://BUCKET/PREFIX"]);
    room.run("aggregator", &["--store", "file"]).refused(5, &["file"]);
    let outcome = room.run("aggregator", &["--store", "file/beneath"]);
    outcome.refused(5, &["file/beneath"]);
}
