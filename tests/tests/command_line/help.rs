//! What the binaries say of themselves.

use rabbit_reduce_tests::processes::Room;
use std::path::Path;

const PRODUCER: [&str; 18] = [
    "run",
    "push",
    "plan",
    "resume",
    "jobs",
    "status",
    "watch",
    "explain",
    "top",
    "results",
    "cancel",
    "remove",
    "dead",
    "doctor",
    "config",
    "completions",
    "set-up",
    "teardown",
];
const DEAD: [&str; 5] = ["ls", "show", "export", "retry", "drop"];

/// Compares a help text with the one that is kept, or keeps it.
fn check(name: &str, args: &[&str], kept: &str) {
    let said = Room::default().run(name, args).text(0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("help").join(kept);
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the sources are writable");
        std::fs::write(&path, &said).expect("the sources are writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        said == expected,
        "{} is not what --help says; UPDATE_HELP=1 writes it anew. It says:\n{said}",
        path.display()
    );
}

#[test]
fn every_help_text_is_the_one_that_is_kept() {
    for name in ["producer", "worker", "aggregator"] {
        check(name, &["--help"], &format!("{name}.txt"));
    }
    for command in PRODUCER {
        check("producer", &[command, "--help"], &format!("producer-{command}.txt"));
    }
    for command in DEAD {
        check("producer", &["dead", command, "--help"], &format!("producer-dead-{command}.txt"));
    }
}

#[test]
fn no_command_is_missing_among_those_that_are_checked() {
    for (args, expected) in [(&["--help"][..], &PRODUCER[..]), (&["dead", "--help"], &DEAD)] {
        assert_eq!(commands(args), expected);
    }
}

fn commands(args: &[&str]) -> Vec<String> {
    let said = Room::default().run("producer", args).text(0);
    let commands = said.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The flags of a help text, each with what is said of it.
fn entries(help: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in help.lines() {
        if line.trim_start().starts_with('-') {
            entries.push(line.to_owned());
        } else if let Some(entry) = entries.last_mut() {
            entry.push_str(line);
        }
    }
    entries
}

#[test]
fn every_flag_has_a_variable() {
    // The levels of logging have one of another form.
    let without = ["--help", "--version", "--verbose", "--quiet"];
    for args in PRODUCER
        .map(|command| ("producer", vec![command, "--help"]))
        .into_iter()
        .chain(DEAD.map(|command| ("producer", vec!["dead", command, "--help"])))
        .chain([("worker", vec!["--help"]), ("aggregator", vec!["--help"])])
    {
        let said = Room::default().run(args.0, &args.1).text(0);
        let bare = entries(&said)
            .into_iter()
            .find(|entry| !entry.contains("[env: ") && !without.iter().any(|flag| entry.contains(flag)));
        assert_eq!(bare, None, "of {args:?}");
    }
}

#[test]
fn the_version_is_told() {
    for name in ["producer", "worker", "aggregator"] {
        let said = Room::default().run(name, &["--version"]).text(0);
        assert_eq!(said, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}
