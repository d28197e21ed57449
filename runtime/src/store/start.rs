//! What is asked of a store before it is used: that it can put if absent, and which store it is.
//!
//! Written against the trait alone, so that every store answers alike. What would surprise: the probe writes; a store that
//! cannot be written is refused although its entries could be read. The race is apart from it, since it needs threads, which a
//! store that is simulated on one does not have.

use super::{Put, Store, StoreError};
use crate::process::chance;
use std::io::ErrorKind;
use std::sync::Barrier;
use std::thread;
use uuid::Uuid;

const ID: &str = "id";
/// What the names of files begin with that a probe puts; the rest is a UUID that tells when.
pub const PROBE: &str = "probe-";
/// Times that the probe puts while the store does not say what became of it.
const PUTS: u32 = 5;

/// Who put the same new name at the same time, and how often: one that looks first and writes then is caught by the first already
/// unless its pause is shorter than what the barrier leaves between two threads.
const RACERS: usize = 2;
const RACES: usize = 3;

/// Puts a name of its own twice; see [`Store::probe`].
pub(super) fn probe<S: Store + ?Sized>(store: &S) -> Result<(), StoreError> {
    let path = format!("{PROBE}{}", chance::dated_id());
    let tried = try_twice(store, &path);
    let removed = store.remove(&path);
    tried.and(removed)?;
    match store.get(&path)? {
        None => Ok(()),
        Some(_) => Err(unfit(&path, "a removed file is still there")),
    }
}

fn try_twice<S: Store + ?Sized>(store: &S, path: &str) -> Result<(), StoreError> {
    if put_for_certain(store, path, b"first")? != Put::Created {
        return Err(unfit(path, "a name that nobody used is taken"));
    }
    if put_for_certain(store, path, b"second")? != Put::Exists {
        return Err(unfit(path, "the same name could be put twice"));
    }
    if store.get(path)?.as_deref() != Some(b"first") {
        return Err(unfit(path, "a file does not hold what was put"));
    }
    store.settle("")
}

/// Several put the same new name at the same time, a few times: exactly one must win each time. For stores that are shared.
pub(super) fn race<S: Store + ?Sized>(store: &S) -> Result<(), StoreError> {
    let names: Vec<String> = (0..RACES).map(|_| format!("probe-{}", chance::id())).collect();
    let barrier = Barrier::new(RACERS);
    let run = |body: &[u8]| -> Vec<Result<Put, StoreError>> {
        let put = |name: &String| {
            barrier.wait();
            put_for_certain(store, name, body)
        };
        names.iter().map(put).collect()
    };
    let bodies: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
    let mut told: Vec<_> = thread::scope(|scope| {
        let racing: Vec<_> = bodies.iter().map(|body| scope.spawn(|| run(body.as_bytes()))).collect();
        racing.into_iter().map(|racer| racer.join().expect("stores do not panic").into_iter()).collect()
    });
    let mut judged = Ok(());
    for name in &names {
        let puts: Result<Vec<Put>, StoreError> = told.iter_mut().map(|puts| puts.next().expect("all ran")).collect();
        let judgement = puts.and_then(|puts| judge_race(store, name, &puts, &bodies));
        judged = judged.and(judgement).and(store.remove(name));
    }
    judged
}

fn judge_race<S: Store + ?Sized>(store: &S, name: &str, puts: &[Put], bodies: &[String]) -> Result<(), StoreError> {
    let mut winners = puts.iter().zip(bodies).filter(|(put, _)| **put == Put::Created).map(|(_, body)| body);
    match (winners.next(), winners.next()) {
        (Some(winner), None) if store.get(name)?.as_deref() == Some(winner.as_bytes()) => Ok(()),
        (Some(_), None) => Err(unfit(name, "a file does not hold what the first of several put")),
        (Some(_), Some(_)) => Err(unfit(name, "several could put the same name at the same time")),
        (None, _) => Err(unfit(name, "of several who put a new name at the same time nobody was first")),
    }
}

/// A put of unknown outcome is read back: the two bodies tell them apart.
fn put_for_certain<S: Store + ?Sized>(store: &S, path: &str, body: &[u8]) -> Result<Put, StoreError> {
    for _ in 1..PUTS {
        match store.put_new(path, body) {
            Err(StoreError::Unknown { .. }) => {}
            known => return known,
        }
        if let Some(found) = store.get(path)? {
            return Ok(if found == body { Put::Created } else { Put::Exists });
        }
    }
    store.put_new(path, body)
}

fn unfit(path: &str, what: &str) -> StoreError {
    StoreError::failed(path, ErrorKind::Unsupported, format!("this store cannot put if absent ({what}); use another"))
}

/// Reads the id, or makes it; see [`Store::store_id`].
pub(super) fn store_id<S: Store + ?Sized>(store: &S) -> Result<String, StoreError> {
    if let Some(id) = written_id(store)? {
        return Ok(id);
    }
    match store.put_new(ID, chance::id().to_string().as_bytes()) {
        // Whether it is ours, another's, or unknown: what is there now is the id, and reading it back settles it.
        Ok(_) | Err(StoreError::Unknown { .. }) => {}
        Err(error) => return Err(error),
    }
    written_id(store)?.ok_or_else(|| StoreError::failed(ID, ErrorKind::NotFound, "the id that was put is not there"))
}

fn written_id<S: Store + ?Sized>(store: &S) -> Result<Option<String>, StoreError> {
    let Some(body) = store.get(ID)? else { return Ok(None) };
    store.settle("")?;
    let id = std::str::from_utf8(&body).ok().and_then(|text| Uuid::try_parse(text).ok());
    let id = id.ok_or_else(|| StoreError::failed(ID, ErrorKind::InvalidData, "the file holds no store id"))?;
    Ok(Some(id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Store, Upload};
    use std::io::Read;
    use std::time::Duration;

    /// A store that overwrites, as a plain object store does.
    #[derive(Debug, Default)]
    struct Overwriting(MemoryStore);

    impl Store for Overwriting {
        fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
            self.0.remove(path)?;
            self.0.put_new(path, body)
        }
        fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(path)
        }
        fn settle(&self, folder: &str) -> Result<(), StoreError> {
            self.0.settle(folder)
        }
        fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
            self.0.list(folder)
        }
        fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
            self.0.create(path)
        }
        fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
            self.0.open(path, offset)
        }
        fn remove(&self, path: &str) -> Result<(), StoreError> {
            self.0.remove(path)
        }
    }

    #[test]
    fn a_store_that_overwrites_is_refused_and_left_clean() {
        let store = Overwriting::default();
        let refusal = store.probe().unwrap_err().to_string();
        assert!(refusal.contains("could be put twice"), "{refusal}");
        assert_eq!(store.list("").unwrap(), [""; 0]);
    }

    /// A store that looks whether a name is free, and writes it then.
    #[derive(Debug, Default)]
    struct LooksFirst {
        inner: MemoryStore,
        pause: Duration,
    }

    impl Store for LooksFirst {
        fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
            if self.inner.get(path)?.is_some() {
                return Ok(Put::Exists);
            }
            thread::sleep(self.pause);
            self.inner.remove(path)?;
            self.inner.put_new(path, body)
        }
        fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.inner.get(path)
        }
        fn settle(&self, folder: &str) -> Result<(), StoreError> {
            self.inner.settle(folder)
        }
        fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
            self.inner.list(folder)
        }
        fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
            self.inner.create(path)
        }
        fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
            self.inner.open(path, offset)
        }
        fn remove(&self, path: &str) -> Result<(), StoreError> {
            self.inner.remove(path)
        }
    }

    #[test]
    fn a_store_that_looks_before_it_writes_is_refused_and_left_clean() {
        // So long that both have looked, however late a loaded machine lets the second: what is tried is the race, not the clock.
        let store = LooksFirst { pause: Duration::from_millis(300), ..LooksFirst::default() };
        // One after the other nothing is seen of it.
        probe(&store).unwrap();
        let refusal = race(&store).unwrap_err().to_string();
        assert!(refusal.contains("several could put the same name at the same time"), "{refusal}");
        assert_eq!(store.list("").unwrap(), [""; 0]);
    }

    #[test]
    fn a_store_with_one_winner_passes_the_race_and_is_left_clean() {
        let store = MemoryStore::default();
        race(&store).unwrap();
        assert_eq!(store.list("").unwrap(), [""; 0]);
    }

    #[test]
    fn an_id_that_is_none_is_refused() {
        let store = MemoryStore::default();
        store.put_new(ID, b"lorem").unwrap();
        assert!(store.store_id().unwrap_err().to_string().contains("no store id"));
    }
}
