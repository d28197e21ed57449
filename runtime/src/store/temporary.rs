//! A store that goes with its process: for the embedded mode, where nobody comes back to it.
//!
//! It knows nothing that a directory does not. What would surprise: a process that is killed cannot clean up after itself;
//! its folder then stays where temporary files go. And a closed store refuses everything, so that whoever still works with
//! it on another thread, perhaps for long, stops at its next step.

use super::directory::{DirectoryStore, Durability};
use super::{Put, Store, StoreError, Upload};
use crate::private;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// A volatile directory store in a folder of its own, which is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryStore {
    store: DirectoryStore,
    folder: TempDir,
    closed: Closed,
}

/// Whether nobody may go on.
#[derive(Clone, Debug, Default)]
struct Closed(Arc<AtomicBool>);

impl Closed {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("the store is closed")) } else { Ok(()) }
    }

    fn refuse(&self, path: &str) -> Result<(), StoreError> {
        self.check().map_err(|error| StoreError::before_the_name(path, error))
    }
}

/// An upload that stops with its store.
struct Stopping {
    upload: Box<dyn Upload>,
    path: String,
    closed: Closed,
}

impl Write for Stopping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.closed.check()?;
        self.upload.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for Stopping {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.closed.refuse(&self.path)?;
        self.upload.finish()
    }
}

impl TemporaryStore {
    /// Makes one below `parent`, or where the system keeps temporary files.
    ///
    /// # Errors
    /// Fails if the folder cannot be made.
    pub fn new(parent: Option<&Path>) -> Result<Self, StoreError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = private::temporary_folder("rabbit-reduce-", &parent)
            .map_err(|error| StoreError::before_the_name(&parent.display().to_string(), error))?;
        Ok(Self {
            store: DirectoryStore::open(folder.path(), Durability::Volatile)?,
            folder,
            closed: Closed::default(),
        })
    }

    /// Refuses everything from now on, uploads under way too.
    pub fn close(&self) {
        self.closed.0.store(true, Ordering::Relaxed);
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Store for TemporaryStore {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        self.closed.refuse(path)?;
        self.store.put_new(path, body)
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.closed.refuse(path)?;
        self.store.get(path)
    }

    fn settle(&self, folder: &str) -> Result<(), StoreError> {
        self.closed.refuse(folder)?;
        self.store.settle(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.closed.refuse(folder)?;
        self.store.list(folder)
    }

    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.closed.refuse(path)?;
        let upload = self.store.create(path)?;
        Ok(Box::new(Stopping { upload, path: path.to_owned(), closed: self.closed.clone() }))
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.closed.refuse(path)?;
        self.store.open(path, offset)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.closed.refuse(path)?;
        self.store.remove(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_of_a_temporary_store() {
        let parent = TempDir::new().unwrap();
        let store = TemporaryStore::new(Some(parent.path())).unwrap();
        store.put_new("a/b", b"body").unwrap();
        assert!(store.path().starts_with(parent.path()));
        drop(store);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_closed_store_stops_everyone() {
        let store = TemporaryStore::new(None).unwrap();
        store.put_new("a", b"body").unwrap();
        let (mut begun, complete) = (store.create("b").unwrap(), store.create("c").unwrap());
        store.close();
        assert!(begun.write_all(b"more").unwrap_err().to_string().contains("the store is closed"));
        assert!(complete.finish().is_err() && store.get("a").is_err() && store.create("d").is_err());
    }
}
