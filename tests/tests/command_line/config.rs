//! Flags out of a file, and jobs that are only planned.

use rabbit_reduce_tests::processes::{Room, arg};
use std::collections::BTreeSet;

#[test]
fn flags_come_from_the_line_the_environment_the_file_in_this_order() {
    let room = Room::default();
    room.write("in.txt", "a b b\n");
    let top = |command: &mut std::process::Command| {
        let output = command.args(["run", "in.txt"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(top(&mut room.command("producer")), "a\t1\nb\t2\n");
    room.write("rabbit-reduce.toml", "[producer]\nsort = \"value\"\n[producer.run]\nmin-count = 2\n");
    assert_eq!(top(&mut room.command("producer")), "b\t2\n");
    assert_eq!(top(room.command("producer").env("RABBIT_REDUCE_MIN_COUNT", "1")), "b\t2\na\t1\n");
    let given = room.run("producer", &["run", "in.txt", "--min-count", "1", "--sort", "key"]);
    assert_eq!(given.text(0), "a\t1\nb\t2\n");
    let other = room.write("other.toml", "[producer]\nlowercase = true\nformat = \"ndjson\"\n");
    let named = room.run("producer", &["run", "--config", arg(&other), "in.txt"]);
    assert_eq!(named.text(0), "{\"key\":\"a\",\"count\":1}\n{\"key\":\"b\",\"count\":2}\n");
    assert_eq!(
        top(room.command("producer").env("RABBIT_REDUCE_CONFIG", &other)),
        "{\"key\":\"a\",\"count\":1}\n{\"key\":\"b\",\"count\":2}\n"
    );
}

#[test]
fn the_file_of_a_person_is_read_where_none_is_nearer() {
    let room = Room::default();
    room.write("in.txt", "a b b\n");
    room.write("xdg/rabbit-reduce/config.toml", "[producer]\nmin-count = 2\n");
    let run = |room: &Room| {
        let mut command = room.command("producer");
        let output = command.env("XDG_CONFIG_HOME", room.path("xdg")).args(["run", "in.txt"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&room), "b\t2\n");
    room.write("rabbit-reduce.toml", "");
    assert_eq!(run(&room), "a\t1\nb\t2\n");
    room.write("rabbit-reduce.toml", "[producer.run]\nmapper = \"touch pwned\"\n");
    room.run("producer", &["run", "in.txt"]).refused(2, &["producer.run.mapper", "name that with --config"]);
    assert!(!room.path("pwned").exists());
    assert!(
        room.run("producer", &["completions", "bash"]).text(0).contains("complete"),
        "shells ask for it as they start"
    );
    room.write("rabbit-reduce.toml", "[producer]\nsort = \"value\"\n");
    let clash = room.run("producer", &["run", "in.txt", "--job", "sum"]);
    clash.refused(2, &["--sort value", "flags also come from rabbit-reduce.toml"]);
    assert!(room.run("producer", &["--help"]).text(0).contains("Usage"), "help is had whatever the file says");
}

#[test]
fn a_file_that_is_wrong_is_told_of_with_the_place() {
    let room = Room::default();
    room.write("in.txt", "a\n");
    let refused = |text: &str, said: &[&str]| {
        room.write("rabbit-reduce.toml", text);
        room.run("producer", &["run", "in.txt"]).refused(2, &[&["rabbit-reduce.toml"], said].concat());
        room.run("producer", &["config", "check"]).refused(2, &[&["rabbit-reduce.toml"], said].concat());
    };
    refused("namespace = \n", &["line 1: ", "quoted"]);
    refused("namespase = \"x\"\n", &["namespase", "did you mean `namespace`?"]);
    refused("[producer]\nmin-cuont = 2\n", &["producer.min-cuont", "did you mean `min-count`?"]);
    refused("[producer]\nmin-count = \"many\"\n", &["many", "--min-count"]);
    // Only who looks at all programs sees what another is told.
    room.write("rabbit-reduce.toml", "[worker]\nthreds = 2\n");
    assert_eq!(room.run("producer", &["run", "in.txt"]).text(0), "a\t1\n");
    room.run("producer", &["config", "check"]).refused(2, &["worker.threds", "did you mean `threads`?"]);
    room.run("worker", &[]).refused(2, &["worker.threds"]);
    room.run("producer", &["run", "--config", "none.toml", "in.txt"]).refused(2, &["none.toml cannot be read"]);
}

/// Whatever names a place, an address or something to run: a flag that is added is judged here, too.
#[test]
fn a_file_that_was_only_found_names_no_place_address_or_command() {
    const PLACES: [&str; 9] = ["FILE", "DIR", "DIR|s3://…", "URL", "HOST", "COMMAND", "ADDRESS", "LIST", "DURATION"];
    let room = Room::default();
    let reference = include_str!("../../../docs/reference.md");
    let (mut program, mut judged) = ("", 0);
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            program = heading.split(' ').next().unwrap();
        }
        let named =
            line.strip_prefix("| `").and_then(|row| row.split('`').next()?.rsplit_once("--")?.1.split_once(' '));
        let Some((flag, value)) = named else { continue };
        let harmless = ["config", "module-silence", "command-silence", "max-job-time"].contains(&flag);
        let is_place = flag == "namespace" || PLACES.contains(&value.replace('\\', "").as_str());
        if harmless || !is_place {
            continue;
        }
        let of_one = ["producer", "worker", "aggregator"].contains(&program);
        let table = if of_one { format!("[{program}]\n") } else { String::new() };
        room.write("rabbit-reduce.toml", format!("{table}{flag} = \"x\"\n"));
        let said = room.run("producer", &["config", "check"]).stderr;
        assert!(
            said.contains("not taken from a file that only lies in the current folder"),
            "{program} --{flag}: {said}"
        );
        judged += 1;
    }
    assert!(judged > 25, "only {judged} flags were found: is the search broken?");
    // Those that have no value, each of which is harmless, or refused.
    const HARMLESS: [&str; 9] =
        ["as-is", "by-source", "detach", "exit-when-idle", "full", "lowercase", "no-header", "quiet", "verbose"];
    let (mut program, mut switches) = ("", BTreeSet::new());
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            program = heading.split(' ').next().unwrap();
        }
        let named = line.strip_prefix("| `").and_then(|row| row.split('`').next()?.rsplit_once("--"));
        switches.extend(named.filter(|(_, flag)| !flag.contains(' ')).map(|(_, flag)| (program, flag)));
    }
    for (program, switch) in switches.iter().filter(|(_, switch)| !HARMLESS.contains(switch)) {
        let program = if ["worker", "aggregator"].contains(program) { program } else { "producer" };
        room.write("rabbit-reduce.toml", format!("[{program}]\n{switch} = true\n"));
        let said = room.run("producer", &["config", "check"]).stderr;
        assert!(said.contains("not taken from a file") || said.contains("there is no such flag"), "{switch}: {said}");
    }
    for dangerous in [("worker", "allow-commands"), ("aggregator", "allow-commands")] {
        assert!(switches.contains(&dangerous), "{switches:?}");
    }
}

#[test]
fn the_example_of_the_first_page_is_taken_from_where_it_says_to_be() {
    let room = Room::default();
    let page = include_str!("../../../README.md");
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = example.lines().next().unwrap().strip_prefix("# ").unwrap();
    room.write(&format!("home/{place}"), example);
    let listed = room.run("producer", &["config", "check"]).text(0);
    assert!(listed.contains("namespace") && listed.contains("logs"), "{listed}");
}

#[test]
fn what_a_file_sets_is_listed_without_passwords() {
    let room = Room::default();
    assert!(room.run("producer", &["config", "check"]).text(0).contains("there is no file"));
    let text = "namespace = \"logs\"\nbroker-url = \"amqp://u:hunter2@h\"\n[worker]\nthreads = 2\n[producer.push]\ncompress = \"lz4\"\n";
    room.write("rabbit-reduce.toml", text);
    let reason = "not taken from a file that only lies in the current folder";
    room.run("producer", &["config", "check"]).refused(2, &["broker-url", reason]);
    room.run("worker", &[]).refused(2, &["broker-url", reason]);
    let listed = room.run("producer", &["config", "check", "--config", "rabbit-reduce.toml"]).text(0);
    for line in ["namespace", "logs (all programs)", "worker.threads", "2 (worker)", "lz4 (producer)"] {
        assert!(listed.contains(line), "no `{line}` in {listed}");
    }
    assert!(!listed.contains("hunter2"), "{listed}");
}

#[test]
fn a_plan_tells_what_a_job_would_be_and_sends_nothing() {
    let room = Room::default();
    room.write("d/a.txt", "some words\n".repeat(50_000));
    room.write("d/b.csv", "name,city\nx,Rome\nbad\n");
    let json = |args: &[&str]| -> serde_json::Value {
        let text = room.run("producer", &[&["plan", "--format", "json"], args].concat()).text(0);
        serde_json::from_str(&text).unwrap()
    };
    let plan = json(&["d", "--chunk-size", "64KiB", "--partitions", "3"]);
    let of = |name: &str| plan[name].as_u64().unwrap();
    assert_eq!((of("sources"), of("bytes"), of("partitions")), (2, 550_021, 3));
    assert!((9..=10).contains(&of("chunks")), "{plan}");
    assert_eq!(of("partials"), 3 * of("chunks"), "each chunk sends a message to each partition");
    assert!(of("task_bytes") > 550_021 && of("task_bytes") < 600_000, "{plan}");
    let packed = json(&["d", "--chunk-size", "64KiB", "--compress", "lz4"]);
    assert!(packed["task_bytes"].as_u64().unwrap() < 60_000, "{packed}");
    let referred = json(&["d", "--by", "reference", "--chunk-size", "64KiB"]);
    assert!(referred["task_bytes"].as_u64().unwrap() < 20_000, "{referred}");
    let refusing = room.run("producer", &["plan", "--records", "csv", "--field", "city", "d/b.csv"]).text(0);
    assert!(refusing.contains("refused     about 1 record, to be lost"), "{refusing}");
    let command = room.run("producer", &["plan", "--mapper", "cat", "d"]).text(0);
    assert!(command.contains("not known before it runs"), "{command}");
    room.run("producer", &["plan", "nowhere"]).refused(5, &["nowhere"]);
    room.run("producer", &["plan", "d", "--partitions", "0"]).refused(2, &["--partitions is 0"]);
    room.run("producer", &["plan", "d", "--records", "csv", "--field", "x"]).refused(2, &["d/a.txt", "no column"]);
}
