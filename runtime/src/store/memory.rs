//! The store in memory: for tests and simulations, held to the same contract as the others.
//!
//! It knows nothing of durability. What would surprise: clones share one content, so that several "processes" can meet in
//! it; and it can be given a size, to try what happens when a store is full.

use super::{Put, Store, StoreError, Upload, path};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store that is gone with its last clone.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug)]
struct Content {
    files: BTreeMap<String, Bytes>,
    /// Bytes that all files together may have.
    room: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self { files: BTreeMap::new(), room: u64::MAX }
    }
}

impl MemoryStore {
    /// An empty store that holds at most `room` bytes of bodies.
    #[must_use]
    pub fn with_room(room: u64) -> Self {
        let store = Self::default();
        store.set_room(room);
        store
    }

    /// Changes how many bytes it holds; what is there stays.
    pub fn set_room(&self, room: u64) {
        self.content().room = room;
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // Every change is a single insert or remove, so a panic elsewhere leaves nothing half done.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn put_new(&mut self, path: &str, body: Bytes) -> Result<Put, StoreError> {
        if self.files.contains_key(path) {
            return Ok(Put::Exists);
        }
        self.check_kind(path)?;
        self.check_room(body.len()).map_err(|error| StoreError::before_the_name(path, error))?;
        self.files.insert(path.to_owned(), body);
        Ok(Put::Created)
    }

    fn check_kind(&self, path: &str) -> Result<(), StoreError> {
        if self.is_folder(path) {
            return Err(StoreError::failed(path, ErrorKind::IsADirectory, "it is a folder"));
        }
        match path::above(path).find(|folder| self.files.contains_key(*folder)) {
            Some(file) => Err(StoreError::failed(path, ErrorKind::NotADirectory, format!("{file} is a file"))),
            None => Ok(()),
        }
    }

    fn check_room(&self, more: usize) -> io::Result<()> {
        let used: u64 = self.files.values().map(|body| body.len() as u64).sum();
        if used.saturating_add(more as u64) > self.room {
            return Err(io::Error::new(ErrorKind::StorageFull, "no room left in memory"));
        }
        Ok(())
    }

    fn is_folder(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    /// The files below a folder: their paths from it, and their bodies.
    fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = self.files.range(prefix.clone()..);
        from.map_while(move |(path, body)| path.strip_prefix(&prefix).map(|rest| (rest, body)))
    }

    fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        if self.is_folder(path) {
            return Err(StoreError::failed(path, ErrorKind::IsADirectory, "it is a folder"));
        }
        Ok(self.files.get(path).cloned())
    }
}

impl Store for MemoryStore {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        path::check(path)?;
        self.content().put_new(path, Bytes::copy_from_slice(body))
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        path::check(path)?;
        Ok(self.content().read(path)?.map(Vec::from))
    }

    fn settle(&self, folder: &str) -> Result<(), StoreError> {
        path::check_folder(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        path::check_folder(folder)?;
        let content = self.content();
        if content.files.contains_key(folder) {
            return Err(StoreError::failed(folder, ErrorKind::NotADirectory, "it is a file"));
        }
        let mut names: Vec<String> =
            content.below(folder).map(|(rest, _)| rest.split('/').next().unwrap_or(rest).to_owned()).collect();
        // Paths are sorted with their `/`, which comes after `.` and `-`; names are sorted without.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        path::check(path)?;
        Ok(Box::new(MemoryUpload { store: self.clone(), path: path.to_owned(), body: Vec::new(), failed: false }))
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        path::check(path)?;
        let body = self.content().read(path)?;
        Ok(body.map(|body| {
            let mut reader = Cursor::new(body);
            reader.set_position(offset);
            Box::new(reader) as Box<dyn Read + Send>
        }))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        path::check(path)?;
        let below = format!("{path}/");
        self.content().files.retain(|file, _| file != path && !file.starts_with(&below));
        Ok(())
    }
}

struct MemoryUpload {
    store: MemoryStore,
    path: String,
    body: Vec<u8>,
    failed: bool,
}

impl Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.store.content().check_room(self.body.len() + bytes.len());
        self.failed |= room.is_err();
        room?;
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for MemoryUpload {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::failed(&self.path, ErrorKind::Other, "a write to it failed before"));
        }
        match self.store.content().put_new(&self.path, self.body.into())? {
            Put::Created => Ok(()),
            Put::Exists => {
                Err(StoreError::failed(&self.path, ErrorKind::AlreadyExists, "an upload's name must be new"))
            }
        }
    }
}
