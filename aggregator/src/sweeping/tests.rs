//! What goes when, by a clock that the tests hold.

use super::*;
use crate::archive::Seal;
use crate::folding::tests::job_file;
use rabbit_reduce_core::message::End;
use rabbit_reduce_core::spec::Spec;
use uuid::{NoContext, Timestamp};

const KEEP: Duration = Duration::from_secs(3600);
/// In the year 2100, after whatever the tests make by the real clock.
const NOW_MS: u64 = 4_102_444_800_000;

fn sweep(archive: &Archive, keep: Option<Duration>, now_ms: u64) -> Vec<Event> {
    Sweep { archive: archive.clone(), keep, now_ms }.run()
}

fn made(ms: u64) -> Uuid {
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, 0))
}

/// A job that was made at that time, with its spec.
fn job(archive: &Archive, made_ms: u64) -> JobId {
    let job = JobId(made(made_ms));
    let spec = rabbit_reduce_core::spec::Spec { job, ..job_file().spec };
    archive.store.put_new(&Archive::spec_path(job), &serde_json::to_vec(&spec).unwrap()).unwrap();
    job
}

fn ended(archive: &Archive, time_ms: u64) -> JobId {
    let job = job(archive, NOW_MS - 90 * KEEP.as_millis() as u64);
    let end = crate::ending::without_result(Outcome::Cancelled, 1, Default::default(), time_ms);
    assert!(archive.put_end(job, &end).unwrap());
    archive.store.put_new(&format!("jobs/{job}/dead/1"), b"letter").unwrap();
    job
}

/// A message that was set aside at that time.
fn aside(archive: &Archive, first_seen_ms: u64) -> String {
    let note = Note { reason: "x".to_owned(), queue: "map".to_owned(), job: None, first_seen_ms };
    archive.set_aside(b"x", note).unwrap()
}

fn left(archive: &Archive, job: JobId) -> Vec<String> {
    archive.store.list(&format!("jobs/{job}")).unwrap()
}

#[test]
fn nothing_is_too_old_unless_somebody_says_so() {
    let archive = Archive::of_tests();
    let (job, aside) = (ended(&archive, 0), aside(&archive, 0));
    sweep(&archive, None, NOW_MS);
    assert!(left(&archive, job).len() > 1 && archive.store.get(&aside).unwrap().is_some());
    assert_eq!(archive.store.list(MARKS).unwrap(), [""; 0]);
}

#[test]
fn a_job_that_has_not_ended_fails_when_it_is_older_than_jobs_may_be() {
    let time = Some(KEEP);
    let archive = Archive { limits: crate::limits::Limits { time, ..Default::default() }, ..Archive::of_tests() };
    let hour = KEEP.as_millis() as u64;
    let (young, old) = (job(&archive, NOW_MS - hour), job(&archive, NOW_MS - hour - 1));
    let events = sweep(&archive, None, NOW_MS);
    assert!(archive.end(young).unwrap().is_none());
    let Outcome::Failed(reason) = archive.end(old).unwrap().unwrap().outcome else { panic!("it stands") };
    assert!(reason.contains("within 1h,"), "{reason}");
    assert!(events.iter().any(|event| matches!(event, Event::Ended(job, _) if *job == old)));
}

#[test]
fn an_ended_job_goes_with_its_letters_once_its_newest_end_is_old() {
    let archive = Archive::of_tests();
    let (hour, second) = (KEEP.as_millis() as u64, 1000);
    let (old, young) = (ended(&archive, NOW_MS - hour - second), ended(&archive, NOW_MS - hour + second));
    let events = sweep(&archive, Some(KEEP), NOW_MS);
    assert!(matches!(events.as_slice(), [Event::Removed(job)] if *job == old));
    assert_eq!(left(&archive, old), ["removed"]);
    assert!(left(&archive, young).contains(&"dead".to_owned()));
}

#[test]
fn a_result_that_a_step_reads_is_kept_and_the_step_is_looked_after_until_it_is_sealed() {
    let archive = Archive::of_tests();
    let long_ago = NOW_MS - 90 * KEEP.as_millis() as u64;
    let (read, step) = (ended(&archive, long_ago), job(&archive, long_ago));
    let link = |spec: Spec| {
        archive.store.remove(&Archive::spec_path(spec.job)).unwrap();
        archive.put(&Archive::spec_path(spec.job), &spec).unwrap();
    };
    link(Spec { then: Some(step), ..archive.spec(read).unwrap().unwrap() });
    link(Spec { after: Some(read), ..archive.spec(step).unwrap().unwrap() });
    let events = sweep(&archive, Some(KEEP), NOW_MS);
    assert!(matches!(events.as_slice(), [Event::Waits(job, false)] if *job == step), "it is neither old nor abandoned");
    assert!(left(&archive, read).contains(&"spec.json".to_owned()));
    archive.put_seal(step, Seal { chunks: 1 }).unwrap();
    let events = sweep(&archive, Some(KEEP), NOW_MS);
    assert!(matches!(events.as_slice(), [Event::Look(job)] if *job == step));
    let end = crate::ending::without_result(Outcome::Cancelled, 1, Default::default(), NOW_MS);
    assert!(archive.put_end(step, &end).unwrap());
    let events = sweep(&archive, Some(KEEP), NOW_MS);
    assert!(matches!(events.as_slice(), [Event::Removed(job)] if *job == read), "nobody reads it any more");
}

#[test]
fn a_job_that_was_never_sealed_ends_once_nothing_was_added_for_long_and_goes_after_that() {
    let archive = Archive::of_tests();
    let hour = KEEP.as_millis() as u64;
    let [abandoned, busy, sealed] = [(); 3].map(|()| job(&archive, NOW_MS - 2 * hour));
    let run = Archive::run_path(busy, PartitionNumber(0), made(NOW_MS - hour / 2));
    archive.store.put_new(&run, b"").unwrap();
    archive.put_seal(sealed, Seal { chunks: 1 }).unwrap();
    let unknown = JobId(made(NOW_MS - 2 * hour));
    archive.store.put_new(&format!("jobs/{unknown}/sources/0"), b"").unwrap();
    let ended: Vec<(JobId, End)> = sweep(&archive, Some(KEEP), NOW_MS)
        .into_iter()
        .filter_map(|event| match event {
            Event::Ended(job, Ok(Some(end))) => Some((job, end)),
            _ => None,
        })
        .collect();
    let jobs: Vec<JobId> = ended.iter().map(|(job, _)| *job).collect();
    assert!(jobs.len() == 2 && jobs.contains(&abandoned) && jobs.contains(&unknown), "{jobs:?}");
    for (_, End { outcome, .. }) in &ended {
        assert!(matches!(outcome, Outcome::Failed(reason) if reason.contains("--keep")), "{outcome:?}");
    }
    for job in [abandoned, busy, sealed] {
        assert!(left(&archive, job).contains(&"spec.json".to_owned()));
    }
    // Whoever seals it now finds the end.
    archive.put_seal(abandoned, Seal { chunks: 1 }).unwrap();
    sweep(&archive, Some(KEEP), ended[1].1.time_ms + hour + 1000);
    for job in jobs {
        assert_eq!(left(&archive, job), ["removed"]);
    }
    assert!(left(&archive, sealed).len() > 1);
}

#[test]
fn a_job_whose_id_tells_no_time_or_one_to_come_ages_from_when_it_was_first_seen() {
    let time = Some(2 * KEEP);
    let archive = Archive { limits: crate::limits::Limits { time, ..Default::default() }, ..Archive::of_tests() };
    let (hour, day) = (KEEP.as_millis() as u64, 24 * KEEP.as_millis() as u64);
    let random = JobId(Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef));
    let of_far_ahead = JobId(made(NOW_MS + day));
    for uploaded in [random, of_far_ahead] {
        archive.store.put_new(&format!("jobs/{uploaded}/sources/0"), b"").unwrap();
    }
    for (now, ends) in [(NOW_MS, false), (NOW_MS + hour, false), (NOW_MS + hour + 1, true)] {
        sweep(&archive, Some(KEEP), now);
        for job in [random, of_far_ahead] {
            let end = archive.end(job).unwrap();
            assert_eq!(end.is_some(), ends, "{job} {now}");
            assert!(end.is_none_or(|end| matches!(end.outcome, Outcome::Failed(reason) if reason.contains("--keep"))));
        }
    }
    // One that was submitted, too, by the other limit.
    let late = job(&archive, NOW_MS + 90 * day);
    sweep(&archive, None, NOW_MS);
    sweep(&archive, None, NOW_MS + 2 * hour + 1);
    let Outcome::Failed(reason) = archive.end(late).unwrap().unwrap().outcome else { panic!("it stands") };
    assert!(reason.contains("--max-job-time"), "{reason}");
    // Once the marks of all of them have gone, nothing is left.
    let later = NOW_MS + 1000 * day;
    sweep(&archive, Some(KEEP), later);
    sweep(&archive, Some(KEEP), later + 1);
    assert_eq!(archive.store.list(UNDATED).unwrap().len(), 3);
    sweep(&archive, Some(KEEP), later + LEAST_MARK_AGE.as_millis() as u64 + 2);
    assert_eq!(archive.store.list("").unwrap(), [""; 0]);
}

#[test]
fn what_was_set_aside_ages_from_when_it_was_first_seen() {
    let archive = Archive::of_tests();
    let aside = aside(&archive, NOW_MS);
    let hour = KEEP.as_millis() as u64;
    for (now, there) in [(NOW_MS + hour, true), (NOW_MS + hour + 1, false)] {
        sweep(&archive, Some(KEEP), now);
        assert_eq!(archive.store.get(&aside).unwrap().is_some(), there);
    }
    assert_eq!(archive.store.list("").unwrap(), [""; 0]);
}

#[test]
fn what_a_removal_left_goes_and_its_mark_stays_for_a_week() {
    let archive = Archive::of_tests();
    let job = ended(&archive, NOW_MS);
    archive.remove(job).unwrap();
    // Whoever was frozen while it was removed commits now, and dies.
    archive.store.put_new(&Archive::run_path(job, PartitionNumber(0), made(NOW_MS)), b"run").unwrap();
    sweep(&archive, None, NOW_MS);
    assert_eq!(left(&archive, job), ["removed"]);
    let week = LEAST_MARK_AGE.as_millis() as u64;
    for (now, marks) in [(NOW_MS, 1), (NOW_MS + week, 1), (NOW_MS + week + 1, 0)] {
        sweep(&archive, Some(KEEP), now);
        assert_eq!(left(&archive, job).len(), marks);
    }
    assert_eq!(archive.store.list("").unwrap(), [""; 0]);
}

#[test]
fn one_job_that_cannot_be_read_hinders_no_other() {
    let archive = Archive::of_tests();
    let broken = JobId(made(NOW_MS));
    archive.store.put_new(&format!("jobs/{broken}/end/000001"), b"{").unwrap();
    let old = ended(&archive, 0);
    sweep(&archive, Some(KEEP), NOW_MS);
    assert_eq!(left(&archive, old), ["removed"]);
}

#[test]
fn what_a_probe_left_goes_after_a_day() {
    let archive = Archive::of_tests();
    let day = LEAST_PROBE_AGE.as_millis() as u64;
    let [young, old] = [NOW_MS - 1000, NOW_MS - day - 1000].map(|made_ms| format!("{PROBE}{}", made(made_ms)));
    for name in [&young, &old, "probe-of-nobody"] {
        archive.store.put_new(name, b"first").unwrap();
    }
    sweep(&archive, None, NOW_MS);
    assert_eq!(archive.store.list("").unwrap(), [young.as_str(), "probe-of-nobody"]);
}
