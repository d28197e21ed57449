use super::*;
use crate::process::args::{BrokerArgs, LogArgs};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Flags {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    Push(Push),
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
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    logs: LogArgs,
}

fn config(text: &str) -> Config {
    Config { path: "the file".into(), table: text.parse().unwrap() }
}

fn pushed(text: &str, line: &[&str]) -> Push {
    let (command, _) = config(text).apply("producer", Flags::command()).unwrap();
    let words = ["producer", "push", "-"].iter().chain(line);
    let matches = command.try_get_matches_from(words).unwrap();
    match Flags::from_arg_matches(&matches).unwrap().command {
        Commands::Push(push) => push,
        Commands::Clean { yes } => panic!("{yes}"),
    }
}

fn refused(text: &str) -> String {
    config(text).apply("producer", Flags::command()).unwrap_err().to_string()
}

#[test]
fn a_setting_is_the_default_of_its_flag_wherever_that_is() {
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
    assert_eq!(pushed("[producer]\ndetach = false", &[]).chunk_size, None);
    // The command's own table comes before that of its program.
    assert_eq!(pushed("[producer]\npush = { partitions = 4 }\npartitions = 5", &[]).partitions, 4);
}

#[test]
fn what_is_no_setting_is_refused_by_name_with_what_may_be_meant() {
    assert_eq!(
        refused("namespase = 'x'"),
        "the file: namespase: what not all programs take stands in the table of one: [producer], [worker] or [aggregator]; did you mean `namespace`?"
    );
    assert!(refused("partitions = 3").contains("stands in the table of one"));
    assert_eq!(
        refused("[producer]\npartitons = 3"),
        "the file: producer.partitons: there is no such flag; did you mean `partitions`?"
    );
    assert_eq!(
        refused("[producer.pusch]\npartitions = 3"),
        "the file: producer.pusch: there is no such command; did you mean `push`?"
    );
    assert_eq!(
        refused("[producer.clean]\npartitions = 3"),
        "the file: producer.clean.partitions: there is no such flag"
    );
    assert!(refused("[worker_]\nthreads = 3").contains("did you mean `worker`?"));
    assert!(refused("[producer]\nyes = true").ends_with("there is no such flag"), "it is meant once");
    assert!(refused("config = 'x'").ends_with("there is no such flag"));
    assert!(refused("[producer]\npartitions = 1979-05-27").ends_with("or a list of these"));
    assert_eq!(refused("[producer]\ninclude = []"), "the file: producer.include: it is empty: leave it out");
    assert_eq!(refused("broker-cert = 'x'"), "the file: broker-cert: it means nothing without broker-key");
}

#[test]
fn a_value_is_judged_by_the_parser_of_its_flag() {
    let check = |text| {
        let (command, _) = config(text).apply("producer", Flags::command()).unwrap();
        check_values(&command)
    };
    assert_eq!(check("namespace = 'words'\n[producer]\npartitions = 3"), Ok(()));
    let wrong = check("[producer]\npartitions = 'many'").unwrap_err();
    assert!(wrong.contains("'many'") && wrong.contains("--partitions"), "{wrong}");
    let wrong = check("namespace = 'A B'").unwrap_err();
    assert!(wrong.contains("--namespace"), "{wrong}");
}

#[test]
fn the_file_is_named_on_the_line_wherever_that_stands() {
    let named = |line: &[&str]| named(&line.iter().map(OsString::from).collect::<Vec<_>>());
    assert_eq!(named(&["producer", "push", "--config", "a.toml", "-"]), Some("a.toml".into()));
    assert_eq!(named(&["producer", "--config=b.toml"]), Some("b.toml".into()));
    assert_eq!(named(&["producer", "push", "--", "--config", "a.toml"]), None);
    assert_eq!(named(&["producer", "--config"]), None);
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let error = Config::read(path.clone()).unwrap_err().to_string();
    assert!(error.contains("c.toml cannot be read: No such file"), "{error}");
    fs::write(&path, "namespace = \n").unwrap();
    let error = Config::read(path).unwrap_err().to_string();
    assert!(error.contains("c.toml: TOML parse error at line 1") && !error.contains('\n'), "{error}");
}
