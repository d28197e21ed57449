//! By-reference input: pieces of files that lie beneath the roots a worker was given, and are what they were.
//!
//! It knows paths and stamps, not tasks. What would surprise: the resolved path is checked, so a symbolic link inside a root
//! may lead anywhere inside the roots, and nowhere else.

use rabbit_reduce_core::spec::FileStamp;
use rabbit_reduce_runtime::stamp::is_as_stamped;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where input may lie.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Anywhere: for a process that reads for the person who started it.
    Anywhere,
    /// Beneath these folders, resolved.
    Beneath(Vec<PathBuf>),
}

/// Why a piece cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It lies outside. No attempt will change that.
    #[error("{path} lies outside this worker's input roots ({roots}); start it with --input-root for its folder")]
    Outside {
        /// The file.
        path: String,
        /// The roots.
        roots: String,
    },
    /// It is not the file it was. No attempt will change that.
    #[error("{path} changed since the job was made (it had {expected} bytes): push it again")]
    Changed {
        /// The file.
        path: String,
        /// Its size then.
        expected: u64,
    },
    /// It cannot be read now, or here.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl InputError {
    /// Whether another attempt, later or elsewhere, may succeed.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }
}

impl Roots {
    /// Folders as given, resolved; they must exist.
    ///
    /// # Errors
    /// Names the folder that does not.
    pub fn beneath(folders: &[PathBuf]) -> io::Result<Self> {
        let resolve = |folder: &PathBuf| {
            let resolved =
                folder.canonicalize().and_then(|path| if path.is_dir() { Ok(path) } else { Err(not_a_folder()) });
            resolved.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
        };
        folders.iter().map(resolve).collect::<io::Result<_>>().map(Self::Beneath)
    }

    /// The folders that are all there is.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        match self {
            Self::Anywhere => &[],
            Self::Beneath(folders) => folders,
        }
    }

    /// Opens a file, if it may be read and is what it was.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn open(&self, stamp: &FileStamp) -> Result<File, InputError> {
        let path = Path::new(OsStr::from_bytes(&stamp.path.0));
        let shown = path.display().to_string();
        let unreadable = |source| InputError::Unreadable { path: shown.clone(), source };
        let real = match self {
            Self::Anywhere => path.to_owned(),
            Self::Beneath(roots) => {
                let real = path.canonicalize().map_err(unreadable)?;
                if !roots.iter().any(|root| real.starts_with(root)) {
                    let roots = roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>();
                    let roots = if roots.is_empty() { "none".to_owned() } else { roots.join(", ") };
                    return Err(InputError::Outside { path: shown, roots });
                }
                real
            }
        };
        // Opening a pipe would wait for somebody who writes to it, and what is no file has no stamp.
        if !real.metadata().map_err(unreadable)?.is_file() {
            return Err(InputError::Changed { path: shown, expected: stamp.size });
        }
        let file = File::open(real).map_err(unreadable)?;
        check_stamp(&file, stamp)?;
        Ok(file)
    }
}

/// Whether an open file is what it was when the job was made.
///
/// # Errors
/// [`InputError::Changed`] if not.
pub fn check_stamp(file: &File, stamp: &FileStamp) -> Result<(), InputError> {
    let found = file.metadata().map_err(|source| unreadable(stamp, source))?;
    if is_as_stamped(&found, stamp) {
        return Ok(());
    }
    Err(InputError::Changed { path: String::from_utf8_lossy(&stamp.path.0).into_owned(), expected: stamp.size })
}

/// The error of a file that cannot be read.
#[must_use]
pub fn unreadable(stamp: &FileStamp, source: io::Error) -> InputError {
    InputError::Unreadable { path: String::from_utf8_lossy(&stamp.path.0).into_owned(), source }
}

/// Reads a range of a file, all of it.
///
/// # Errors
/// Fails if the file is shorter.
pub fn read_range(file: &File, offset: u64, into: &mut [u8]) -> io::Result<()> {
    file.read_exact_at(into, offset)
}

fn not_a_folder() -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::spec::ByteText;

    fn stamp(path: &Path) -> FileStamp {
        let (size, modified_ns) = rabbit_reduce_runtime::stamp::stamp_of(&path.metadata().unwrap());
        FileStamp { path: ByteText(path.as_os_str().as_bytes().to_vec()), size, modified_ns }
    }

    #[test]
    fn only_what_lies_beneath_a_root_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(inside.join("a"), "here").unwrap();
        std::fs::write(outside.join("b"), "there").unwrap();
        std::os::unix::fs::symlink(outside.join("b"), inside.join("link")).unwrap();
        let roots = Roots::beneath(std::slice::from_ref(&inside)).unwrap();
        assert!(roots.open(&stamp(&inside.join("a"))).is_ok());
        for path in [outside.join("b"), inside.join("link"), inside.join("../out/b")] {
            let refused = roots.open(&stamp(&path));
            assert!(matches!(refused, Err(InputError::Outside { .. })), "{path:?}: {refused:?}");
        }
        let none = Roots::beneath(&[]).unwrap().open(&stamp(&inside.join("a"))).unwrap_err();
        assert!(none.to_string().contains("--input-root"), "{none}");
    }

    #[test]
    fn a_file_that_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let before = stamp(&path);
        std::fs::write(&path, "three").unwrap();
        assert!(matches!(Roots::Anywhere.open(&before), Err(InputError::Changed { expected: 3, .. })));
        let touched = FileStamp { modified_ns: 1, ..stamp(&path) };
        assert!(matches!(Roots::Anywhere.open(&touched), Err(InputError::Changed { .. })));
    }

    #[test]
    fn a_file_that_changes_under_its_reader_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let stamp = stamp(&path);
        let file = Roots::Anywhere.open(&stamp).unwrap();
        std::fs::write(&path, "three").unwrap();
        assert!(matches!(check_stamp(&file, &stamp), Err(InputError::Changed { expected: 3, .. })));
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let refused = Roots::beneath(&[folder.path().to_owned()]).unwrap().open(&stamp(&path));
        assert!(matches!(refused, Err(InputError::Changed { .. })), "{refused:?}");
    }

    #[test]
    fn a_file_that_is_gone_may_come_back() {
        let stamp = FileStamp { path: ByteText(b"/nonexistent/x".to_vec()), size: 1, modified_ns: 1 };
        assert!(Roots::Anywhere.open(&stamp).unwrap_err().may_pass());
    }
}
