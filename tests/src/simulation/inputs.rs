//! The inputs of a simulation as files, since producers read files: few bytes, in memory where the system has a folder there.
//!
//! What would surprise: the files of two runs of a seed are of the same time, so that the jobs are the same.

use rabbit_reduce_core::local::LocalSource;
use rabbit_reduce_core::spec::{ByteText, Source};
use rabbit_reduce_producer::sources::collect;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// Where files are in memory, on Linux.
const MEMORY: &str = "/dev/shm";

/// Inputs, gone when this is dropped.
pub struct Inputs(TempDir);

impl Default for Inputs {
    fn default() -> Self {
        Self::new()
    }
}

impl Inputs {
    /// None yet.
    ///
    /// # Panics
    /// If there is no room.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::new_in(MEMORY).or_else(|_| TempDir::new());
        Self(folder.expect("there is room for temporary files"))
    }

    /// They are away.
    ///
    /// # Panics
    /// If the folder is not our own.
    pub fn hide(&self) {
        if self.0.path().exists() {
            fs::rename(self.0.path(), self.away()).expect("the folder is our own");
        }
    }

    /// They are back.
    ///
    /// # Panics
    /// If the folder is not our own.
    pub fn show(&self) {
        if !self.0.path().exists() {
            fs::rename(self.away(), self.0.path()).expect("the folder is our own");
        }
    }

    fn away(&self) -> PathBuf {
        self.0.path().with_extension("away")
    }

    /// The sources of a job, written.
    ///
    /// # Panics
    /// If there is no room.
    #[must_use]
    pub fn write(&self, job: usize, sources: &[LocalSource]) -> Vec<Source> {
        let path = |number: usize| -> PathBuf { self.0.path().join(format!("{job}-{number}")) };
        for (number, source) in sources.iter().enumerate() {
            write(&path(number), &source.bytes);
        }
        let paths: Vec<PathBuf> = (0..sources.len()).map(path).collect();
        let collected = collect(&paths).expect("the files are there").sources.into_iter().zip(sources);
        collected.map(|(file, source)| Source { name: ByteText(source.name.clone()), ..file }).collect()
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        self.show();
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("there is room for temporary files");
    let file = File::options().write(true).open(path).expect("it was just written");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).expect("our own file has our time");
}
