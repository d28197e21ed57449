//! What the command line promises: its defaults, its refusals, a variable for every flag.

use super::*;
use clap::{CommandFactory, Parser};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_runtime::shown::one_line;

fn read(line: &str) -> Result<Command, String> {
    let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
    cli.into_command(&Programs::built_in()).map_err(|error| one_line(&error))
}

fn refused(line: &str, part: &str) {
    let error = read(line).unwrap_err();
    assert!(error.contains(part), "{line}: {error}");
}

fn run(line: &str) -> Run {
    let Ok(Command::Run(run)) = read(line) else { panic!("{line} is no run") };
    run
}

#[test]
fn the_definitions_agree_with_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn help_groups_flags_and_keeps_inputs_apart() {
    let help = |name: &str| Cli::command().find_subcommand_mut(name).unwrap().render_help().to_string();
    let headings = |help: &str| help.lines().filter(|line| line.ends_with(':')).map(str::to_owned).collect::<Vec<_>>();
    let push = [
        "Arguments:",
        "Options:",
        "Input options:",
        "Job options:",
        "Records:",
        "Commands:",
        "Modules:",
        "Steps:",
        "Push options:",
        "Output options:",
        "Broker:",
        "Logs:",
        "Configuration:",
        "Examples:",
    ];
    assert_eq!(headings(&help("push")), push);
    let run = [
        "Arguments:",
        "Options:",
        "Input options:",
        "Job options:",
        "Records:",
        "Commands:",
        "Modules:",
        "Steps:",
        "Resources:",
        "Output options:",
        "Logs:",
        "Configuration:",
        "Examples:",
    ];
    assert_eq!(headings(&help("run")), run);
    let status = ["Arguments:", "Options:", "Broker:", "Logs:", "Configuration:"];
    assert_eq!(headings(&help("status")), status);
}

#[test]
fn every_flag_has_a_variable() {
    let shared = ["verbose", "quiet", "help", "version"];
    let cli = Cli::command();
    let below = cli.get_subcommands().flat_map(|command| command.get_subcommands());
    for command in cli.get_subcommands().chain(below) {
        let flags = command.get_arguments().filter(|flag| !flag.is_positional());
        for flag in flags.filter(|flag| !shared.contains(&flag.get_id().as_str())) {
            let variable = flag.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            assert!(
                variable.starts_with("RABBIT_REDUCE_") || variable == "AMQP_URL",
                "{} {}",
                command.get_name(),
                flag.get_id()
            );
        }
    }
}

#[test]
fn steps_follow_each_other_and_take_nothing_but_job_options() {
    let names = |line: &str| -> Vec<String> { run(line).steps.iter().map(|step| step.job.name().to_owned()).collect() };
    assert_eq!(names("producer run x --then --job count --by-source --then"), ["word-count", "count", "word-count"]);
    assert_eq!(names("producer run --job sum x --then"), ["sum", "word-count"]);
    let last = run("producer run --job count --top 3 x --then --lowercase --partitions 2");
    assert_eq!((last.steps[1].partitions, last.steps[1].options.lowercase), (2, true));
    // One word is many: so it comes from the environment.
    let words = ["producer", "run", "x", "--then", "--job grep --pattern 'a b' --then --job count"];
    let Command::Run(run) = Cli::parse_from(words).into_command(&Programs::built_in()).unwrap() else { panic!() };
    assert_eq!((run.steps.len(), run.steps[1].options.pattern.as_deref()), (3, Some("a b")));
    for (line, part) in [
        ("producer run x --then --top 3", "step 2: unexpected argument '--top' found (--then takes job options;"),
        ("producer run x --then --job count --then y", "step 3: unexpected argument 'y' found"),
        ("producer run x --then --job nothing", "nothing"),
        ("producer run x --then --chunk-size 9MiB", "--chunk-size"),
        ("producer run --top 3 x --then --job count", "--top, --sort value and --min-count need"),
        ("producer run --then --job count x", "<INPUT>"),
    ] {
        refused(line, part);
    }
    let many = format!("producer run x{}", " --then".repeat(spec::MAX_STEPS));
    refused(&many, "--then is 100: it must be from 0 to 99");
}

#[test]
fn a_bare_run_counts_words() {
    let run = run("producer run books a -");
    assert_eq!((run.steps[0].job.name(), run.steps[0].partitions, run.steps[0].max_losses), ("word-count", 8, 100));
    assert_eq!((run.steps[0].chunk_bytes, run.output), (None, OutputConfig::default()));
    assert_eq!(run.inputs.typed, ["books", "a", "-"].map(PathBuf::from));
    assert!(run.threads >= 1 && run.memory_bytes >= MIN_MEMORY_BYTES);
}

#[test]
fn flags_arrive_where_they_belong() {
    let line = "producer push --job index --tokens words --lowercase --chunk-size 64KiB --partitions 3 --max-losses 0 \
        --by reference --detach --format json -o out.json --namespace mine x";
    let Ok(Command::Push(push)) = read(line) else { panic!("no push") };
    assert_eq!((push.steps[0].chunk_bytes, push.steps[0].partitions, push.steps[0].max_losses), (Some(65536), 3, 0));
    assert_eq!((push.by, push.detach, push.broker.namespace.as_str()), (By::Reference, true, "mine"));
    assert_eq!(push.output.path, Some("out.json".into()));
    assert_eq!(push.output.options, OutputOptions { format: Format::Json, ..OutputOptions::default() });
    let program = push.steps[0].program();
    assert_eq!((program.name.as_str(), program.options.lowercase, program.version), ("index", true, PROGRAM_VERSION));
    assert_eq!(run("producer run -o - x").output.path, None);
}

#[test]
fn a_bad_job_is_told_of_on_one_line() {
    refused("producer run --job word-cuont x", "did you mean `word-count`?");
    refused("producer run --job grep x", "the job `grep` needs --pattern");
    refused("producer run --job sum --lowercase x", "the job `sum` does not use --lowercase");
    let error = read("producer run --job grep --pattern (a x").unwrap_err();
    assert!(
        error.starts_with("--pattern: `(a`") && error.contains("unclosed group") && !error.contains('\n'),
        "{error}"
    );
    assert!(read("producer run --job grep --pattern -a x").is_ok());
}

#[test]
fn numbers_have_their_ranges() {
    for (command, size, most) in
        [("run x", "63", 64), ("run x", "65MiB", 64), ("run - x", "9MiB", 8), ("push x", "9MiB", 8)]
    {
        refused(&format!("producer {command} --chunk-size {size}"), &format!("it must be from 64 to {most}MiB"));
    }
    assert!(read("producer push --by reference --chunk-size 64MiB x").is_ok());
    assert_eq!(run("producer run --chunk-size 64MiB x").steps[0].chunk_bytes, Some(64 << 20));
    for partitions in [0, 1025] {
        refused(&format!("producer run --partitions {partitions} x"), "it must be from 1 to 1024");
    }
    refused("producer run --threads 0 x", "--threads is 0");
    refused("producer run --memory 1KiB x", "--memory is 1KiB");
    assert_eq!(run("producer run --threads 3 --memory 80MiB x").memory_bytes, 80 << 20);
}

#[test]
fn only_counts_are_ranked() {
    let order = |line: &str| run(line).output.options.selection.order;
    assert_eq!(order("producer run --top 3 x"), Order::Value { top: NonZeroUsize::new(3) });
    assert_eq!(order("producer run --sort value x"), Order::Value { top: None });
    assert_eq!(order("producer run --sort key x"), Order::Key);
    refused("producer run --top 0 x", "--top 0 asks for no rows");
    refused("producer run --top 3 --sort key x", "leave one out");
    for job in ["sum", "index", "count", "count --by-source", "grep --pattern a"] {
        refused(&format!("producer run --top 3 --job {job} x"), "has other rows");
        refused(&format!("producer run --sort value --job {job} x"), "has other rows");
    }
    assert!(read("producer results --top 3").is_ok(), "the job is not known yet");
}

#[test]
fn standard_input_is_read_once_and_by_value() {
    refused("producer run - a -", "`-` is given twice");
    refused("producer push --by reference -", "--by reference needs files");
    refused("producer run", "INPUT");
}

#[test]
fn who_reads_may_leave_out_the_job_and_who_changes_may_not() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert!(matches!(read("producer status"), Ok(Command::Status(Status { job: JobName::Last, json: false, .. }))));
    assert!(matches!(read("producer results @"), Ok(Command::Results(Results { job: JobName::Last, .. }))));
    assert!(matches!(read("producer jobs --format json"), Ok(Command::Jobs(Jobs { json: true, .. }))));
    for command in ["cancel", "remove", "resume"] {
        refused(&format!("producer {command}"), "JOB");
        assert!(read(&format!("producer {command} @")).is_ok());
    }
    let Ok(Command::Cancel(cancel)) = read(&format!("producer cancel {id}")) else { panic!("no cancel") };
    assert_eq!(cancel.job, JobName::Id(id.parse().unwrap()));
    refused("producer cancel last", "`last` is no job: write its id");
}

fn dead(line: &str) -> Dead {
    match read(line) {
        Ok(Command::Dead(dead)) => dead,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_job_and_the_names_of_letters_are_told_apart() {
    let id: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let owner = |line: &str| (dead(line).owner, dead(line).selection.names.len());
    assert_eq!(owner("producer dead ls"), (Owner::Job(JobName::Last), 0));
    assert_eq!(owner("producer dead show @ 17-3fa9"), (Owner::Job(JobName::Last), 1));
    assert_eq!(owner("producer dead show 17-3fa9 9-ab"), (Owner::Job(JobName::Last), 2));
    assert_eq!(owner(&format!("producer dead export {id} 17-3fa9 -o x")), (Owner::Job(JobName::Id(id)), 1));
    // A digest in full looks like an id without its dashes.
    let digest = id.0.simple();
    assert_eq!(owner(&format!("producer dead drop --unknown {digest}")), (Owner::Nobody, 1));
    assert_eq!(owner("producer dead show --unknown"), (Owner::Nobody, 0));
    refused("producer dead show 17", "--chunk 17 takes all letters of a chunk");
    refused("producer dead retry @ 3fa9", "`3fa9` is no dead letter's name");
    refused("producer dead show yesterday", "`yesterday` is neither a job");
    refused("producer dead show @ yesterday", "`yesterday` is no dead letter's name");
    refused(&format!("producer dead show --unknown {id}"), "leave out the job, or --unknown");
    refused("producer dead ls @ --unknown", "cannot be used with");
    refused("producer dead show --unknown --source x", "cannot be used with");
}

#[test]
fn what_changes_letters_names_the_job_and_the_letters() {
    refused("producer dead retry", "JOB");
    refused("producer dead retry 17-3fa9", "`17-3fa9` is no job");
    refused("producer dead drop", "JOB");
    refused("producer dead drop 17-3fa9 --all", "`17-3fa9` is no job");
    refused("producer dead drop @", "name letters, or a filter, or --all");
    refused("producer dead drop @ 17-3fa9 --all", "leave one out");
    refused("producer dead drop --unknown", "name letters, or a filter, or --all");
    refused("producer dead export", "--output");
    assert!(dead("producer dead drop @ --all").selection.is_everything());
    let retry = dead("producer dead retry @ --chunk 3,4 --chunk 5 --source a/b --reason no --detach");
    assert_eq!((retry.selection.chunks, retry.action), (vec![3, 4, 5], Action::Retry { detach: true }));
    assert_eq!((retry.selection.source, retry.selection.reason), (Some(b"a/b".to_vec()), Some("no".to_owned())));
}

#[test]
fn a_teardown_is_confirmed() {
    refused("producer teardown --namespace mine", "of the namespace `mine`: add --yes");
    assert!(matches!(read("producer teardown --yes"), Ok(Command::Teardown(_))));
}

#[test]
fn log_flags_stand_behind_the_command() {
    let cli = Cli::try_parse_from(["producer", "run", "x", "-q"]).unwrap();
    assert!(cli.log().quiet);
}
