//! Folders and files for their owner alone, whatever the process was told about modes.
//!
//! It knows nothing of what is in them. What would surprise: what is there already is an error, whoever made it; and only a
//! temporary folder removes itself.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// Of folders.
pub const FOLDER_MODE: u32 = 0o700;
/// Of files.
pub(crate) const FILE_MODE: u32 = 0o600;

/// A new folder, which goes when it is dropped.
///
/// # Errors
/// Fails if the system makes none.
pub fn temporary_folder(prefix: &str, parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(FOLDER_MODE)).tempdir_in(parent)
}

/// Makes a folder.
///
/// # Errors
/// Fails if the system does not, or there is something of that name.
pub fn new_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Begins a file.
///
/// # Errors
/// Fails if the system does not take it, or there is something of that name.
pub fn new_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(FILE_MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_enter_or_read() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let folder = temporary_folder("of-", parent.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        let (inner, file) = (folder.path().join("inner"), folder.path().join("file"));
        new_folder(&inner).unwrap();
        drop(new_file(&file).unwrap());
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        assert!(new_folder(&file).is_err() && new_file(&file).is_err());
    }
}
