//! The numbered contract of stores, run against each of them.
//!
//! A test knows its store by the trait alone. What would surprise: durability (3 and 4) cannot be seen without pulling the
//! plug; what is tested is that settling is always allowed, and each store tests what it syncs.

use super::bucket;
use super::directory::{self, Durability};
use super::memory::MemoryStore;
use super::{Put, Store, StoreError};
use std::io::Read;
use tempfile::TempDir;

/// A fresh store, and how to fill it up or make room again.
pub(super) struct Subject {
    pub(super) store: Box<dyn Store>,
    pub(super) fill: Box<dyn Fn(bool)>,
    /// Kept for as long as the store is used.
    pub(super) folder: Option<TempDir>,
}

fn memory() -> Subject {
    let store = MemoryStore::default();
    let same = store.clone();
    let fill = Box::new(move |full| same.set_room(if full { 0 } else { u64::MAX }));
    Subject { store: Box::new(store), fill, folder: None }
}

// What a bucket leaves open, the contract says; `bucket/tests.rs` has what it does instead.
macro_rules! contract {
    (everywhere: $($rule:ident),* $(,)?; in_trees: $($in_trees:ident),* $(,)?) => {
        contract!(in_trees: $($rule,)* $($in_trees,)*);
        mod in_a_bucket {
            $(#[test] fn $rule() { super::$rule(&super::bucket::tests::subject()); })*
        }
    };
    (in_trees: $($rule:ident),* $(,)?) => {
        mod in_a_synced_directory {
            $(#[test] fn $rule() { super::$rule(&super::directory::tests::subject(super::Durability::Synced)); })*
        }
        mod in_a_volatile_directory {
            $(#[test] fn $rule() { super::$rule(&super::directory::tests::subject(super::Durability::Volatile)); })*
        }
        mod in_memory {
            $(#[test] fn $rule() { super::$rule(&super::memory()); })*
        }
    };
}

contract!(
    everywhere:
    rule_1_of_racing_writers_exactly_one_wins,
    rule_2_nothing_is_seen_of_an_upload_before_it_is_finished,
    rule_2_an_uploads_name_must_be_new,
    rule_3_what_was_put_is_there,
    rule_4_settling_is_always_allowed,
    rule_5_a_list_is_sorted_and_shallow,
    rule_7_a_folder_is_removed_with_everything_in_it,
    rule_8_a_path_that_is_none_is_refused,
    rule_9_a_full_store_says_so_and_leaves_nothing,
    rule_9_an_upload_that_once_failed_is_never_finished,
    the_probe_accepts_the_store_and_leaves_nothing,
    the_stores_id_is_one_for_everyone;
    in_trees:
    rule_6_an_opened_file_reads_to_its_end_after_it_is_removed,
    rule_8_a_name_is_a_file_or_a_folder,
);

const THREADS: u8 = 8;
const ROUNDS: u32 = 40;

fn rule_1_of_racing_writers_exactly_one_wins(subject: &Subject) {
    let store = &*subject.store;
    let gate = std::sync::Barrier::new(THREADS.into());
    for round in 0..ROUNDS {
        // Folders of its own, so that making them is part of the race.
        let path = format!("race/{round}/entry");
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let put = |writer: u8| {
                gate.wait();
                store.put_new(&path, &[writer; 100]).unwrap() == Put::Created
            };
            let racing: Vec<_> = (0..THREADS).map(|writer| (writer, scope.spawn(move || put(writer)))).collect();
            racing.into_iter().filter_map(|(writer, won)| won.join().unwrap().then_some(writer)).collect()
        });
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(store.get(&path).unwrap().unwrap(), [winners[0]; 100]);
    }
}

fn rule_2_nothing_is_seen_of_an_upload_before_it_is_finished(subject: &Subject) {
    let store = &*subject.store;
    let body: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let mut upload = store.create("runs/a").unwrap();
    upload.write_all(&body).unwrap();
    upload.flush().unwrap();
    assert_eq!((store.get("runs/a").unwrap(), store.list("runs").unwrap()), (None, vec![]));
    upload.finish().unwrap();
    assert!(store.get("runs/a").unwrap().unwrap() == body);
    let mut tail = Vec::new();
    store.open("runs/a", 999_990).unwrap().unwrap().read_to_end(&mut tail).unwrap();
    assert_eq!(tail, body[999_990..]);

    let mut dropped = store.create("runs/b").unwrap();
    dropped.write_all(&body).unwrap();
    drop(dropped);
    assert_eq!(store.list("runs").unwrap(), ["a"]);
    store.create("runs/empty").unwrap().finish().unwrap();
    assert_eq!(store.get("runs/empty").unwrap(), Some(vec![]));
}

fn rule_2_an_uploads_name_must_be_new(subject: &Subject) {
    let store = &*subject.store;
    store.put_new("a", b"first").unwrap();
    let mut upload = store.create("a").unwrap();
    upload.write_all(b"second").unwrap();
    assert!(matches!(upload.finish(), Err(StoreError::Failed { .. })));
    assert_eq!(store.get("a").unwrap().unwrap(), b"first");
}

fn rule_3_what_was_put_is_there(subject: &Subject) {
    let store = &*subject.store;
    assert_eq!(store.put_new("a/b/c", b"body").unwrap(), Put::Created);
    assert_eq!(store.put_new("a/b/c", b"other").unwrap(), Put::Exists);
    assert_eq!(store.get("a/b/c").unwrap().unwrap(), b"body");
    assert_eq!(store.get("a/b/x").unwrap(), None);
    assert!(store.open("a/b/x", 0).unwrap().is_none());
    store.put_new("a/b/d", b"").unwrap();
    let names = ["a/b/c", "a/b/d", "a/b/x", "a/b/c"].map(str::to_owned);
    assert_eq!(store.get_while(&names).unwrap(), [&b"body"[..], b""]);
    let mut beyond = Vec::new();
    store.open("a/b/c", 99).unwrap().unwrap().read_to_end(&mut beyond).unwrap();
    assert_eq!(beyond, b"");
}

fn rule_4_settling_is_always_allowed(subject: &Subject) {
    let store = &*subject.store;
    store.put_new("a/b/c", b"x").unwrap();
    for folder in ["", "a", "a/b", "a/b", "nowhere/at/all"] {
        store.settle(folder).unwrap();
    }
}

fn rule_5_a_list_is_sorted_and_shallow(subject: &Subject) {
    let store = &*subject.store;
    for path in ["f/b", "f/a/deep/x", "f/a.z", "f/a-z", "f/10", "f/9", "top"] {
        store.put_new(path, b"x").unwrap();
    }
    assert_eq!(store.list("f").unwrap(), ["10", "9", "a", "a-z", "a.z", "b"]);
    assert_eq!(store.list("").unwrap(), ["f", "top"]);
    assert_eq!(store.list("nowhere").unwrap(), [""; 0]);
}

fn rule_6_an_opened_file_reads_to_its_end_after_it_is_removed(subject: &Subject) {
    let store = &*subject.store;
    let body = vec![7; 1_000_000];
    store.put_new("job/run", &body).unwrap();
    let mut reader = store.open("job/run", 0).unwrap().unwrap();
    let mut read = vec![0; 10];
    reader.read_exact(&mut read).unwrap();
    store.remove("job").unwrap();
    assert_eq!(store.get("job/run").unwrap(), None);
    reader.read_to_end(&mut read).unwrap();
    assert!(read == body);
}

fn rule_7_a_folder_is_removed_with_everything_in_it(subject: &Subject) {
    let store = &*subject.store;
    for path in ["job/1/a", "job/1/deep/b", "job/2", "job-of-another"] {
        store.put_new(path, b"x").unwrap();
    }
    store.remove("job/2").unwrap();
    assert_eq!(store.list("job").unwrap(), ["1"]);
    store.remove("job").unwrap();
    store.remove("job").unwrap();
    store.remove("job/1/a").unwrap();
    assert_eq!((store.list("job").unwrap(), store.list("").unwrap()), (vec![], vec!["job-of-another".to_owned()]));
    assert_eq!(store.put_new("job/1/a", b"again").unwrap(), Put::Created);
}

fn rule_8_a_path_that_is_none_is_refused(subject: &Subject) {
    let store = &*subject.store;
    let too_long = "x".repeat(5000);
    let bad =
        ["..", "a/../b", "../a", "/a", "a/", "a//b", ".", "./a", "a b", "ä", "a\0b", "a\\b", "tmp", "tmp/a", &too_long];
    for path in bad {
        assert!(store.put_new(path, b"x").is_err(), "put {path:?}");
        assert!(store.get(path).is_err(), "get {path:?}");
        assert!(store.create(path).is_err(), "create {path:?}");
        assert!(store.open(path, 0).is_err(), "open {path:?}");
        assert!(store.remove(path).is_err(), "remove {path:?}");
        assert!(store.list(path).is_err(), "list {path:?}");
        assert!(store.settle(path).is_err(), "settle {path:?}");
    }
    assert!(store.put_new("", b"x").is_err() && store.remove("").is_err());
    store.put_new("a/tmp/b..c", b"x").unwrap();
    assert_eq!(store.list("").unwrap(), ["a"]);
}

fn rule_8_a_name_is_a_file_or_a_folder(subject: &Subject) {
    let store = &*subject.store;
    store.put_new("folder/file", b"x").unwrap();
    assert!(store.put_new("folder", b"x").is_err());
    assert!(store.get("folder").is_err() && store.open("folder", 0).is_err());
    assert!(store.put_new("folder/file/below", b"x").is_err());
    assert!(store.list("folder/file").is_err());
    assert_eq!(store.get("folder/file/below").unwrap(), None);
    assert_eq!(store.get("folder/file").unwrap().unwrap(), b"x");
}

fn rule_9_a_full_store_says_so_and_leaves_nothing(subject: &Subject) {
    let store = &*subject.store;
    let mut upload = store.create("run").unwrap();
    (subject.fill)(true);
    let refused = store.put_new("entry", b"body").unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    // An upload may notice while it is written or when it is finished.
    let full = match upload.write_all(&[7; 1000]).and_then(|()| upload.flush()) {
        Err(error) => StoreError::before_the_name("run", error),
        Ok(()) => upload.finish().unwrap_err(),
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert_eq!(store.list("").unwrap(), [""; 0]);
    (subject.fill)(false);
    assert_eq!(store.put_new("entry", b"body").unwrap(), Put::Created);
    assert_eq!(store.list("").unwrap(), ["entry"]);
    if let Some(folder) = &subject.folder {
        assert!(folder.path().join("entry").is_file());
    }
}

fn rule_9_an_upload_that_once_failed_is_never_finished(subject: &Subject) {
    let store = &*subject.store;
    let mut upload = store.create("run").unwrap();
    (subject.fill)(true);
    // A bucket is sent large parts only.
    upload.write_all(&vec![7; 20 << 20]).and_then(|()| upload.flush()).unwrap_err();
    (subject.fill)(false);
    assert!(upload.finish().is_err());
    assert_eq!(store.list("").unwrap(), [""; 0]);
}

fn the_probe_accepts_the_store_and_leaves_nothing(subject: &Subject) {
    subject.store.probe().unwrap();
    assert_eq!(subject.store.list("").unwrap(), [""; 0]);
}

fn the_stores_id_is_one_for_everyone(subject: &Subject) {
    let store = &*subject.store;
    let ids: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| store.store_id().unwrap())).collect();
        asking.into_iter().map(|id| id.join().unwrap()).collect()
    });
    assert_eq!(ids, vec![ids[0].clone(); THREADS.into()]);
    assert!(uuid::Uuid::try_parse(&ids[0]).is_ok());
    assert_eq!(store.list("").unwrap(), ["id"]);
}
