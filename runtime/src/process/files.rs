//! An output file that is complete or not there: written beside its name, renamed when finished.
//!
//! It knows no format. What would surprise: what is no regular file (`/dev/null`, a pipe) is written as it is, never
//! replaced; and a symbolic link stays one, its target is replaced.

use crate::private;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};

const BUFFER_BYTES: usize = 64 << 10;

/// An output file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct OutputError {
    /// The file, as it was asked for.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A file on its way; dropping it leaves what was there before.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Beside { draft: BufWriter<NamedTempFile>, target: PathBuf },
    Direct(BufWriter<File>),
}

impl OutputFile {
    /// Begins the file; nothing is seen under its name yet.
    ///
    /// # Errors
    /// Fails if there can be no file beside it.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        match Form::new(path) {
            Ok(form) => Ok(Self { path: path.to_owned(), form }),
            Err(source) => Err(OutputError { path: path.to_owned(), source }),
        }
    }

    /// Whether it is written as it is, with no draft beside it.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self.form, Form::Direct(_))
    }

    /// Makes the file durable and gives it its name, in place of what was there.
    ///
    /// # Errors
    /// Fails if not everything could be written; then what was there before still is.
    pub fn finish(self) -> Result<(), OutputError> {
        self.form.finish().map_err(|source| OutputError { path: self.path, source })
    }
}

impl Form {
    fn new(path: &Path) -> io::Result<Self> {
        let (target, mode) = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(path)?;
                return Ok(Self::Direct(BufWriter::with_capacity(BUFFER_BYTES, file)));
            }
            Ok(found) => (fs::canonicalize(path)?, Some(found.permissions())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (std::path::absolute(path)?, None),
            Err(error) => return Err(error),
        };
        if target.file_name().is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let folder = folder_of(&target);
        // A new file is its owner's alone: an answer may tell what its input was.
        let builder_mode = Permissions::from_mode(private::FILE_MODE);
        let draft = tempfile::Builder::new().prefix(".rabbit-reduce-").permissions(builder_mode).tempfile_in(folder)?;
        if let Some(mode) = mode {
            draft.as_file().set_permissions(mode)?;
        }
        Ok(Self::Beside { draft: BufWriter::with_capacity(BUFFER_BYTES, draft), target })
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Direct(file) => file.into_inner().map_err(io::IntoInnerError::into_error).map(drop),
            Self::Beside { draft, target } => {
                let draft = draft.into_inner().map_err(io::IntoInnerError::into_error)?;
                draft.as_file().sync_all()?;
                draft.persist(&target).map_err(|failed| failed.error)?;
                File::open(folder_of(&target))?.sync_all()
            }
        }
    }
}

/// A folder of files on its way; dropping it leaves what was there before.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    target: PathBuf,
    draft: TempDir,
}

impl OutputFolder {
    /// Begins the folder; nothing is seen under its name yet.
    ///
    /// # Errors
    /// Fails if there can be no folder beside it, or something is in it already.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let failed = |source| OutputError { path: path.to_owned(), source };
        let target = match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => fs::canonicalize(path).and_then(|target| match is_mounted(&target)? {
                true => Err(io::Error::other("a file system is mounted there: name a folder within it that is new")),
                false => Ok(target),
            }),
            Ok(false) => Err(io::Error::new(
                io::ErrorKind::DirectoryNotEmpty,
                "it has files in it already: name a folder that is new or empty",
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(path),
            Err(error) => Err(error),
        };
        let target = target.map_err(failed)?;
        fs::metadata(folder_of(&target)).map_err(failed)?;
        let draft = private::temporary_folder(".rabbit-reduce-", folder_of(&target)).map_err(failed)?;
        if let Ok(found) = fs::metadata(path) {
            fs::set_permissions(draft.path(), found.permissions()).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), target, draft })
    }

    /// Begins a file in it.
    ///
    /// # Errors
    /// Fails if there can be none.
    pub fn file(&self, name: &str) -> Result<OutputFile, OutputError> {
        let file = OutputFile::create(&self.draft.path().join(name));
        file.map_err(|error| OutputError { path: self.path.join(name), ..error })
    }

    /// Makes the folder durable and gives it its name.
    ///
    /// # Errors
    /// Fails if that cannot be done; then what was there before still is.
    pub fn finish(self) -> Result<(), OutputError> {
        let Self { path, target, draft } = self;
        let finished = || {
            File::open(draft.path())?.sync_all()?;
            fs::rename(draft.path(), &target)?;
            File::open(folder_of(&target))?.sync_all()
        };
        finished().map_err(|source| OutputError { path, source })?;
        // It has another name now.
        let _gone = draft.keep();
        Ok(())
    }
}

/// Whether something else than in the folder around it is there: it cannot be replaced.
fn is_mounted(target: &Path) -> io::Result<bool> {
    Ok(fs::metadata(target)?.dev() != fs::metadata(folder_of(target))?.dev())
}

/// The folder of an absolute path.
fn folder_of(target: &Path) -> &Path {
    target.parent().unwrap_or(target)
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.form {
            Form::Beside { draft, .. } => draft.write(bytes),
            Form::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Beside { draft, .. } => draft.flush(),
            Form::Direct(file) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn names(folder: &TempDir) -> Vec<PathBuf> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| PathBuf::from(entry.unwrap().file_name())).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_seen_before_it_is_finished_nor_after_it_is_dropped() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before").unwrap();
        let mut output = OutputFile::create(&path).unwrap();
        output.write_all(&[7; 1 << 20]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        drop(output);
        assert_eq!((fs::read(&path).unwrap(), names(&folder)), (b"before".to_vec(), vec!["out".into()]));

        let mut output = OutputFile::create(&path).unwrap();
        output.write_all(b"after").unwrap();
        output.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(&folder)), (b"after".to_vec(), vec!["out".into()]));
    }

    #[test]
    fn it_keeps_the_mode_of_what_it_replaces_and_is_private_otherwise() {
        let folder = TempDir::new().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        fs::write(folder.path().join("kept"), "").unwrap();
        fs::set_permissions(folder.path().join("kept"), Permissions::from_mode(0o640)).unwrap();
        for name in ["kept", "new"] {
            OutputFile::create(&folder.path().join(name)).unwrap().finish().unwrap();
        }
        assert_eq!((mode("kept"), mode("new")), (0o640, 0o600));
    }

    #[test]
    fn a_link_stays_a_link_and_a_device_a_device() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("target"), "before").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("target", &link).unwrap();
        let mut output = OutputFile::create(&link).unwrap();
        output.write_all(b"after").unwrap();
        output.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(folder.path().join("target")).unwrap(), b"after");

        let mut full = OutputFile::create(Path::new("/dev/full")).unwrap();
        full.write_all(b"x").unwrap();
        assert!(full.finish().unwrap_err().to_string().contains("/dev/full"));
        assert!(!fs::metadata("/dev/full").unwrap().is_file());
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let error = OutputFile::create(Path::new("/no/such/folder/out")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /no/such/folder/out: "), "{error}");
    }
}
