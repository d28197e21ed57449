//! Files that travel with a job: modules, and what commands find beside them. Each is named by its SHA-256.
//!
//! Their bytes go over the wire in pages, and are stored so; who has all pages holds them against the name. What would surprise:
//! a spec names its files, and so decides which bytes they are; it never contains them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The longest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Bytes of a page.
pub const FILE_PAGE_BYTES: usize = 1 << 20;
/// The most files of a job.
pub const MAX_FILES: usize = 32;

/// A SHA-256: 64 digits of sixteen, the letters small.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileDigest(String);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file's SHA-256 is 64 digits from 0 to f")]
pub struct NoDigest;

impl FileDigest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("{:x}", Sha256::digest(bytes)))
    }
}

impl TryFrom<String> for FileDigest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && text.len() == 64 { Ok(Self(text)) } else { Err(NoDigest) }
    }
}

impl From<FileDigest> for String {
    fn from(digest: FileDigest) -> Self {
        digest.0
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A file that travels with a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    /// Of its bytes.
    pub sha256: FileDigest,
    /// How many they are.
    pub bytes: u64,
}

impl Shipped {
    /// Names these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: FileDigest::of(bytes), bytes: bytes.len() as u64 }
    }

    /// Whether these are its bytes.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && FileDigest::of(bytes) == self.sha256
    }

    /// In how many pages it travels.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        let pages = self.bytes.div_ceil(FILE_PAGE_BYTES as u64);
        if pages > u32::MAX as u64 { u32::MAX } else { pages as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_digest() {
        // The example of FIPS 180-2.
        let file = Shipped::of(b"abc");
        assert_eq!(file.sha256.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(file.is(b"abc") && !file.is(b"abd") && !file.is(b"ab"));
    }

    #[test]
    fn a_text_that_is_no_digest_is_refused() {
        let digest = FileDigest::of(b"").0;
        let read = |text: &str| serde_json::from_str::<FileDigest>(&format!("\"{text}\"")).map(|read| read.0).ok();
        assert_eq!(read(&digest), Some(digest.clone()));
        for text in [&digest[1..], &digest.to_uppercase(), "", &format!("../{}", &digest[3..])] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_travels_in_pages() {
        let pages = |bytes| Shipped { sha256: FileDigest::of(b""), bytes }.pages();
        let page = FILE_PAGE_BYTES as u64;
        assert_eq!([0, 1, page, page + 1, u64::MAX].map(pages), [0, 1, 1, 2, u32::MAX]);
    }
}
