//! Scratch files: unnamed, in one folder, gone with their handles whatever happens to the process.
//!
//! What would surprise: a simulation has one thread, and its scratch files come from wherever it says.

use rabbit_reduce_core::table::{Scratch, ScratchFile};
use std::cell::Cell;
use std::io;
use std::path::PathBuf;

/// A folder for scratch files.
#[derive(Clone, Debug)]
pub struct ScratchFolder(pub PathBuf);

/// Makes a scratch file.
pub type Create = fn() -> io::Result<Box<dyn ScratchFile>>;

thread_local! {
    static SIMULATED: Cell<Option<Create>> = const { Cell::new(None) };
}

/// Has the scratch files of this thread made like this from now on, or in their folders again.
pub fn simulate(create: Option<Create>) {
    SIMULATED.set(create);
}

impl Scratch for ScratchFolder {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        if let Some(create) = SIMULATED.get() {
            return create();
        }
        let file = tempfile::tempfile_in(&self.0).map_err(|error| {
            io::Error::new(error.kind(), format!("no temporary file can be made in {}: {error}", self.0.display()))
        })?;
        Ok(Box::new(file))
    }
}
