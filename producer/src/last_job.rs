//! The last job that was made on this machine, one for every namespace: what `@` means.
//!
//! It is a convenience: a job does not fail because this cannot be written. It knows no broker and not whether the job still
//! is. What would surprise: two brokers with the same namespace share the note; the job's id then tells them apart, as one of
//! them does not know it.

use rabbit_reduce_core::id::JobId;
use rabbit_reduce_runtime::private;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// More than an id takes, however it is written.
const MAX_NOTE_BYTES: u64 = 256;

/// Where the note of a namespace lies.
#[derive(Clone, Debug)]
pub struct LastJob {
    namespace: String,
    path: PathBuf,
}

/// Why the last job is not known, or not noted.
#[derive(Debug, thiserror::Error)]
pub enum LastJobError {
    /// No folder for it.
    #[error("the last job is not noted: neither XDG_STATE_HOME nor HOME is an absolute path; name the job by its id")]
    Homeless,
    /// No note.
    #[error(
        "no job was made on this machine in the namespace `{namespace}`; name one by its id, as `producer jobs` shows it"
    )]
    None {
        /// Where none was made.
        namespace: String,
    },
    /// A note that is no id.
    #[error("{} holds no job's id: delete it, and name the job by its id", path.display())]
    Unreadable {
        /// The note.
        path: PathBuf,
    },
    /// The system says no.
    #[error("cannot read {}; name the job by its id, as `producer jobs` shows it", path.display())]
    Read {
        /// The note.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system says no.
    #[error("cannot note the last job in {}; `@` will mean another, name this one by its id", path.display())]
    Write {
        /// The note.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LastJob {
    /// In the folder for state that the environment names (`XDG_STATE_HOME`, `HOME`).
    ///
    /// # Errors
    /// Fails if it names none.
    pub fn of(namespace: &str, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, LastJobError> {
        // The XDG specification has relative paths ignored.
        let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        Ok(Self::beneath(&state.ok_or(LastJobError::Homeless)?, namespace))
    }

    /// In `rabbit-reduce` beneath this folder.
    #[must_use]
    pub fn beneath(state: &Path, namespace: &str) -> Self {
        let path = state.join("rabbit-reduce").join(format!("last-job.{namespace}"));
        Self { namespace: namespace.to_owned(), path }
    }

    /// The job.
    ///
    /// # Errors
    /// Says why it is not known, and what to do instead.
    pub fn read(&self) -> Result<JobId, LastJobError> {
        let path = self.path.clone();
        let note = match self.note() {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LastJobError::None { namespace: self.namespace.clone() });
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(LastJobError::Unreadable { path }),
            Err(source) => return Err(LastJobError::Read { path, source }),
        };
        note.trim().parse().map_err(|_| LastJobError::Unreadable { path })
    }

    fn note(&self) -> io::Result<String> {
        io::read_to_string(io::Read::take(fs::File::open(&self.path)?, MAX_NOTE_BYTES))
    }

    /// Notes a job, in place of the one before.
    ///
    /// # Errors
    /// Fails if the system does not let us; that is worth a warning, no more.
    pub fn write(&self, job: JobId) -> Result<(), LastJobError> {
        self.replace(job).map_err(|source| LastJobError::Write { path: self.path.clone(), source })
    }

    fn replace(&self, job: JobId) -> io::Result<()> {
        let folder = self.path.parent().expect("a note lies in our folder");
        // What somebody works on is nobody else's.
        DirBuilder::new().recursive(true).mode(private::FOLDER_MODE).create(folder)?;
        // A temporary file is its owner's alone, and stays so under its new name.
        let mut draft = NamedTempFile::with_prefix_in(".last-job.", folder)?;
        writeln!(draft, "{job}")?;
        draft.persist(&self.path).map_err(|failed| failed.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;
    use uuid::Uuid;

    #[test]
    fn every_namespace_has_its_last_job() {
        let state = TempDir::new().unwrap();
        let (first, second) = (JobId(Uuid::from_u128(1)), JobId(Uuid::from_u128(2)));
        let (here, there) = (LastJob::beneath(state.path(), "here"), LastJob::beneath(state.path(), "there"));
        assert!(matches!(here.read(), Err(LastJobError::None { namespace }) if namespace == "here"));
        here.write(first).unwrap();
        here.write(second).unwrap();
        there.write(first).unwrap();
        assert_eq!((here.read().unwrap(), there.read().unwrap()), (second, first));
        let folder = state.path().join("rabbit-reduce");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&here.path), mode(&folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "nothing is left beside the notes");
    }

    #[test]
    fn the_environment_says_where() {
        let path = |state: &'static str, home: &'static str| {
            let environment = |name: &str| {
                Some(OsString::from(if name == "HOME" { home } else { state })).filter(|text| !text.is_empty())
            };
            LastJob::of("n", environment).map(|last| last.path)
        };
        assert_eq!(path("/state", "/home/me").unwrap(), Path::new("/state/rabbit-reduce/last-job.n"));
        let home = Path::new("/home/me/.local/state/rabbit-reduce/last-job.n");
        assert_eq!((path("", "/home/me").unwrap(), path("relative", "/home/me").unwrap()), (home.into(), home.into()));
        assert!(matches!(path("", ""), Err(LastJobError::Homeless)));
    }

    #[test]
    fn a_note_that_is_no_id_is_named() {
        let state = TempDir::new().unwrap();
        let last = LastJob::beneath(state.path(), "n");
        last.write(JobId(Uuid::from_u128(1))).unwrap();
        for note in [&b"nonsense"[..], b"\xff", &[b' '; 1000]] {
            fs::write(&last.path, note).unwrap();
            let error = last.read().unwrap_err().to_string();
            assert!(error.contains("rabbit-reduce/last-job.n holds no job's id"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_a_remedy() {
        let state = TempDir::new().unwrap();
        fs::write(state.path().join("rabbit-reduce"), "a file").unwrap();
        let last = LastJob::beneath(state.path(), "n");
        let error = last.write(JobId(Uuid::from_u128(1))).unwrap_err();
        assert!(error.to_string().contains("name this one by its id"), "{error}");
        assert!(matches!(last.read(), Err(LastJobError::Read { .. })));
    }
}
