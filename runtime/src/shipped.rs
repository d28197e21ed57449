//! Files that travel with jobs, kept in a folder of this machine so that each is fetched once.
//!
//! It knows no job and no broker. What would surprise: whoever reads a file gets its bytes only if they are the right ones,
//! whatever has become of the folder; and a file may be gone again, since the folder is bounded.

use crate::private;
use rabbit_reduce_core::shipped::Shipped;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tempfile::{NamedTempFile, TempDir};

/// Bytes that a folder keeps, at the most, besides the file that came last.
const KEPT_BYTES: u64 = 1 << 30;

/// The folder.
#[derive(Clone, Debug)]
pub struct ShippedFiles {
    folder: PathBuf,
    /// Removes it with the last clone.
    temporary: Option<Arc<TempDir>>,
}

impl ShippedFiles {
    /// In a folder that others of this user share and that stays, below `parent`. It is made with the first file.
    #[must_use]
    pub fn shared(parent: &Path) -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self { folder: parent.join(format!("rabbit-reduce-files-{user}")), temporary: None }
    }

    /// In a folder below `parent`, whose owner removes it. It is made with the first file.
    #[must_use]
    pub fn within(parent: &Path) -> Self {
        Self { folder: parent.join("shipped"), temporary: None }
    }

    /// In a folder of its own, below `parent`, that goes with it.
    ///
    /// # Errors
    /// Fails if the folder cannot be made.
    pub fn temporary(parent: &Path) -> io::Result<Self> {
        let folder = private::temporary_folder("rabbit-reduce-files-", parent)?;
        Ok(Self { folder: folder.path().to_owned(), temporary: Some(Arc::new(folder)) })
    }

    /// The file's bytes, if they are here.
    ///
    /// # Errors
    /// Fails if it is here and cannot be read.
    pub fn read(&self, file: &Shipped) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(file);
        let opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&path, error)),
        };
        let mut bytes = Vec::new();
        // Of what is longer than it should be, one byte too many is enough to know.
        opened.take(file.bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| told(&path, error))?;
        if file.is(&bytes) {
            return Ok(Some(bytes));
        }
        tracing::warn!(path = %path.display(), "a file that travels with jobs is damaged here; it is fetched anew");
        remove(&path)?;
        Ok(None)
    }

    /// Whether the file seems to be here.
    #[must_use]
    pub fn has(&self, file: &Shipped) -> bool {
        fs::symlink_metadata(self.path(file)).is_ok_and(|found| found.len() == file.bytes)
    }

    /// Keeps bytes. Those that were kept the longest ago go, where there are too many.
    ///
    /// # Errors
    /// Fails if there is no room, or the folder is somebody else's.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<Shipped> {
        let file = Shipped::of(bytes);
        self.make_folder().map_err(|error| told(&self.folder, error))?;
        let path = self.path(&file);
        let mut draft = NamedTempFile::new_in(&self.folder).map_err(|error| told(&self.folder, error))?;
        draft.write_all(bytes).map_err(|error| told(&path, error))?;
        draft.persist(&path).map_err(|error| told(&path, error.error))?;
        self.bound(&file).map_err(|error| told(&self.folder, error))?;
        Ok(file)
    }

    fn path(&self, file: &Shipped) -> PathBuf {
        self.folder.join(file.sha256.to_string())
    }

    /// Nobody else can have put anything into it.
    fn make_folder(&self) -> io::Result<()> {
        if self.temporary.is_some() {
            return Ok(());
        }
        match private::new_folder(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(&self.folder)?;
        let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
        if ours {
            return Ok(());
        }
        let reason = "it is not a folder of this user alone (mode 0700): remove it, or name another --temporary";
        Err(io::Error::other(reason))
    }

    fn bound(&self, last: &Shipped) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Somebody else may just have removed it.
            if let Ok(found) = entry.metadata()
                && entry.path() != self.path(last)
            {
                kept.push((found.modified()?, found.len(), entry.path()));
            }
        }
        kept.sort_unstable();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, path) in kept {
            if bytes <= KEPT_BYTES {
                break;
            }
            remove(&path)?;
            bytes -= length;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(told(path, error)),
        _ => Ok(()),
    }
}

fn told(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_is_read_back_by_its_name_and_a_damaged_one_is_not() {
        let parent = TempDir::new().unwrap();
        let files = ShippedFiles::shared(parent.path());
        let file = Shipped::of(b"module");
        assert!(!files.has(&file) && files.read(&file).unwrap().is_none());
        assert_eq!(files.keep(b"module").unwrap(), file);
        assert_eq!(ShippedFiles::shared(parent.path()).read(&file).unwrap().unwrap(), b"module");
        for damaged in [&b"modulf"[..], b"mod", b"module and more"] {
            fs::write(files.path(&file), damaged).unwrap();
            assert!(files.read(&file).unwrap().is_none() && !files.has(&file));
            files.keep(b"module").unwrap();
        }
        assert!(files.read(&file).unwrap().is_some());
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let parent = TempDir::new().unwrap();
        let files = ShippedFiles::shared(parent.path());
        files.keep(b"a").unwrap();
        fs::set_permissions(&files.folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(files.keep(b"b").unwrap_err().to_string().contains("not a folder of this user alone"));
        fs::remove_dir_all(&files.folder).unwrap();
        symlink(parent.path(), &files.folder).unwrap();
        assert!(files.keep(b"b").unwrap_err().to_string().contains("not a folder of this user alone"));
    }

    #[test]
    fn the_folder_is_bounded() {
        let parent = TempDir::new().unwrap();
        let files = ShippedFiles::shared(parent.path());
        let (first, second) = (files.keep(b"first").unwrap(), files.keep(b"second").unwrap());
        // Sparse: as long as the bound, and no room on the disk.
        File::options().write(true).open(files.path(&first)).unwrap().set_len(KEPT_BYTES).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH;
        File::options().write(true).open(files.path(&first)).unwrap().set_modified(long_ago).unwrap();
        let third = files.keep(b"third").unwrap();
        assert_eq!([&first, &second, &third].map(|file| files.path(file).exists()), [false, true, true]);
    }

    #[test]
    fn nothing_stays_of_a_temporary_folder() {
        let parent = TempDir::new().unwrap();
        let files = ShippedFiles::temporary(parent.path()).unwrap();
        let file = files.keep(b"a").unwrap();
        let other = files.clone();
        drop(files);
        assert!(other.read(&file).unwrap().is_some());
        drop(other);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
