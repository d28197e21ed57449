//! What a bucket does beyond the contract of stores, and where the contract's tests get one.
//!
//! They need a real server, as scripts/with-bucket gives one; without it they fail. What would surprise: every store here has a
//! prefix of its own in the one bucket, and nobody empties it; the bucket goes with its server.

use super::*;
use crate::store::contract_tests::Subject;
use uuid::Uuid;

/// The same troubles that the tests across roles make.
#[path = "../../../../tests/src/front.rs"]
#[allow(dead_code, unreachable_pub, reason = "not all troubles are made here")]
mod front;

use front::{Fate, Front};

const REMEDY: &str = "there is no bucket to test with: run this under scripts/with-bucket, or leave these tests out with `--skip bucket`";

fn variables() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect()
}

fn with(name: &str, value: &str) -> Vec<(String, String)> {
    let mut variables = variables();
    variables.retain(|(found, _)| found != name);
    variables.push((name.to_owned(), value.to_owned()));
    variables
}

fn somewhere() -> BucketAddress {
    let bucket = std::env::var("TEST_BUCKET").expect(REMEDY);
    format!("{bucket}/{}", Uuid::new_v4()).parse().unwrap()
}

/// A store behind a front.
fn fronted() -> (BucketStore, Front) {
    let address = somewhere();
    let endpoint = std::env::var("AWS_ENDPOINT_URL").expect("tests need a server near by, named in AWS_ENDPOINT_URL");
    let front = Front::of(endpoint.strip_prefix("http://").expect("a server near by needs no encryption"));
    (BucketStore::open(&address, with("AWS_ENDPOINT_URL", &front.url())).unwrap(), front)
}

/// A fresh store for the contract tests, which can be filled up: then writing is refused as a server without room does.
pub(in crate::store) fn subject() -> Subject {
    let (store, front) = fronted();
    let fill = move |full: bool| {
        front.decide(move |asked| match &*asked.method {
            "PUT" | "POST" if full => Fate::Answer(507, "XMinioStorageFull"),
            _ => Fate::Pass,
        });
    };
    Subject { store: Box::new(store), fill: Box::new(fill), folder: None }
}

#[test]
fn a_large_file_is_uploaded_in_parts_and_read_in_windows() {
    let store = BucketStore::open(&somewhere(), variables()).unwrap();
    let body: Vec<u8> = (0..2 * upload::PART_BYTES as u32 + 1).map(|number| (number / 7) as u8).collect();
    let mut upload = store.create("runs/large").unwrap();
    for piece in body.chunks(300_000) {
        upload.write_all(piece).unwrap();
    }
    assert_eq!(store.list("runs").unwrap(), [""; 0]);
    upload.finish().unwrap();
    let mut read = Vec::new();
    store.open("runs/large", 0).unwrap().unwrap().read_to_end(&mut read).unwrap();
    assert!(read == body);
    read.clear();
    store.open("runs/large", 3_000_001).unwrap().unwrap().read_to_end(&mut read).unwrap();
    assert!(read == body[3_000_001..]);
}

#[test]
fn a_file_that_is_removed_while_it_is_read_is_never_taken_for_a_shorter_one() {
    let store = BucketStore::open(&somewhere(), variables()).unwrap();
    store.put_new("run", &vec![7; 2_000_000]).unwrap();
    let mut reader = store.open("run", 0).unwrap().unwrap();
    store.remove("run").unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("removed while it was read"), "{error}");
}

#[test]
fn a_put_whose_answer_is_lost_is_unknown_and_never_said_to_be_anothers() {
    let (store, front) = fronted();
    for (path, fate) in [("a", Fate::LoseAnswer), ("b", Fate::AnswerAfter(503, "SlowDown"))] {
        let mut lost = 0;
        front.decide(move |asked| {
            lost += u32::from(asked.if_absent);
            if asked.if_absent && lost == 1 { fate.clone() } else { Fate::Pass }
        });
        let error = store.put_new(path, b"body").unwrap_err();
        assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
        assert_eq!(store.get(path).unwrap().as_deref(), Some(&b"body"[..]));
        assert_eq!(store.put_new(path, b"other").unwrap(), Put::Exists);
    }
}

#[test]
fn a_put_that_was_refused_for_a_moment_is_put_once() {
    let (store, front) = fronted();
    let mut refused = 0;
    front.decide(move |asked| {
        refused += u32::from(asked.if_absent);
        if asked.if_absent && refused < 3 { Fate::Answer(503, "SlowDown") } else { Fate::Pass }
    });
    assert_eq!(store.put_new("a", b"body").unwrap(), Put::Created);
    front.decide(|asked| if asked.if_absent { Fate::Answer(409, "ConditionalRequestConflict") } else { Fate::Pass });
    assert!(matches!(store.put_new("b", b"body"), Err(StoreError::Failed { .. })));
}

#[test]
fn an_upload_whose_last_answer_is_lost_is_found_to_be_there() {
    let (store, front) = fronted();
    for size in [1000, upload::PART_BYTES + 1000] {
        let mut lost = false;
        front.decide(move |asked| {
            let last = asked.if_absent || (asked.method == "POST" && asked.path.contains("uploadId="));
            if last && !std::mem::replace(&mut lost, true) { Fate::LoseAnswer } else { Fate::Pass }
        });
        let path = format!("runs/{size}");
        let mut upload = store.create(&path).unwrap();
        upload.write_all(&vec![7; size]).unwrap();
        upload.finish().unwrap();
        assert_eq!(store.get(&path).unwrap().unwrap().len(), size);
    }
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_within_a_limit() {
    let (address, endpoint) = (somewhere(), std::env::var("AWS_ENDPOINT_URL").expect(REMEDY));
    let front = Front::of(endpoint.strip_prefix("http://").unwrap());
    let mut variables = with("AWS_ENDPOINT_URL", &front.url());
    variables.push(("AWS_TIMEOUT".to_owned(), "1s".to_owned()));
    let store = BucketStore::open(&address, variables).unwrap();
    front.decide(|asked| if asked.if_absent { Fate::Stall } else { Fate::Pass });
    let error = store.put_new("a", b"body").unwrap_err();
    assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"body"[..]));
}

#[test]
fn the_probe_is_not_misled_by_answers_that_are_lost() {
    let (store, front) = fronted();
    let mut puts = 0;
    front.decide(move |asked| {
        puts += u32::from(asked.if_absent);
        if asked.if_absent && puts % 2 == 1 { Fate::LoseAnswer } else { Fate::Pass }
    });
    store.probe().unwrap();
    assert_eq!(store.store_id().unwrap(), store.store_id().unwrap());
}

#[test]
fn what_hinders_at_the_start_is_named_with_its_remedy() {
    let nobody = "http://127.0.0.1:9";
    let missing: BucketAddress = "s3://there-is-no-such-bucket/x".parse().unwrap();
    let cases = [
        (missing, variables(), "there is no bucket there-is-no-such-bucket; make it"),
        (somewhere(), with("AWS_SECRET_ACCESS_KEY", "wrong-secret"), "check AWS_ACCESS_KEY_ID"),
        (somewhere(), with("AWS_ENDPOINT_URL", nobody), "check AWS_ENDPOINT_URL"),
        (somewhere(), with("AWS_ALLOW_HTTP", "false"), "set AWS_ALLOW_HTTP=true"),
        (somewhere(), with("AWS_ENDPOINT_URL", "http://me:wrong-secret@host"), "holds a password"),
    ];
    for (address, variables, remedy) in cases {
        let error = BucketStore::open(&address, variables).unwrap_err().to_string();
        assert!(error.contains(remedy) && !error.contains("wrong-secret"), "{error}");
    }
}

#[test]
fn nothing_that_is_secret_is_shown() {
    let store = BucketStore::open(&somewhere(), variables()).unwrap();
    let secret = std::env::var("AWS_SECRET_ACCESS_KEY").expect(REMEDY);
    assert!(!format!("{store:?}").contains(&secret));
}
