//! Which paths a store takes: one check for every store, so that all refuse the same.
//!
//! It knows nothing of file systems. What would surprise: `tmp` at the top is refused though it is well formed; it belongs
//! to the store.

use super::StoreError;
use std::io::ErrorKind;

/// The folder at the top that stores keep for themselves.
pub(super) const OWN: &str = "tmp";
/// Longest part: file systems end at 255 bytes, and temporary names need some.
const MAX_PART_BYTES: usize = 200;
/// Longest path: object stores end at 1024 bytes, less a prefix.
const MAX_PATH_BYTES: usize = 900;

/// Checks the path of a file, or of a folder below the top.
pub(super) fn check(path: &str) -> Result<(), StoreError> {
    let wrong = |reason: &str| Err(StoreError::failed(path, ErrorKind::InvalidInput, reason));
    if path.len() > MAX_PATH_BYTES || path.split('/').any(|part| part.len() > MAX_PART_BYTES) {
        return wrong("the path is too long");
    }
    for part in path.split('/') {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if part.is_empty() || part == "." || part == ".." || !part.bytes().all(letters) {
            return wrong("a path is parts of [A-Za-z0-9._-]+ with / between them");
        }
    }
    if path.split('/').next() == Some(OWN) {
        return wrong("tmp belongs to the store");
    }
    Ok(())
}

/// Checks the path of a folder; the top itself is fine.
pub(super) fn check_folder(folder: &str) -> Result<(), StoreError> {
    if folder.is_empty() { Ok(()) } else { check(folder) }
}

/// The path of what is in a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folders above a path, the nearest first, the top (`""`) last.
pub(super) fn above(path: &str) -> impl Iterator<Item = &str> {
    let nearest = |path: &str| path.rfind('/').unwrap_or(0);
    std::iter::successors(Some(path), move |path| (!path.is_empty()).then(|| &path[..nearest(path)])).skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_above_end_at_the_top() {
        assert_eq!(above("a/bc/d").collect::<Vec<_>>(), ["a/bc", "a", ""]);
        assert_eq!(above("a").collect::<Vec<_>>(), [""]);
        assert_eq!(above("").count(), 0);
    }

    #[test]
    fn a_path_has_a_limit() {
        assert!(check(&"x".repeat(MAX_PART_BYTES)).is_ok());
        assert!(check(&"x".repeat(MAX_PART_BYTES + 1)).is_err());
        assert!(check(&"x/".repeat(MAX_PATH_BYTES)).is_err());
    }
}
