//! A store that does not always say whether it wrote, and counts the moments around each write.
//!
//! It breaks no rule of the contract: what it says is unknown was written or not, and the caller has to look.

use crate::troubles::Troubles;
use rabbit_reduce_runtime::store::{Put, Store, StoreError, Upload};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct TroubledStore {
    /// The real one.
    pub inner: Arc<dyn Store>,
    /// What goes wrong.
    pub troubles: Arc<Troubles>,
}

fn write<T>(troubles: &Troubles, path: &str, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    troubles.moment();
    // At its start an aggregator may give up.
    let silent = if path.contains('/') { troubles.keeps_silent() } else { None };
    let unknown = || StoreError::Unknown { path: path.to_owned(), reason: "the answer was lost".to_owned() };
    let written = if silent == Some(false) { Err(unknown()) } else { write() };
    troubles.moment();
    if silent.is_some() && written.is_ok() { Err(unknown()) } else { written }
}

impl Store for TroubledStore {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        write(&self.troubles, path, || self.inner.put_new(path, body))
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
        let inner = self.inner.create(path)?;
        Ok(Box::new(TroubledUpload { inner, path: path.to_owned(), troubles: Arc::clone(&self.troubles) }))
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        self.inner.open(path, offset)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.inner.remove(path)
    }
}

struct TroubledUpload {
    inner: Box<dyn Upload>,
    path: String,
    troubles: Arc<Troubles>,
}

impl Write for TroubledUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for TroubledUpload {
    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { inner, path, troubles } = *self;
        write(&troubles, &path, || inner.finish())
    }
}
