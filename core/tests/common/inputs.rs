//! Random input that is near every boundary, and every built-in job with every option that changes what it maps.
//!
//! What would surprise: the tests of the cluster, in another package, read this very file.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use rabbit_reduce_core::jobs::{Job, Options};

/// A name and what it holds.
pub(crate) type Source = (Vec<u8>, Vec<u8>);

/// As many cases, from the same seed every time; `PROPTEST_RNG_SEED` sets another. A failure prints the whole case.
pub(crate) fn cases(cases: u32) -> Config {
    let defaults = Config::default();
    let rng_seed = match defaults.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x7261_6262_6974),
        fixed => fixed,
    };
    Config { cases, rng_seed, ..defaults }
}

pub(crate) fn job(name: &str, options: &str) -> Job {
    Job::new(name, &options_of(options)).unwrap()
}

/// Options as JSON says them.
pub(crate) fn options_of(json: &str) -> Options {
    serde_json::from_str(json).unwrap()
}

/// Every job, with every option that changes what it maps.
pub(crate) fn jobs() -> Vec<Job> {
    named_jobs().iter().map(|(name, options)| job(name, options)).collect()
}

/// As [`jobs`]: their names, and their options as JSON.
pub(crate) fn named_jobs() -> Vec<(&'static str, String)> {
    let tokens = [
        r#""tokens":"whitespace""#,
        r#""tokens":"letters""#,
        r#""tokens":"words""#,
        r#""token_regex":"(?i)[a-z]+('[a-z]+)?|^\\W|\\d*$""#,
    ];
    let mut jobs = vec![
        ("sum", "{}".to_owned()),
        ("count", "{}".to_owned()),
        ("count", r#"{"by_source":true}"#.to_owned()),
        ("grep", r#"{"pattern":"^$|[a-cé]|\\s$"}"#.to_owned()),
        ("letter-count", "{}".to_owned()),
        ("letter-count", r#"{"lowercase":true}"#.to_owned()),
    ];
    let records = [
        ("word-count", r#"{"records":{"form":"line"},"tokens":"whole"}"#),
        ("word-count", r#"{"records":{"form":"csv","field":"1"},"lowercase":true}"#),
        ("word-count", r#"{"records":{"form":"delimiter","delimiter":",","field":"2"}}"#),
        ("word-count", r#"{"records":{"form":"tsv","field":"1"}}"#),
        ("letter-count", r#"{"records":{"form":"paragraph"}}"#),
        ("index", r#"{"records":{"form":"csv","delimiter":":","no_header":true,"field":"1"},"tokens":"letters"}"#),
        ("sum", r#"{"records":{"form":"line","field":"1"}}"#),
        ("grep", r#"{"records":{"form":"csv","no_header":true,"field":"1"},"pattern":"[a-c]|^$"}"#),
    ];
    jobs.extend(records.map(|(job, options)| (job, options.to_owned())));
    for tokens in tokens {
        for lowercase in ["", r#","lowercase":true"#] {
            jobs.push(("word-count", format!("{{{tokens}{lowercase}}}")));
            jobs.push(("index", format!("{{{tokens}{lowercase}}}")));
        }
    }
    jobs
}

/// Bytes in which much is near a boundary of some kind.
pub(crate) fn text() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::sample::select(vec![
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u{b}",
        "\u{1c}",
        "\u{85}",
        "\u{a0}",
        "\u{2003}",
        "\u{2028}",
        "\u{3000}",
        "\u{feff}",
        "a",
        "B",
        "can't",
        "é",
        "e\u{301}",
        "\u{301}",
        "\u{ad}",
        "Σ",
        "ΑΣ",
        "İ",
        "ß",
        "本",
        "カタ",
        "א\"א",
        "🇩🇪",
        "🇩",
        "👩\u{200d}👧",
        "\u{200d}",
        "'",
        ".",
        ":",
        ",",
        "\"",
        ",\"",
        "\n\n",
        "_",
        "1",
        "9",
        "-2.5",
        "+7e3",
        "1e-30",
        ".5",
        "1e18",
        "0",
        "\\",
        "\0",
        "\u{378}",
    ]);
    let broken = prop::sample::select(vec![
        &b"\xff"[..],
        b"\xe2\x80",
        b"\xc2",
        b"\xf0\x9f\x87",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xe3\x80",
    ]);
    let part = prop_oneof![
        12 => text.prop_map(|text| text.as_bytes().to_vec()),
        2 => broken.prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

pub(crate) fn sources() -> impl Strategy<Value = Vec<Source>> {
    prop::collection::vec(text(), 0..4).prop_map(|texts| {
        let names = ["b,\\", "a\t\0", "-", "c"];
        names.into_iter().map(|name| name.as_bytes().to_vec()).zip(texts).collect()
    })
}

/// Numbers from a seed, so that a failure is told by it.
pub(crate) fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 31
    }
}
