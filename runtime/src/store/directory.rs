//! The store in a directory, alone or shared over a network file system: protocol rule 20.
//!
//! A file is written under a temporary name in the store's own `tmp`, made durable, and linked to its name; `link` fails
//! if the name is taken, on every file system that has it. It knows nothing of ledgers or runs. What would surprise: a
//! removed thing first moves to `tmp`, so that a folder vanishes at once, whoever is writing into it.

mod disk;
mod draft;

use super::{Put, Store, StoreError, Upload, path, start};
use crate::private;
use crate::process::chance;
use disk::Disk;
use draft::{Draft, DraftUpload};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nobody writes to a temporary file for a day and then goes on; who does after all, fails loudly.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);
/// Folders remembered as durable; beyond it they are forgotten and synced again, which costs time only.
const MAX_KNOWN_FOLDERS: usize = 10_000;
/// How often a put makes its folders when others keep removing them; an attempt takes microseconds, and a folder is removed
/// once in its life.
const FOLDER_ATTEMPTS: u32 = 100;

/// What a loss of power may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was answered.
    Synced,
    /// Everything: for stores that are thrown away with their process.
    Volatile,
}

/// A store in a directory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    root: PathBuf,
    disk: Disk,
    /// Folders whose names are durable, up to the root. A folder that other processes removed and made again is not
    /// noticed; only removed jobs could lose by it.
    known: Mutex<BTreeSet<String>>,
}

impl DirectoryStore {
    /// Opens the store in `root`, which is made if it is not there, and clears away what processes that died left.
    ///
    /// # Errors
    /// Fails if the directory cannot be made or written.
    pub fn open(root: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let disk = match durability {
            Durability::Synced => Disk::SYNCED,
            Durability::Volatile => Disk::VOLATILE,
        };
        Self::on(disk, root.as_ref())
    }

    fn on(disk: Disk, root: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::before_the_name(&root.display().to_string(), error);
        let root = std::path::absolute(root).map_err(failed)?;
        disk.make_folders(&root.join(path::OWN)).map_err(failed)?;
        let store = Self { place: Arc::new(Place { root, disk, known: Mutex::default() }) };
        store.clear_leftovers()?;
        Ok(store)
    }

    /// Deletes old temporary files. "Now" is the file system's own: a shared one may have another clock than we.
    fn clear_leftovers(&self) -> Result<(), StoreError> {
        let draft = Draft::new(&self.place, "")?;
        let cleared = draft.made().and_then(|now| {
            for entry in fs::read_dir(self.place.at(path::OWN))? {
                let entry = entry?;
                // Others may be clearing too; what is gone meanwhile is as good as cleared.
                let Ok(written) = entry.metadata().and_then(|found| found.modified()) else { continue };
                if now.duration_since(written).is_ok_and(|age| age > LEFTOVER_AGE) {
                    match delete(&entry.path()) {
                        Err(error) if !nothing_there(&error) => return Err(error),
                        _ => tracing::debug!(path = %entry.path().display(), "cleared a leftover"),
                    }
                }
            }
            Ok(())
        });
        cleared.map_err(|error| self.place.failed(path::OWN, error))
    }
}

impl Store for DirectoryStore {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        path::check(path)?;
        if self.place.is_taken(path)? {
            return Ok(Put::Exists);
        }
        let mut draft = Draft::new(&self.place, path)?;
        draft.write_whole(body)?;
        draft.publish()
    }

    fn probe(&self) -> Result<(), StoreError> {
        start::probe(self)?;
        // Who wins is all that the race is about: nothing of it need outlive anything, and syncing would take most of the time.
        let Place { root, .. } = &*self.place;
        let place = Place { root: root.clone(), disk: Disk::VOLATILE, known: Mutex::default() };
        start::race(&Self { place: Arc::new(place) })
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        path::check(path)?;
        self.place.if_there(path, fs::read(self.place.at(path)))
    }

    fn settle(&self, folder: &str) -> Result<(), StoreError> {
        path::check_folder(folder)?;
        let up = std::iter::once(folder).chain(path::above(folder));
        for folder in up {
            self.place.if_there(folder, self.place.disk.sync_folder(&self.place.at(folder)))?;
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        path::check_folder(folder)?;
        let names = match fs::read_dir(self.place.at(folder)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect()),
        };
        let names: Vec<std::ffi::OsString> = names.map_err(|error| self.place.failed(folder, error))?;
        // Names that no path can have are not ours: `lost+found`, what an editor leaves.
        let usable = |name: &String| path::check(&path::join(folder, name)).is_ok();
        let mut names: Vec<String> =
            names.into_iter().filter_map(|name| name.into_string().ok()).filter(usable).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        path::check(path)?;
        Ok(Box::new(DraftUpload::new(Draft::new(&self.place, path)?)))
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        path::check(path)?;
        let opened = File::open(self.place.at(path)).and_then(|mut file| {
            if file.metadata()?.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file) as Box<dyn Read + Send>)
        });
        self.place.if_there(path, opened)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        path::check(path)?;
        self.place.forget(path);
        let trash = self.place.own(&format!("removed-{}", chance::id().simple()));
        let moved = match fs::rename(self.place.at(path), &trash) {
            // A full disk may refuse the new name, but never a removal.
            Err(error) if !nothing_there(&error) => {
                return self.place.if_there(path, delete(&self.place.at(path))).map(drop);
            }
            moved => self.place.if_there(path, moved)?,
        };
        if moved.is_some()
            && let Err(error) = delete(&trash)
        {
            tracing::warn!(path, trash = %trash.display(), %error, "removed, but it still takes room; deleted in a day");
        }
        Ok(())
    }
}

impl Place {
    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn own(&self, name: &str) -> PathBuf {
        self.root.join(path::OWN).join(name)
    }

    /// The path as a person can find it.
    fn shown(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    fn failed(&self, path: &str, source: io::Error) -> StoreError {
        StoreError::Failed { path: self.shown(path), source }
    }

    fn if_there<T>(&self, path: &str, result: io::Result<T>) -> Result<Option<T>, StoreError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if nothing_there(&error) => Ok(None),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// Whether a file has the name; a folder in its place is an error.
    fn is_taken(&self, path: &str) -> Result<bool, StoreError> {
        match self.if_there(path, fs::symlink_metadata(self.at(path)))? {
            Some(found) if found.is_dir() => Err(self.failed(path, ErrorKind::IsADirectory.into())),
            found => Ok(found.is_some()),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is whole after every single change, so a panic elsewhere does no harm.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, path: &str) {
        let below = format!("{path}/");
        self.known().retain(|folder| folder != path && !folder.starts_with(&below));
    }

    fn make_folders(&self, path: &str) -> io::Result<()> {
        let mut folders: Vec<&str> = path::above(path).filter(|folder| !folder.is_empty()).collect();
        folders.reverse();
        for folder in folders {
            match private::new_folder(&self.at(folder)) {
                Ok(()) => self.forget(folder),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                // The one above was removed meanwhile: who needs the folders sees it, and makes them again.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes a new name durable, and those of the folders above it that are not known to be.
    fn sync_names(&self, path: &str) -> io::Result<()> {
        let mut fresh = Vec::new();
        for folder in path::above(path) {
            self.disk.sync_folder(&self.at(folder))?;
            if folder.is_empty() || self.known().contains(folder) {
                break;
            }
            fresh.push(folder.to_owned());
        }
        let mut known = self.known();
        if known.len() + fresh.len() > MAX_KNOWN_FOLDERS {
            known.clear();
        }
        known.extend(fresh);
        Ok(())
    }
}

fn nothing_there(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn delete(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
pub(super) mod tests;
