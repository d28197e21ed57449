//! A file on its way to its name: written under a temporary one, durable before it is linked.
//!
//! It knows neither whether the file is small or large, nor who else wants the name. What would surprise: after a failed
//! `link` it counts its links; a network file system may have done what it says it did not.

use super::{FOLDER_ATTEMPTS, Place, Put, StoreError, Upload};
use crate::private;
use crate::process::chance;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Runs are written in small pairs; this makes large writes of them.
const BUFFER_BYTES: usize = 256 << 10;

/// A temporary file; dropping it removes it.
pub(super) struct Draft {
    place: Arc<Place>,
    path: String,
    temporary: PathBuf,
    file: File,
    failed: bool,
}

impl Draft {
    /// Begins the file that is to have the name `path`.
    pub(super) fn new(place: &Arc<Place>, path: &str) -> Result<Self, StoreError> {
        let temporary = place.own(&chance::id().simple().to_string());
        match private::new_file(&temporary) {
            Ok(file) => Ok(Self { place: Arc::clone(place), path: path.to_owned(), temporary, file, failed: false }),
            Err(error) => Err(StoreError::before_the_name(&place.shown(path), error)),
        }
    }

    /// When the file system says it was last written.
    pub(super) fn made(&self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }

    pub(super) fn write_whole(&mut self, body: &[u8]) -> Result<(), StoreError> {
        self.write_all(body).map_err(|error| self.before_the_name(error))
    }

    /// Makes the file durable and gives it its name, if nobody has it.
    pub(super) fn publish(self) -> Result<Put, StoreError> {
        if self.failed {
            return Err(self.before_the_name(io::Error::other("a write to it failed before")));
        }
        let place = &self.place;
        (place.disk.sync)(&self.file).map_err(|error| self.before_the_name(error))?;
        if self.link()? == Put::Exists {
            return Ok(Put::Exists);
        }
        place.sync_names(&self.path).map_err(|error| self.unknown(&error))?;
        Ok(Put::Created)
    }

    fn link(&self) -> Result<Put, StoreError> {
        let place = &self.place;
        let mut attempt = 0;
        loop {
            let Err(error) = fs::hard_link(&self.temporary, place.at(&self.path)) else { return Ok(Put::Created) };
            if fs::symlink_metadata(&self.temporary).is_ok_and(|found| found.nlink() > 1) {
                return Ok(Put::Created);
            }
            match error.kind() {
                ErrorKind::AlreadyExists if place.is_taken(&self.path)? => return Ok(Put::Exists),
                // Made late, because they are nearly always there; again, because others may be removing them.
                ErrorKind::NotFound | ErrorKind::AlreadyExists if attempt < FOLDER_ATTEMPTS => {
                    place.make_folders(&self.path).map_err(|error| self.before_the_name(error))?;
                }
                _ if is_certain(&error) => return Err(self.before_the_name(error)),
                _ => return Err(self.unknown(&error)),
            }
            attempt += 1;
        }
    }

    fn before_the_name(&self, error: io::Error) -> StoreError {
        StoreError::before_the_name(&self.place.shown(&self.path), error)
    }

    fn unknown(&self, error: &io::Error) -> StoreError {
        StoreError::Unknown { path: self.place.shown(&self.path), reason: error.to_string() }
    }
}

/// Whether an error of `link` means that there is no link: the system judged before it acted.
pub(super) fn is_certain(error: &io::Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind(),
        NotFound
            | AlreadyExists
            | PermissionDenied
            | StorageFull
            | QuotaExceeded
            | ReadOnlyFilesystem
            | NotADirectory
            | Unsupported
            | InvalidInput
            | InvalidFilename
            | TooManyLinks
            | CrossesDevices
    )
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.temporary) {
            tracing::warn!(path = %self.temporary.display(), %error, "a temporary file stays; deleted in a day");
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (self.place.disk.write)(&mut self.file, bytes);
        self.failed |= written.as_ref().is_err_and(|error| error.kind() != ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A draft that is filled in many small writes.
pub(super) struct DraftUpload {
    draft: BufWriter<Draft>,
}

impl DraftUpload {
    pub(super) fn new(draft: Draft) -> Self {
        Self { draft: BufWriter::with_capacity(BUFFER_BYTES, draft) }
    }
}

impl Write for DraftUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.draft.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}

impl Upload for DraftUpload {
    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.draft.flush().map_err(|error| self.draft.get_ref().before_the_name(error))?;
        let (draft, _) = self.draft.into_parts();
        let shown = draft.place.shown(&draft.path);
        match draft.publish()? {
            Put::Created => Ok(()),
            Put::Exists => Err(StoreError::failed(&shown, ErrorKind::AlreadyExists, "an upload's name must be new")),
        }
    }
}
