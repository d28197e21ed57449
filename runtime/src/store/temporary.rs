//! A store that goes with its process: for the embedded mode, where nobody comes back to it.
//!
//! It knows nothing that a directory does not. What would surprise: a process that is killed cannot clean up after itself;
//! its folder then stays where temporary files go.

use super::directory::{DirectoryStore, Durability};
use super::{Put, Store, StoreError, Upload};
use std::io::Read;
use std::path::Path;
use tempfile::TempDir;

/// A volatile directory store in a folder of its own, which is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryStore {
    store: DirectoryStore,
    folder: TempDir,
}

impl TemporaryStore {
    /// Makes one below `parent`, or where the system keeps temporary files.
    ///
    /// # Errors
    /// Fails if the folder cannot be made.
    pub fn new(parent: Option<&Path>) -> Result<Self, StoreError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = tempfile::Builder::new()
            .prefix("rabbit-reduce-")
            .tempdir_in(&parent)
            .map_err(|error| StoreError::before_the_name(&parent.display().to_string(), error))?;
        Ok(Self { store: DirectoryStore::open(folder.path(), Durability::Volatile)?, folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Store for TemporaryStore {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        self.store.put_new(path, body)
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(path)
    }

    fn settle(&self, folder: &str) -> Result<(), StoreError> {
        self.store.settle(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(folder)
    }

    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.store.create(path)
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.store.open(path, offset)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
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
}
