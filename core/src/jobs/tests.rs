use super::*;
use std::error::Error as _;

fn options(json: &str) -> Options {
    serde_json::from_str(json).unwrap()
}

fn refusal(name: &str, json: &str) -> String {
    Job::new(name, &options(json)).unwrap_err().to_string()
}

#[test]
fn every_name_makes_a_job_of_that_name() {
    for name in NAMES {
        let options = if name == "grep" { options(r#"{"pattern":"x"}"#) } else { Options::default() };
        assert_eq!(Job::new(name, &options).unwrap().name(), name);
    }
}

#[test]
fn options_that_are_not_said_are_not_written_and_unknown_ones_are_refused() {
    assert_eq!(serde_json::to_string(&Options::default()).unwrap(), "{}");
    let text = r#"{"tokens":"words","lowercase":true}"#;
    assert_eq!(serde_json::to_string(&options(text)).unwrap(), text);
    assert!(serde_json::from_str::<Options>(r#"{"uppercase":true}"#).is_err());
    assert!(serde_json::from_str::<Options>(r#"{"tokens":"lines"}"#).is_err());
}

#[test]
fn an_unknown_job_is_named_with_the_known_ones() {
    let known = "the jobs are word-count, letter-count, count, sum, index, grep";
    assert_eq!(refusal("wordcount", "{}"), format!("there is no job `wordcount`; did you mean `word-count`?; {known}"));
    assert_eq!(
        refusal("Letter_Count", "{}"),
        format!("there is no job `Letter_Count`; did you mean `letter-count`?; {known}")
    );
    assert_eq!(refusal("quicksort", "{}"), format!("there is no job `quicksort`; {known}"));
}

#[test]
fn an_option_that_a_job_does_not_use_is_refused() {
    let cases = [
        ("word-count", r#"{"by_source":true}"#, "the job `word-count` does not use --by-source; count does"),
        (
            "letter-count",
            r#"{"tokens":"whitespace"}"#,
            "the job `letter-count` does not use --tokens; word-count, index do",
        ),
        (
            "grep",
            r#"{"pattern":"x","lowercase":true}"#,
            "the job `grep` does not use --lowercase; word-count, letter-count, index do",
        ),
        ("sum", r#"{"token_regex":"x"}"#, "the job `sum` does not use --token-regex; word-count, index do"),
        ("index", r#"{"pattern":"x"}"#, "the job `index` does not use --pattern; grep does"),
    ];
    for (name, json, expected) in cases {
        assert_eq!(refusal(name, json), expected);
    }
}

#[test]
fn both_rules_for_tokens_are_one_too_many() {
    let error = refusal("index", r#"{"tokens":"words","token_regex":"x"}"#);
    assert_eq!(error, "--tokens and --token-regex are both given: leave one out");
}

#[test]
fn grep_needs_a_pattern() {
    assert_eq!(refusal("grep", "{}"), "the job `grep` needs --pattern");
}

#[test]
fn a_bad_expression_is_named_and_the_source_says_where() {
    let error = Job::new("word-count", &options(r#"{"token_regex":"a(b"}"#)).unwrap_err();
    assert_eq!(error.to_string(), "--token-regex: `a(b` is no regular expression that can be used");
    assert!(error.source().unwrap().to_string().contains(" ^\nerror: unclosed group"));
}

#[test]
fn an_expression_that_is_too_long_is_not_even_looked_at() {
    let options = Options { pattern: Some(r"\w".repeat(1 << 20)), ..Options::default() };
    let error = Job::new("grep", &options).unwrap_err().to_string();
    assert_eq!(error, "--pattern: an expression of 2097152 bytes is too long; at most 16384 are taken");
}
