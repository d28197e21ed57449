//! Scratch files: unnamed, in one folder, gone with their handles whatever happens to the process.

use rabbit_reduce_core::table::{Scratch, ScratchFile};
use std::io;
use std::path::PathBuf;

/// A folder for scratch files.
#[derive(Clone, Debug)]
pub struct ScratchFolder(pub PathBuf);

impl Scratch for ScratchFolder {
    fn create(&self) -> io::Result<Box<dyn ScratchFile>> {
        let file = tempfile::tempfile_in(&self.0).map_err(|error| {
            io::Error::new(error.kind(), format!("no temporary file can be made in {}: {error}", self.0.display()))
        })?;
        Ok(Box::new(file))
    }
}
