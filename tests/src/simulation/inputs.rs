//! The inputs of a simulation as files, since producers read files: few bytes, in memory where the system has a folder there.
//!
//! What would surprise: the files of two runs of a seed are of the same time and at the same place, so that the jobs are the same,
//! and what is named by the bytes of their messages has the same order.

use rabbit_reduce_core::local::LocalSource;
use rabbit_reduce_core::spec::{ByteText, Source};
use rabbit_reduce_producer::sources::{Choice, collect_chosen};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// Where files are in memory, on Linux.
const MEMORY: &str = "/dev/shm";

/// Inputs, in a folder that is gone when this is dropped.
pub struct Inputs(TempDir);

impl Inputs {
    /// None yet.
    ///
    /// # Panics
    /// If there is no room.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        // Whoever lives through the same seed at the same time has the next number.
        let taken = (0..1000).map(|number| format!("rabbit-reduce-world-{seed}-{number}"));
        let folder = [Path::new(MEMORY), &std::env::temp_dir()].into_iter().find_map(|root| {
            let named = |name: String| tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir_in(root).ok();
            taken.clone().find_map(named)
        });
        let inputs = Self(folder.expect("there is room for temporary files"));
        fs::create_dir(inputs.here()).expect("the folder is our own");
        inputs
    }

    /// They are away.
    ///
    /// # Panics
    /// If the folder is not our own.
    pub fn hide(&self) {
        if self.here().exists() {
            fs::rename(self.here(), self.away()).expect("the folder is our own");
        }
    }

    /// They are back.
    ///
    /// # Panics
    /// If the folder is not our own.
    pub fn show(&self) {
        if !self.here().exists() {
            fs::rename(self.away(), self.here()).expect("the folder is our own");
        }
    }

    fn here(&self) -> PathBuf {
        self.0.path().join("here")
    }

    fn away(&self) -> PathBuf {
        self.0.path().join("away")
    }

    /// The sources of a job, written.
    ///
    /// # Panics
    /// If there is no room.
    #[must_use]
    pub fn write(&self, job: usize, sources: &[LocalSource]) -> Vec<Source> {
        let path = |number: usize| -> PathBuf { self.here().join(format!("{job}-{number}")) };
        for (number, source) in sources.iter().enumerate() {
            write(&path(number), &source.bytes);
        }
        let paths: Vec<PathBuf> = (0..sources.len()).map(path).collect();
        // What is drawn at random may look compressed or marked; it is bytes.
        let as_is = Choice { as_is: true, ..Choice::default() };
        let collected = collect_chosen(&paths, &as_is).expect("the files are there").sources.into_iter().zip(sources);
        collected.map(|(file, source)| Source { name: ByteText(source.name.clone()), ..file }).collect()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("there is room for temporary files");
    let file = File::options().write(true).open(path).expect("it was just written");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).expect("our own file has our time");
}
