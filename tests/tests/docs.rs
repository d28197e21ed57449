//! The documents against the program: what they name exists, and what they show is what comes out.
//!
//! No broker is needed. What would surprise: commands in `sh` and `console` blocks are parsed by the programs' own parsers, so a
//! flag that is renamed, or a value that is no longer taken, fails here; and a `console` block's output is computed anew.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "docs/markdown.rs"]
mod markdown;

use clap::{CommandFactory, Parser};
use markdown::{Block, Page};
use rabbit_reduce_core::jobs::Job;
use rabbit_reduce_core::local::{self, LocalSource};
use rabbit_reduce_core::message::Losses;
use rabbit_reduce_core::output::Order;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_producer::cli::{Command, Run};
use rabbit_reduce_producer::report::losses_text;
use rabbit_reduce_runtime::command::{Permission, with_commands};
use rabbit_reduce_runtime::module::with_modules;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_tests::guests::guest;
use rabbit_reduce_tests::processes::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Commands of others that the pages may use; what they do is theirs.
const OTHERS: [&str; 19] = [
    "chmod",
    "openssl",
    "rm",
    "scp",
    "cp",
    "rabbitmqctl",
    "mkdir",
    "scripts/secrets",
    "cargo",
    "docker",
    "export",
    "cat",
    "clang",
    "curl",
    "git",
    "sudo",
    "cd",
    "rustup",
    ".ci/run",
];
/// Variables that no flag has.
const VARIABLES: [&str; 19] = [
    "RABBIT_REDUCE_DATA",
    "RABBIT_REDUCE_IMAGE",
    "RABBIT_REDUCE_AMQP_PORT_2",
    "RABBIT_REDUCE_JOB_ID",
    "RABBIT_REDUCE_CHUNK",
    "RABBIT_REDUCE_SOURCE",
    "RABBIT_REDUCE_OFFSET",
    "RABBIT_REDUCE_SEPARATOR",
    "RABBIT_REDUCE_PARTITION",
    "RABBIT_REDUCE_LOG",
    "RABBIT_REDUCE_BROKER_GROUP",
    "RABBIT_REDUCE_SEEDS",
    "RABBIT_REDUCE_BROKER_URL",
    "RABBIT_REDUCE_CRASH_AT",
    "RABBIT_REDUCE_RABBITMQ_ROOT",
    "LEDGER_MODEL_SEEDS",
    "PROPTEST_CASES",
    "GOLDEN",
    "PATH",
];
/// Flags of other programs that the text names.
const FOREIGN_FLAGS: [&str; 9] =
    ["--profile", "--no-deps", "--scale", "--locked", "--now", "--wait", "--rm", "--volumes", "--test"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member lies in the workspace").to_owned()
}

/// Every page of the repository, by its path.
fn pages() -> Vec<Page> {
    let mut paths = vec![];
    for folder in ["", "docs"] {
        let entries = root().join(folder).read_dir().expect("the workspace can be listed");
        let paths_here = entries.map(|entry| Path::new(folder).join(entry.expect("an entry").file_name()));
        paths.extend(paths_here.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    paths.sort();
    let pages: Vec<Page> = paths.into_iter().map(|path| Page::read(&root(), path)).collect();
    let names: Vec<_> = pages.iter().filter_map(|page| page.path.to_str()).collect();
    assert_eq!(
        names,
        [
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "README.md",
            "SECURITY.md",
            "docs/README.md",
            "docs/comparison.md",
            "docs/dead-letters.md",
            "docs/docker.md",
            "docs/faults.md",
            "docs/how-it-works.md",
            "docs/http.md",
            "docs/machines.md",
            "docs/operate.md",
            "docs/performance.md",
            "docs/programs.md",
            "docs/protocol.md",
            "docs/reference.md",
            "docs/scale.md",
            "docs/security.md",
            "docs/stores.md",
            "docs/tour.md",
            "docs/tuning.md"
        ],
        "a page came or went: tell this test"
    );
    pages
}

fn page(name: &str) -> Page {
    Page::read(&root(), name.into())
}

#[test]
fn every_path_that_a_page_names_exists() {
    let tops: BTreeSet<String> =
        root().read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let mut seen = 0;
    for page in pages() {
        for span in page.spans() {
            let name = span.trim_end_matches('/');
            let first = name.split('/').next().unwrap();
            let plain = !name.contains([' ', '{', '<', '*', '…', '$']);
            // A path is what begins with something that lies at the top, or ends as our files do.
            let ends = [".rs", ".toml", ".md", ".yaml"].iter().any(|end| name.ends_with(end));
            let of_reader = ["rabbit-reduce.toml", "rabbit-reduce/config.toml"].contains(&name);
            if plain && !of_reader && ((name.contains('/') && tops.contains(first)) || (ends && !name.starts_with('.')))
            {
                assert!(root().join(name).exists(), "{} names `{span}`, which is not there", page.path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "only {seen} paths were found: is the search broken?");
}

#[test]
fn every_fault_has_a_test_that_tells_of_it() {
    let text = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"));
    let mut faults = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [fault, _injected, test, _promise, _seen] = cells.as_slice() else { panic!("not five cells: {row}") };
        let spans: Vec<&str> = test.split('`').skip(1).step_by(2).collect();
        let [file, function] = spans.as_slice() else { panic!("`file` `function`, not {test}") };
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {function}(")), "{file} has no function {function}");
        assert!(source.contains(&format!("\"{fault}\"")), "{file} does not tell of \"{fault}\"");
        assert!(faults.insert(fault.to_owned()), "{fault} has two lines");
    }
    // Names that stand in tables are looked for when the test tells of them.
    let (mut told, mut folders) = (0, vec![root().join("tests/tests")]);
    while let Some(folder) = folders.pop() {
        for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.ends_with(file!()) {
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for fault in source.split("fault(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')) {
                let name = fault.split('"').next().unwrap();
                assert!(faults.contains(name), "{} tells of \"{name}\", which has no row", path.display());
                told += 1;
            }
        }
    }
    assert!(told > 60, "only {told} faults are told of by name: is the search broken?");
}

#[test]
fn every_module_stands_in_the_code_map() {
    let text = page("ARCHITECTURE.md").text;
    for member in ["core", "runtime", "producer", "worker", "aggregator"] {
        for entry in root().join(member).join("src").read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let module = name.trim_end_matches(".rs");
            if !["lib", "main"].contains(&module) {
                let path = format!("{member}/src/{module}");
                assert!(
                    text.contains(&format!("`{path}.rs`")) || text.contains(&format!("`{path}/`")),
                    "{path} is not in the code map"
                );
            }
        }
    }
}

#[test]
fn the_dependencies_of_the_core_are_those_that_are_explained() {
    let manifest = std::fs::read_to_string(root().join("core/Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("[dependencies]\n").unwrap();
    let real: BTreeSet<String> = rest
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .collect();
    let page = page("ARCHITECTURE.md");
    let explained = page.table("dependency").into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(real, explained);
}

#[test]
fn every_relative_link_leads_somewhere() {
    for page in pages() {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { root().join(&page.path) } else { folder.join(file) };
            assert!(target.exists(), "{} links to {link}, which is not there", page.path.display());
            if let Some(anchor) = anchor {
                let target = Page::read(Path::new(""), target);
                assert!(target.anchors().any(|known| known == anchor), "{}: no anchor {link}", page.path.display());
            }
        }
    }
}

#[test]
fn every_command_that_a_page_shows_is_one() {
    let mut seen = 0;
    for page in pages() {
        for line in page.commands() {
            check_line(&line).unwrap_or_else(|error| panic!("{}: {line}\n{error}", page.path.display()));
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} commands were found: is the search broken?");
}

#[test]
fn every_flag_and_variable_that_the_text_names_is_one() {
    let (mut flags, mut variables) = (BTreeSet::new(), BTreeSet::new());
    for command in commands() {
        for argument in command.get_arguments() {
            flags.extend(argument.get_long().map(|name| format!("--{name}")));
            variables.extend(argument.get_env().map(|name| name.to_str().unwrap().to_owned()));
        }
    }
    flags.extend(["--help", "--version"].map(str::to_owned).into_iter().chain(FOREIGN_FLAGS.map(str::to_owned)));
    variables.extend(VARIABLES.map(str::to_owned));
    for page in pages() {
        for word in page.spans().iter().flat_map(|span| span.split([' ', '='])) {
            let shown = page.path.display();
            assert!(!word.starts_with("--") || word == "--" || flags.contains(word), "{shown} names {word}");
            assert!(!word.starts_with("RABBIT_REDUCE_") || variables.contains(word), "{shown} names {word}");
        }
    }
}

#[test]
fn the_examples_print_what_the_jobs_print() {
    let page = page("README.md");
    let files: BTreeMap<String, Vec<u8>> = page.files().into_iter().collect();
    assert_eq!(files.len(), 4);
    let mut jobs = BTreeSet::new();
    for (command, shown) in page.examples() {
        let run = parsed_run(&command);
        jobs.insert(run.steps[0].job.name().to_owned());
        assert_eq!(printed(&run, &files), shown, "what `{command}` prints is not what README.md shows");
    }
    assert_eq!(jobs.len(), rabbit_reduce_core::jobs::NAMES.len(), "a job has no example: {jobs:?}");
}

/// The flags of all commands, as a page.
fn reference() -> String {
    let mut page =
        "# Commands and flags\n\nMade from the programs by the test `the_reference_is_what_the_programs_say`; \
                    UPDATE_HELP=1 makes it anew. What all commands share stands at the end.\n"
            .to_owned();
    let (mut shared, all) = (Vec::new(), named_commands());
    let is_shared = |flag: &clap::Arg| {
        let heading = flag.get_help_heading().unwrap_or_default();
        ["Broker", "Logs", "Configuration"].contains(&heading)
    };
    for (name, command) in &all {
        let flags: Vec<&clap::Arg> = command
            .get_arguments()
            .filter(|flag| !flag.is_hide_set() && flag.get_id() != "help" && flag.get_id() != "version")
            .collect();
        shared.extend(flags.iter().filter(|flag| is_shared(flag)).map(|flag| row(flag)));
        let own: Vec<String> = flags.into_iter().filter(|flag| !is_shared(flag)).map(row).collect();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        page += &format!("\n## {name}\n\n{}.\n", about.replace('<', "\\<"));
        page += &table(&own);
    }
    let mut kept: Vec<String> = Vec::new();
    for row in shared {
        if !kept.contains(&row) {
            kept.push(row);
        }
    }
    page + "\n## What all commands that need it share\n" + &table(&kept)
}

fn table(rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| flag | variable | default | for |\n|---|---|---|---|\n{}", rows.concat())
}

/// A flag as a row of a table.
fn row(flag: &clap::Arg) -> String {
    let value = flag.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    let takes = flag.get_action().takes_values();
    let short = flag.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let name = match flag.get_long() {
        Some(long) if takes => format!("`{short}--{long} {value}`"),
        Some(long) => format!("`{short}--{long}`"),
        None => format!("`{value}`"),
    };
    let variable = flag.get_env().map(|env| format!("`{}`", env.to_string_lossy())).unwrap_or_default();
    let default: Vec<String> =
        flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let secret = flag.is_hide_env_values_set() || !takes || default.is_empty();
    let default = if secret { String::new() } else { format!("`{}`", default.join(",")) };
    let mut help = flag.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('<', "\\<");
    let possible: Vec<String> =
        flag.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes && !possible.is_empty() && !flag.is_hide_possible_values_set() {
        help += &format!(": {}", possible.join(", "));
    }
    format!("| {name} | {variable} | {default} | {} |\n", help.replace('\n', " "))
}

#[test]
fn the_reference_is_what_the_programs_say() {
    let path = root().join("docs/reference.md");
    let reference = reference();
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::write(&path, &reference).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == reference,
        "docs/reference.md is not what the programs say; UPDATE_HELP=1 writes it anew"
    );
    for flag in ["--records FORM", "--input-root DIR", "--store", "--broker-url URL", "RABBIT_REDUCE_CHUNK_SIZE"] {
        assert!(reference.contains(flag), "no {flag}: is the search broken?");
    }
}

#[test]
fn the_table_of_jobs_has_every_job_with_its_columns() {
    let rows = page("README.md").table("job");
    let mut named = Vec::new();
    for row in &rows {
        let said = row[0].trim_matches('`');
        let name = said.split(' ').next().unwrap();
        let options = match said {
            "grep" => r#"{"pattern":"x"}"#,
            "count --by-source" => r#"{"by_source":true}"#,
            _ => "{}",
        };
        let job = Job::new(name, &serde_json::from_str(options).unwrap()).unwrap();
        let columns: Vec<&str> = row[1].split(", ").map(|column| column.trim_matches('`')).collect();
        let source = LocalSource { name: b"x".to_vec(), bytes: Vec::new() };
        let sources = [source];
        let header = local::print(&job, &sources, &local::run(&job, &sources), Format::Csv).unwrap();
        let header = String::from_utf8(header).unwrap();
        assert_eq!(header.lines().next().unwrap(), columns.join(","), "{said}");
        named.push(name);
    }
    named.dedup();
    assert_eq!(named, rabbit_reduce_core::jobs::NAMES);
}

#[test]
fn the_table_of_exit_codes_is_the_enum() {
    let documented: Vec<u8> = page("README.md").table("code").iter().map(|row| row[0].parse().unwrap()).collect();
    let all = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Losses,
        Exit::Broker,
        Exit::InputOutput,
        Exit::Interrupted,
        Exit::Bug,
    ];
    for exit in all {
        // A new code does not compile until it stands above and here.
        match exit {
            Exit::Done | Exit::Failed | Exit::Usage | Exit::Losses => {}
            Exit::Broker | Exit::InputOutput | Exit::Interrupted | Exit::Bug => {}
        }
    }
    assert_eq!(documented, all.map(Exit::code));
}

#[test]
fn the_queues_are_those_of_the_table() {
    use rabbit_reduce_core::topology::{DELIVERY_LIMIT, MAP_MESSAGES, QUEUE_BYTES, Topology, queue};
    let real: BTreeMap<String, (bool, u32)> = Topology::new("x", QUEUE_BYTES)
        .queues
        .into_iter()
        .map(|queue| (queue.name, (queue.max_bytes.is_some(), queue.delivery_limit)))
        .collect();
    let mut documented = BTreeMap::new();
    for row in page("docs/protocol.md").table("queue") {
        let limited = row[2].contains("256 MiB");
        let returns = row[3].replace(',', "").parse().unwrap_or(DELIVERY_LIMIT);
        let name = row[0].trim_matches('`');
        match name {
            "reduce.0` … `reduce.7" => {
                documented.extend((0..8).map(|number| (format!("reduce.{number}"), (limited, returns))));
            }
            queue::STORE => {}
            _ => {
                documented.insert(name.to_owned(), (limited, returns));
            }
        }
    }
    assert_eq!(documented, real);
    assert_eq!((QUEUE_BYTES, MAP_MESSAGES), (256 << 20, 256));
}

/// Every command and subcommand of the three programs.
/// Every command that does something, by its whole name.
fn named_commands() -> Vec<(String, clap::Command)> {
    fn below(name: &str, command: clap::Command, all: &mut Vec<(String, clap::Command)>) {
        if command.has_subcommands() {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                below(&format!("{name} {}", sub.get_name()), sub.clone(), all);
            }
        } else {
            all.push((name.to_owned(), command));
        }
    }
    let mut all = Vec::new();
    below("producer", rabbit_reduce_producer::cli::Cli::command(), &mut all);
    below("worker", rabbit_reduce_worker::cli::Cli::command(), &mut all);
    below("aggregator", rabbit_reduce_aggregator::cli::Cli::command(), &mut all);
    all
}

fn commands() -> Vec<clap::Command> {
    let mut all = vec![
        rabbit_reduce_producer::cli::Cli::command(),
        rabbit_reduce_worker::cli::Cli::command(),
        rabbit_reduce_aggregator::cli::Cli::command(),
    ];
    let mut seen = 0;
    while seen < all.len() {
        let below: Vec<clap::Command> = all[seen].get_subcommands().cloned().collect();
        all.extend(below);
        seen += 1;
    }
    all
}

/// Checks every command of a pipeline.
fn check_line(line: &str) -> Result<(), String> {
    for words in markdown::pipeline(line)? {
        check(&words)?;
    }
    Ok(())
}

fn check(words: &[String]) -> Result<(), String> {
    let assigned = words.iter().take_while(|word| word.contains('=') && !word.starts_with('-')).count();
    for assignment in &words[..assigned] {
        let name = assignment.split('=').next().unwrap_or_default();
        let known = VARIABLES.contains(&name)
            || commands()
                .iter()
                .any(|command| command.get_arguments().any(|a| a.get_env().is_some_and(|env| env == name)));
        if !known {
            return Err(format!("there is no variable {name}"));
        }
    }
    let words = &words[assigned..];
    let Some(program) = words.first() else { return Ok(()) };
    match program.as_str() {
        "producer" | "worker" | "aggregator" => check_ours(program, words),
        "cargo" => match words.iter().position(|word| word == "--bin") {
            Some(at) => {
                let rest = words.iter().position(|word| word == "--").map_or(&[][..], |at| &words[at + 1..]);
                let ours: Vec<String> = std::iter::once(words[at + 1].clone()).chain(rest.iter().cloned()).collect();
                check_ours(&words[at + 1], &ours)
            }
            None => check_packages(words),
        },
        "docker" => check_services(words),
        path if path.starts_with("scripts/") => {
            if !root().join(path).exists() {
                return Err(format!("there is no {path}"));
            }
            if path == "scripts/with-broker" { check(&words[1..]) } else { Ok(()) }
        }
        other if OTHERS.contains(&other) => Ok(()),
        other => Err(format!("`{other}` is no command that this test knows")),
    }
}

fn check_ours(program: &str, words: &[String]) -> Result<(), String> {
    if words.iter().any(|word| word == "--help") {
        let all = commands();
        let named = words.iter().take_while(|word| *word != "--help").last().expect("the program itself");
        return all.iter().any(|c| c.get_name() == named).then_some(()).ok_or(format!("no help for {named}"));
    }
    match program {
        "producer" => {
            let room = Room::default();
            let words = with_files(&room, words);
            let cli = rabbit_reduce_producer::cli::Cli::try_parse_from(words).map_err(|error| error.to_string())?;
            let programs = with_modules(with_commands(Programs::built_in(), Permission::NeverAsked), None);
            cli.into_command(&programs).map(drop).map_err(|error| error.to_string())
        }
        "worker" => rabbit_reduce_worker::cli::Cli::try_parse_from(words).map(drop).map_err(|error| error.to_string()),
        _ => rabbit_reduce_aggregator::cli::Cli::try_parse_from(words).map(drop).map_err(|error| error.to_string()),
    }
}

/// The same words with files that are there in place of those that a reader has.
fn with_files(room: &Room, words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    for at in 1..words.len() {
        let path = match words[at - 1].as_str() {
            "--program" => guest("word_count.c"),
            "--file" => room.write(&words[at], ""),
            _ => continue,
        };
        words[at] = path.display().to_string();
    }
    words
}

/// Packages and tests that a cargo command names must be there.
fn check_packages(words: &[String]) -> Result<(), String> {
    let after = |flag: &str| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
    let Some(package) = after("-p") else { return Ok(()) };
    let member = package.strip_prefix("rabbit-reduce-").unwrap_or(package);
    let folder = root().join(member);
    let test = after("--test").map(|test| folder.join("tests").join(test));
    let there = |test: &PathBuf| test.join("main.rs").exists() || test.with_extension("rs").exists();
    let found = folder.join("Cargo.toml").exists() && test.as_ref().is_none_or(there);
    found.then_some(()).ok_or(format!("no such package or test: {package}"))
}

/// Services that a `docker compose` command names must be in compose.yaml.
fn check_services(words: &[String]) -> Result<(), String> {
    let compose = std::fs::read_to_string(root().join("compose.yaml")).map_err(|error| error.to_string())?;
    let scaled = words.iter().filter_map(|word| word.split_once('=')).map(|(service, _)| service);
    let logged = words.iter().skip_while(|word| *word != "logs").skip(1).map(String::as_str);
    for service in scaled.chain(logged).filter(|word| !word.starts_with('-')) {
        if words[1] == "compose" && !compose.contains(&format!("\n  {service}:\n")) {
            return Err(format!("compose.yaml has no service {service}"));
        }
    }
    Ok(())
}

fn parsed_run(command: &str) -> Run {
    let words = markdown::pipeline(command).unwrap().remove(0);
    let cli = rabbit_reduce_producer::cli::Cli::try_parse_from(words).unwrap();
    match cli.into_command(&with_commands(Programs::built_in(), Permission::NeverAsked)).unwrap() {
        Command::Run(run) => run,
        other => panic!("an example runs without a broker, this is {other:?}"),
    }
}

/// What a plain run over the page's own files prints: the result, then what is lost.
fn printed(run: &Run, files: &BTreeMap<String, Vec<u8>>) -> String {
    let source = |input: &PathBuf| {
        let name = input.to_str().unwrap();
        let bytes = files.get(name).unwrap_or_else(|| panic!("README.md has no file {name}")).clone();
        LocalSource { name: name.as_bytes().to_vec(), bytes }
    };
    let sources: Vec<LocalSource> = run.inputs.typed.iter().map(source).collect();
    let (job, options) = (Job::new(run.steps[0].job.name(), &run.steps[0].options).unwrap(), &run.output.options);
    let result = local::run(&job, &sources);
    let bytes = local::print(&job, &sources, &result, options.format).unwrap();
    let mut text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
    if let Order::Value { top } = options.selection.order {
        assert_eq!(options.format, Format::Tsv, "this test sorts lines");
        let mut rows: Vec<&str> = text.lines().collect();
        // Stable, so that equal counts stay in the order of their keys.
        rows.sort_by_key(|row| std::cmp::Reverse(row.rsplit('\t').next().unwrap().parse::<u64>().unwrap()));
        rows.truncate(top.map_or(usize::MAX, std::num::NonZeroUsize::get));
        text = rows.into_iter().map(|row| format!("{row}\n")).collect();
    }
    let count = result.skips.len() as u64;
    let names: Vec<Vec<u8>> = sources.into_iter().map(|source| source.name).collect();
    text + &losses_text(&Losses { records: result.skips, count, ..Losses::default() }, &names)
}

#[test]
fn the_parser_of_pages_finds_what_it_should() {
    let page = Page::of(
        "x.md",
        "# A b\n`one` and `two\nthree`\n```sh\nworker # no\nproducer \\\n  jobs\n```\n```text f\nhi\n```\n",
    );
    assert_eq!(page.spans(), ["one", "two three"]);
    assert_eq!(page.commands(), ["worker", "producer jobs"]);
    assert_eq!(page.files(), [("f".to_owned(), b"hi\n".to_vec())]);
    assert_eq!(page.anchors().collect::<Vec<_>>(), ["a-b"]);
    assert!(matches!(&page.blocks()[0], Block { kind, .. } if kind == "sh"));
    assert!(check_line("producer push --no-such-flag x").is_err());
    assert!(check_line("producer pull").is_err());
    assert!(check_line("worker --threads none").is_err());
    assert!(check_line("docker compose up -d --scale workers=4").is_err());
    assert!(check_line("scripts/nothing").is_err());
    assert!(check_line("FOO=1 worker").is_err());
    assert!(check_line("cat x | producer push -").is_ok());
}
