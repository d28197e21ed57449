//! By-reference input: pieces of files that lie beneath the roots a worker was given, and are what they were.
//!
//! It knows paths and stamps, not tasks. What would surprise: the resolved path is checked, so a symbolic link inside a root
//! may lead anywhere inside the roots, and nowhere else; and then it is opened folder by folder, following no link at all, so
//! that nobody who swaps a folder for a link meanwhile leads it elsewhere.

use rabbit_reduce_core::spec::FileStamp;
use rabbit_reduce_runtime::stamp::is_as_stamped;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

/// Where input may lie.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Anywhere: for a process that reads for the person who started it.
    Anywhere,
    /// Beneath these folders.
    Beneath {
        /// Resolved.
        resolved: Vec<PathBuf>,
        /// As they were named, for what is not there now.
        named: Vec<PathBuf>,
    },
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
        let named = folders.iter().map(std::path::absolute).collect::<io::Result<_>>()?;
        let resolved = folders.iter().map(resolve).collect::<io::Result<_>>()?;
        Ok(Self::Beneath { resolved, named })
    }

    /// The folders that are all there is.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        match self {
            Self::Anywhere => &[],
            Self::Beneath { resolved, .. } => resolved,
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
        let opened = match self {
            Self::Anywhere => openat(CWD, path, FILE, Mode::empty()).map(File::from).map_err(io::Error::from),
            Self::Beneath { resolved: roots, named } => {
                let outside = || {
                    let roots = roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>();
                    let roots = if roots.is_empty() { "none".to_owned() } else { roots.join(", ") };
                    InputError::Outside { path: shown.clone(), roots }
                };
                // A way out and back in again would tell what there is on it. No producer names one.
                if path.components().any(|part| part == Component::ParentDir) {
                    return Err(outside());
                }
                let real = match path.canonicalize() {
                    Ok(real) => real,
                    // Nobody is told what there is outside, and what there is not.
                    Err(error) => {
                        let ours = |path: &Path| roots.iter().chain(named).any(|root| path.starts_with(root));
                        // What there is of it may lie beneath a root, whatever it is called.
                        let there = path.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
                        let is_ours = ours(path) || there.is_some_and(|there| ours(&there));
                        return Err(if is_ours { unreadable(error) } else { outside() });
                    }
                };
                let beneath = roots.iter().find_map(|root| Some((root, real.strip_prefix(root).ok()?)));
                let (root, inner) = beneath.ok_or_else(outside)?;
                open_beneath(root, inner)
            }
        };
        let file = opened.map_err(unreadable)?;
        // What is no file has no stamp.
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(InputError::Changed { path: shown, expected: stamp.size });
        }
        check_stamp(&file, stamp)?;
        Ok(file)
    }
}

/// How a file is opened: a pipe would wait for somebody who writes to it, and a terminal would become ours.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// How a folder is, on the way to one.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens what lies beneath a folder, at a path without links, and fails if there is a link on it by now.
fn open_beneath(root: &Path, inner: &Path) -> io::Result<File> {
    let mut folder = openat(CWD, root, FOLDER, Mode::empty())?;
    let mut names = inner.components().peekable();
    while let Some(Component::Normal(name)) = names.next() {
        if names.peek().is_none() {
            return Ok(openat(&folder, name, FILE | OFlags::NOFOLLOW, Mode::empty())?.into());
        }
        folder = openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Err(io::ErrorKind::IsADirectory.into())
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
    use std::os::unix::ffi::OsStringExt;
    use std::sync::atomic::{AtomicBool, Ordering};

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
        let missing = |path: PathBuf| FileStamp { path: ByteText(path.into_os_string().into_vec()), ..stamp(&outside) };
        // Nor by way of a folder that there is, or not, which leads back in.
        let [there, not_there] = ["out", "nowhere"].map(|name| folder.path().join(name).join("../in/a"));
        for path in [outside.join("c"), inside.join("../out/c"), there, not_there] {
            let refused = roots.open(&missing(path));
            assert!(matches!(refused, Err(InputError::Outside { .. })), "it tells what there is: {refused:?}");
        }
        assert!(roots.open(&missing(inside.join("c"))).unwrap_err().may_pass());
        assert!(roots.open(&missing(inside.join("d/c"))).unwrap_err().may_pass());
        // As whoever named the root calls it, though it is a link.
        let called = folder.path().join("called");
        std::os::unix::fs::symlink(&inside, &called).unwrap();
        let roots = Roots::beneath(std::slice::from_ref(&called)).unwrap();
        assert!(roots.open(&missing(called.join("c"))).unwrap_err().may_pass());
        let none = Roots::beneath(&[]).unwrap().open(&stamp(&inside.join("a"))).unwrap_err();
        assert!(none.to_string().contains("--input-root"), "{none}");
    }

    #[test]
    fn who_swaps_a_folder_for_a_link_leads_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        for (at, text) in [(root.join("there"), "ours"), (outside.clone(), "evil")] {
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("a"), text).unwrap();
        }
        let (there, aside) = (root.join("there"), root.join("aside"));
        let roots = Roots::beneath(std::slice::from_ref(&root)).unwrap();
        // The same stamp: only the place tells them apart.
        let stamp = stamp(&there.join("a"));
        let modified =
            std::time::UNIX_EPOCH + std::time::Duration::from_nanos(u64::try_from(stamp.modified_ns).unwrap());
        File::open(outside.join("a")).unwrap().set_modified(modified).unwrap();
        let stop = AtomicBool::new(false);
        let (mut ours, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::rename(&there, &aside).unwrap();
                    std::os::unix::fs::symlink(&outside, &there).unwrap();
                    std::fs::remove_file(&there).unwrap();
                    std::fs::rename(&aside, &there).unwrap();
                }
            });
            while ours < 200 || refused < 200 {
                match roots.open(&stamp) {
                    Err(_) => refused += 1,
                    Ok(file) => {
                        let mut text = [0; 4];
                        read_range(&file, 0, &mut text).unwrap();
                        assert_eq!(&text, b"ours");
                        ours += 1;
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        // Nor does one whose path was resolved before.
        std::fs::rename(&there, &aside).unwrap();
        std::os::unix::fs::symlink(&outside, &there).unwrap();
        assert!(open_beneath(&root, Path::new("there/a")).is_err());
        std::os::unix::fs::symlink(outside.join("a"), aside.join("link")).unwrap();
        assert!(open_beneath(&root, Path::new("aside/link")).is_err());
        assert!(open_beneath(&root, Path::new("aside/a")).is_ok());
        assert!(open_beneath(&root, Path::new("../outside/a")).is_err());
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
