//! The one store of a namespace: small files put if absent, large files written once.
//!
//! Every call blocks; callers run them where blocking is fine. Paths are relative, `/` between their parts, each part
//! `[A-Za-z0-9._-]+`. What would surprise: nothing is ever overwritten.
//!
//! # The contract
//! Every store keeps it, whatever it is made of; `store/contract_tests.rs` has a test per rule.
//!
//! 1. Of any number of writers that put the same name at once, exactly one is told [`Put::Created`], and its body stays.
//! 2. A file is seen whole or not at all; nothing of an upload is seen before it is finished, or after it is dropped.
//! 3. What was answered [`Put::Created`], or finished, outlives a loss of power, and so do the folders above it. (Stores
//!    made to be forgotten say so.)
//! 4. What another wrote may be seen before it is durable: [`Store::settle`] makes it so, as often as it is asked.
//! 5. A list is sorted, names what is directly below, and hides what the store keeps for itself. An empty folder is a
//!    folder that does not exist; whether its parent names it is left open.
//! 6. An opened file reads to its end after it is removed. (A bucket may say instead that the file is gone; no store takes
//!    what it has read so far for the whole.)
//! 7. A file or a folder with everything in it can be removed; nothing there is fine. A loss of power may bring it back.
//! 8. A path that leaves the store, names the store itself, or has a part of other letters is refused; so is `tmp` at the
//!    top, which is the store's own, and a name that is both file and folder. (A bucket does not look for the latter: its
//!    folders are only the beginnings of names. Who uses stores keeps the two apart.)
//! 9. A store without room says [`StoreError::Full`], leaves nothing under the name, and works on when there is room.
//! 10. An answer that is lost is [`StoreError::Unknown`]: read the name back, settle it, and compare.

pub mod bucket;
#[cfg(test)]
mod contract_tests;
pub mod directory;
pub mod memory;
mod path;
mod start;
pub mod temporary;

use std::fmt;
use std::io::{self, Read, Write};

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
        source: io::Error,
    },
}

impl StoreError {
    /// What a failure to write means while nothing has the name yet; also for errors out of an [`Upload`]'s [`Write`].
    #[must_use]
    pub fn before_the_name(path: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path: path.to_owned(), reason: source.to_string() }
            }
            _ => Self::Failed { path: path.to_owned(), source },
        }
    }

    fn failed(path: &str, kind: io::ErrorKind, reason: impl Into<String>) -> Self {
        Self::Failed { path: path.to_owned(), source: io::Error::new(kind, reason.into()) }
    }
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

    /// The files of these names, in this order, up to the first that is not there. A store that is far away asks for many at
    /// once.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn get_while(&self, paths: &[String]) -> Result<Vec<Vec<u8>>, StoreError> {
        paths.iter().map_while(|path| self.get(path).transpose()).collect()
    }

    /// Makes what was read directly below `folder` durable, whoever wrote it: call it before acting on an entry of another
    /// writer. The store itself is the folder `""`.
    ///
    /// # Errors
    /// Fails if that cannot be done.
    fn settle(&self, folder: &str) -> Result<(), StoreError>;

    /// The names directly below a folder (files and folders), sorted; empty if there is no such folder. The store itself is
    /// the folder `""`.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Begins a large file.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Opens a file for reading from `offset`; `None` if there is none. What becomes of it after a removal is rule 6.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError>;

    /// Removes a file or a whole folder; nothing there is fine.
    ///
    /// # Errors
    /// Fails if something is there and stays.
    fn remove(&self, path: &str) -> Result<(), StoreError>;

    /// Tries at start-up whether this store can put if absent at all; a store that cannot must not be used. One that several may
    /// write to lets several race for a name, too.
    ///
    /// # Errors
    /// Says what the store got wrong, or why it could not be tried.
    fn probe(&self) -> Result<(), StoreError> {
        start::probe(self)
    }

    /// The store's own id, a UUID kept in its file `id`; made by whoever asks first, the same for everyone ever after.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written, or holds an `id` that is none.
    fn store_id(&self) -> Result<String, StoreError> {
        start::store_id(self)
    }
}
