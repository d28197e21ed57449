//! Jobs that are left alone and asked about later.

use rabbit_reduce_tests::namespaces::Namespace;
use rabbit_reduce_tests::processes::until;

#[test]
fn a_detached_job_is_listed_read_and_removed() {
    let namespace = Namespace::default();
    let expected = namespace.input(2000);
    let _aggregator = namespace.aggregator();
    namespace.ask(&["status"]).refused(2, &["no job was made on this machine", "producer jobs"]);
    let job = namespace.ask(&["push", "--detach", "in.txt"]).text(0).trim().to_owned();

    let listed = namespace.ask(&["jobs"]).text(0);
    assert!(listed.contains(&job) && listed.contains("counting"), "{listed}");
    assert!(namespace.ask(&["status", "--format", "json"]).text(0).contains(&job));
    namespace.ask(&["results"]).refused(1, &[&job, "has not ended", "producer status"]);
    namespace.ask(&["remove", "@"]).refused(1, &[&job, "cancel"]);

    let _worker = namespace.worker(&[]);
    until("the end of the job", || namespace.ask(&["status", "@"]).text(0).contains("done").then_some(()));
    assert_eq!(namespace.ask(&["results"]).text(0), expected);
    assert_eq!(namespace.ask(&["results", &job, "--top", "1", "--format", "csv"]).text(0).lines().count(), 2);
    assert_eq!(namespace.ask(&["results", "@", "-o", "out"]).text(0), "");
    assert_eq!(std::fs::read_to_string(namespace.room.path("out")).unwrap(), expected);
    namespace.ask(&["cancel", "@"]).refused(1, &[&job, "has ended"]);

    let removed = namespace.ask(&["remove", "@"]);
    assert_eq!((removed.text(0), removed.stderr), (String::new(), format!("job {job} is removed\n")));
    for command in ["status", "results", "resume", "cancel"] {
        namespace.ask(&[command, &job]).refused(1, &["no such job", "producer jobs"]);
    }
    assert!(!namespace.ask(&["jobs"]).text(0).contains(&job));
}

#[test]
fn a_cancelled_job_ends_for_who_waits_with_6() {
    let namespace = Namespace::default();
    let _counts = namespace.input(2000);
    let _aggregator = namespace.aggregator();
    let mut push = namespace.producer(&["push", "in.txt"]);
    push.says("waiting for a worker");
    let cancelled = namespace.ask(&["cancel", "@"]);
    assert!(cancelled.text(0).is_empty() && cancelled.stderr.contains("is cancelled"), "{}", cancelled.stderr);
    push.ended().refused(6, &["was cancelled"]);
    namespace.ask(&["results"]).refused(6, &["was cancelled"]);
    assert!(namespace.ask(&["status"]).text(0).contains("cancelled"));
}

#[test]
fn a_job_of_another_machine_is_not_known_by_its_sign() {
    let namespace = Namespace::default();
    let _aggregator = namespace.aggregator();
    for command in ["resume", "cancel", "remove"] {
        namespace.ask(&[command, "@"]).refused(2, &["no job was made on this machine", &namespace.name]);
    }
    let unknown = "01890000-0000-7000-8000-000000000000";
    namespace.ask(&["status", unknown]).refused(1, &["no such job"]);
    assert_eq!(namespace.ask(&["jobs"]).text(0).lines().count(), 1);
    assert_eq!(namespace.ask(&["jobs", "--format", "json"]).text(0).trim(), "[]");
}
