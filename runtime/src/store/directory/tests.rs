//! What a directory does beyond the contract of stores: modes, temporary files, and disks that fail on purpose.

use super::*;
use crate::store::contract_tests::Subject;
use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

thread_local! {
    /// Whether the disk of this thread is full.
    static FULL: Cell<bool> = const { Cell::new(false) };
}

/// Writes half and then has no room, as a real disk does.
fn write_while_there_is_room(file: &mut File, bytes: &[u8]) -> io::Result<usize> {
    use std::io::Write;
    if !FULL.get() {
        return file.write(bytes);
    }
    if bytes.len() > 1 {
        return file.write(&bytes[..bytes.len() / 2]);
    }
    Err(ErrorKind::StorageFull.into())
}

/// A fresh store for the contract tests, whose disk can be filled.
pub(in crate::store) fn subject(durability: Durability) -> Subject {
    let folder = TempDir::new().unwrap();
    let disk = if durability == Durability::Synced { Disk::SYNCED } else { Disk::VOLATILE };
    let store = DirectoryStore::on(Disk { write: write_while_there_is_room, ..disk }, folder.path()).unwrap();
    Subject { store: Box::new(store), fill: Box::new(|full| FULL.set(full)), folder: Some(folder) }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nobody_else_can_read_what_is_stored() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("new/store");
    let store = DirectoryStore::open(&root, Durability::Synced).unwrap();
    store.put_new("a/b", b"x").unwrap();
    let mut upload = store.create("a/c").unwrap();
    upload.write_all(b"x").unwrap();
    upload.finish().unwrap();
    assert_eq!([mode(&root.join("a/b")), mode(&root.join("a/c"))], [0o600; 2]);
    assert_eq!(
        [&folder.path().join("new"), &root, &root.join("tmp"), &root.join("a")].map(|path| mode(path)),
        [0o700; 4]
    );
}

#[test]
fn no_temporary_file_stays() {
    let folder = TempDir::new().unwrap();
    let store = DirectoryStore::open(folder.path(), Durability::Synced).unwrap();
    store.put_new("a/b", b"first").unwrap();
    store.put_new("a/b", b"second").unwrap();
    drop(store.create("a/c").unwrap());
    store.remove("a").unwrap();
    assert_eq!(names(&folder.path().join("tmp")), [""; 0]);
    assert_eq!(names(folder.path()), ["tmp"]);
}

#[test]
fn leftovers_of_the_day_before_are_cleared_and_younger_ones_are_not() {
    let folder = TempDir::new().unwrap();
    drop(DirectoryStore::open(folder.path(), Durability::Synced).unwrap());
    let own = folder.path().join("tmp");
    fs::create_dir_all(own.join("removed-old/inside")).unwrap();
    for name in ["old", "young"] {
        fs::write(own.join(name), "x").unwrap();
    }
    let now = fs::metadata(own.join("young")).unwrap().modified().unwrap();
    for name in ["old", "removed-old"] {
        File::open(own.join(name)).unwrap().set_modified(now - LEFTOVER_AGE * 2).unwrap();
    }
    DirectoryStore::open(folder.path(), Durability::Synced).unwrap();
    assert_eq!(names(&own), ["young"]);
}

#[test]
fn a_file_that_cannot_be_made_durable_gets_no_name() {
    let folder = TempDir::new().unwrap();
    let full = |file: &File| if file.metadata()?.is_file() { Err(ErrorKind::QuotaExceeded.into()) } else { Ok(()) };
    let store = DirectoryStore::on(Disk { sync: full, ..Disk::SYNCED }, folder.path()).unwrap();
    assert!(matches!(store.put_new("a", b"x"), Err(StoreError::Full { .. })));
    assert!(matches!(store.create("a").unwrap().finish(), Err(StoreError::Full { .. })));
    assert_eq!((store.get("a").unwrap(), names(folder.path())), (None, vec!["tmp".to_owned()]));
}

#[test]
fn a_name_that_may_not_be_durable_is_unknown_and_can_be_read_back() {
    let folder = TempDir::new().unwrap();
    drop(DirectoryStore::open(folder.path(), Durability::Synced).unwrap());
    let lost = |file: &File| if file.metadata()?.is_dir() { Err(io::Error::other("lost")) } else { Ok(()) };
    let store = DirectoryStore::on(Disk { sync: lost, ..Disk::SYNCED }, folder.path()).unwrap();
    let error = store.put_new("a", b"x").unwrap_err();
    assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"x"[..]));
    assert!(store.settle("").is_err());
}

#[test]
fn what_link_refuses_for_good_is_told_from_what_it_may_have_done() {
    use super::draft::is_certain;
    let by_number = |number| io::Error::from_raw_os_error(number);
    let [eperm, eio, erofs, enospc, edquot, etimedout] = [1, 5, 30, 28, 122, 110].map(by_number);
    assert!([eperm, erofs, enospc, edquot].iter().all(is_certain));
    assert!(![eio, etimedout].iter().any(is_certain));
}

#[test]
fn a_put_syncs_the_folders_above_it_until_they_are_known() {
    thread_local!(static SYNCED: Cell<u32> = const { Cell::new(0) });
    let count = |file: &File| {
        SYNCED.set(SYNCED.get() + u32::from(file.metadata()?.is_dir()));
        Ok(())
    };
    let folder = TempDir::new().unwrap();
    let store = DirectoryStore::on(Disk { sync: count, ..Disk::SYNCED }, folder.path()).unwrap();
    let folders_synced = |path: &str| {
        SYNCED.set(0);
        store.put_new(path, b"x").unwrap();
        SYNCED.get()
    };
    assert_eq!(["a/b/1", "a/b/2", "a/3", "4"].map(folders_synced), [3, 1, 1, 1]);
    store.remove("a").unwrap();
    assert_eq!(folders_synced("a/b/1"), 3);
    SYNCED.set(0);
    store.settle("a/b").unwrap();
    assert_eq!(SYNCED.get(), 3);
}

#[test]
fn removing_a_folder_while_others_write_into_it_does_not_fail() {
    let folder = TempDir::new().unwrap();
    let store = DirectoryStore::open(folder.path(), Durability::Volatile).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..500 {
                store.put_new(&format!("job/ledger/{number}"), b"x").unwrap();
            }
        });
        while !writer.is_finished() {
            store.remove("job").unwrap();
        }
    });
}

#[test]
fn what_others_left_in_the_directory_is_not_listed() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    let store = DirectoryStore::open(folder.path(), Durability::Volatile).unwrap();
    store.put_new("a", b"x").unwrap();
    assert_eq!(store.list("").unwrap(), ["a"]);
}
