//! The calls that can be skipped, and that tests make fail: writing and syncing.
//!
//! It knows nothing of stores. What would surprise: a volatile disk is this one without syncing, nothing else.

use crate::private;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// How to write to an open file, and how to make a file or a folder durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    pub(super) write: fn(&mut File, &[u8]) -> io::Result<usize>,
    pub(super) sync: fn(&File) -> io::Result<()>,
    /// Spares even opening what would not be synced.
    pub(super) syncs: bool,
}

impl Disk {
    pub(super) const SYNCED: Self = Self { write: File::write, sync: File::sync_all, syncs: true };
    pub(super) const VOLATILE: Self = Self { write: File::write, sync: |_| Ok(()), syncs: false };

    /// Makes the names in a folder durable.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.syncs { (self.sync)(&File::open(folder)?) } else { Ok(()) }
    }

    /// Makes a folder and those above it, all durable; an existing folder is left as it is.
    pub(super) fn make_folders(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let Some(parent) = folder.parent() else { return Ok(()) };
        self.make_folders(parent)?;
        match private::new_folder(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_folder(parent),
        }
    }
}
