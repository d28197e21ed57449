use super::*;
use crate::process::args::{BrokerArgs, LogArgs};
use clap::{Parser, Subcommand};
use std::fs;

#[derive(Debug, Parser)]
struct Flags {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    Push(Box<Push>),
    Clean {
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Push {
    input: String,
    #[arg(long, default_value_t = 8)]
    partitions: u32,
    #[arg(long, env = "RABBIT_REDUCE_TEST_CHUNK_SIZE")]
    chunk_size: Option<String>,
    #[arg(long)]
    detach: bool,
    #[arg(long)]
    include: Vec<String>,
    #[arg(long, conflicts_with = "output")]
    parts: Option<String>,
    #[arg(long)]
    output: Option<String>,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    logs: LogArgs,
}

fn config(text: &str) -> Config {
    Config { path: "the file".into(), found_here: false, table: text.parse().unwrap() }
}

fn pushed(text: &str, line: &[&str]) -> Push {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.toml");
    fs::write(&file, text).unwrap();
    let words: Vec<OsString> = ["producer", "push", "-", "--config"].iter().map(OsString::from).collect();
    let words = [words, vec![file.into()], line.iter().map(OsString::from).collect()].concat();
    let (line, _) = filled("producer", &Flags::command(), words).unwrap();
    match Flags::try_parse_from(line).unwrap().command {
        Commands::Push(push) => *push,
        Commands::Clean { yes } => panic!("{yes}"),
    }
}

fn refused(text: &str) -> String {
    config(text).settings("producer", &Flags::command()).unwrap_err().to_string()
}

#[test]
fn a_setting_is_given_wherever_its_flag_is_unless_somebody_says_otherwise() {
    let text = "
        namespace = 'words'
        log-format = 'json'
        [producer]
        partitions = 3
        detach = true
        [producer.push]
        include = ['*.txt', '*.log']
        [worker]
        threads = 2";
    let push = pushed(text, &[]);
    assert_eq!((push.broker.namespace.as_str(), push.partitions, push.detach), ("words", 3, true));
    assert_eq!(push.include, ["*.txt", "*.log"]);
    assert_eq!(push.logs.log_format, crate::process::args::LogFormat::Json);
    assert_eq!(push.input, "-");
    let given = pushed(text, &["--partitions", "9", "--namespace", "mine", "--include", "*"]);
    assert_eq!((given.broker.namespace.as_str(), given.partitions), ("mine", 9), "what is given comes first");
    assert_eq!(given.include, ["*"]);
    assert_eq!(pushed("", &[]).partitions, 8);
    let off = pushed("[producer]\ndetach = false", &[]);
    assert_eq!((off.detach, off.chunk_size), (false, None));
    // The command's own table comes before that of its program.
    assert_eq!(pushed("[producer]\npush = { partitions = 4 }\npartitions = 5", &[]).partitions, 4);
}

#[test]
fn of_flags_that_exclude_each_other_the_one_that_is_given_counts() {
    let text = "[producer]\nparts = 'folder'";
    assert_eq!(pushed(text, &[]).parts.as_deref(), Some("folder"));
    let given = pushed(text, &["--output", "file"]);
    assert_eq!((given.parts, given.output.as_deref()), (None, Some("file")));
    let flags = "broker-cert = 'a'\nbroker-key = 'b'";
    assert_eq!(pushed(flags, &["--broker-cert", "c"]).broker.broker_key.as_deref(), Some(Path::new("b")));
}

#[test]
fn what_is_no_setting_is_refused_by_name_with_what_may_be_meant() {
    let reason = "what not all programs take stands in the table of one: [producer], [worker] or [aggregator]";
    assert_eq!(refused("namespase = 'x'"), format!("the file: namespase: {reason}; did you mean `namespace`?"));
    assert!(refused("partitions = 3").contains("stands in the table of one"));
    let flag = "there is no such flag";
    assert_eq!(
        refused("[producer]\npartitons = 3"),
        format!("the file: producer.partitons: {flag}; did you mean `partitions`?")
    );
    let command = "the file: producer.pusch: there is no such command; did you mean `push`?";
    assert_eq!(refused("[producer.pusch]\npartitions = 3"), command);
    assert_eq!(refused("[producer.clean]\npartitions = 3"), format!("the file: producer.clean.partitions: {flag}"));
    assert!(refused("[worker_]\nthreads = 3").contains("did you mean `worker`?"));
    assert!(refused("[producer]\nyes = true").ends_with(flag), "it is meant once");
    assert!(refused("config = 'x'").ends_with(flag));
    assert!(refused("[producer]\npartitions = 1979-05-27").ends_with("or a list of these"));
    assert_eq!(refused("[producer]\ninclude = []"), "the file: producer.include: it is empty: leave it out");
    assert_eq!(refused("[producer]\npartitions = [3, 4]"), "the file: producer.partitions: it takes one value");
    assert_eq!(refused("[producer]\ndetach = 'yes'"), "the file: producer.detach: it is true or false");
}

#[test]
fn a_file_that_was_only_found_runs_nothing_and_names_no_broker() {
    let found = |text| Config { found_here: true, ..config(text) }.settings("producer", &Flags::command());
    assert!(found("[producer]\npartitions = 3").is_ok());
    for (text, name) in [("broker-url = 'amqp://elsewhere'", "broker-url"), ("namespace = 'theirs'", "namespace")] {
        let refused = found(text).unwrap_err().to_string();
        let said = format!("{name}: it is not taken from a file that only lies in the current folder");
        assert!(refused.contains(&said), "{refused}");
    }
}

#[test]
fn a_value_is_judged_by_the_parser_of_its_flag() {
    let check = |text| {
        let (config, command) = (config(text), Flags::command());
        config.check(&command, &config.settings("producer", &command).unwrap())
    };
    assert_eq!(check("namespace = 'words'\n[producer]\npartitions = 3"), Ok(()));
    let wrong = check("[producer]\npartitions = 'many'").unwrap_err();
    assert!(wrong.contains("'many'") && wrong.contains("--partitions"), "{wrong}");
    let wrong = check("namespace = 'A B'").unwrap_err();
    assert!(wrong.contains("--namespace"), "{wrong}");
    let wrong = check("[producer]\nparts = 'x'\noutput = 'y'").unwrap_err();
    assert!(wrong.contains("cannot be used with"), "{wrong}");
}

#[test]
fn what_may_be_a_password_is_not_shown() {
    let settings = config("broker-url = 'amqp://u:hunter2@h'").settings("producer", &Flags::command()).unwrap();
    assert_eq!(settings[0].shown, "…");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "\nbroker-url = \"amqp://u:hunter2@h\n").unwrap();
    let error = Config::read(path).unwrap_err().to_string();
    assert!(error.contains("c.toml, line 2: ") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let error = Config::read(path.clone()).unwrap_err().to_string();
    assert!(error.contains("c.toml cannot be read: No such file"), "{error}");
    fs::write(&path, "namespace = \n").unwrap();
    let error = Config::read(path.clone()).unwrap_err().to_string();
    assert!(error.contains("c.toml, line 1: ") && !error.contains('\n'), "{error}");
}

#[test]
fn what_has_no_end_is_refused_and_a_pipe_is_waited_for_only_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("c.toml");
    let long = Config::read("/dev/zero".into()).unwrap_err().to_string();
    assert!(long.contains("it has more than 1048576 bytes"), "{long}");
    // Nobody writes to it, and nobody waits for that in a folder where it only lies.
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    let found = Config::read_as(pipe.clone(), true).unwrap_err().to_string();
    assert!(found.contains("it is no regular file: name it with --config"), "{found}");
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "namespace = 'n'").unwrap()
    });
    assert_eq!(Config::read(pipe).unwrap().table.len(), 1, "whoever names one waits for what comes");
    writer.join().unwrap();
}
