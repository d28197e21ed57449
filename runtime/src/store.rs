//! The one store of a namespace: small files put if absent, large files written once.
//!
//! Every call blocks; callers run them where blocking is fine. Paths are relative, `/` between their parts, each part
//! `[A-Za-z0-9._-]+`. What would surprise: nothing is ever overwritten.

pub mod directory;
pub mod memory;

use std::fmt;
use std::io::{Read, Write};

/// What became of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The file is ours, and durable.
    Created,
    /// Another was first.
    Exists,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may or may not have happened: read it back.
    #[error("the store did not say whether {path} was written: {reason}")]
    Unknown {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// No room. Nothing was written under the name asked for.
    #[error("the store is full ({path}): {reason}; make room, work goes on by itself")]
    Full {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Anything else. Nothing was written under the name asked for.
    #[error("the store failed at {path}: {source}")]
    Failed {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A large file on its way into the store; nothing is seen of it before [`Upload::finish`], and dropping it leaves nothing.
pub trait Upload: Write + Send {
    /// Makes the file durable under its name. The name must be new: the caller made it unique.
    ///
    /// # Errors
    /// As [`Store::put_new`].
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// The one store of a namespace.
pub trait Store: Send + Sync + fmt::Debug {
    /// Writes a small file if there is none of that name. Durable when it answers.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if it may have happened; otherwise nothing was written.
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError>;

    /// The file as it is, or `None`.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Makes what was read below `folder` durable, whoever wrote it: call it before acting on an entry of another writer.
    ///
    /// # Errors
    /// Fails if that cannot be done.
    fn settle(&self, folder: &str) -> Result<(), StoreError>;

    /// The names directly below a folder (files and folders), sorted; empty if there is no such folder.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Begins a large file.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Opens a file for reading from `offset`; `None` if there is none. It stays readable after it is removed.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError>;

    /// Removes a file or a whole folder; nothing there is fine.
    ///
    /// # Errors
    /// Fails if something is there and stays.
    fn remove(&self, path: &str) -> Result<(), StoreError>;
}
