//! Messages that nobody can use: kept in the store as they came, each with a note that says why.
//!
//! Blocks. It judges no message. What would surprise: there is no bound on how much is kept, since nothing is ever dropped. The
//! store's room is the bound, and an alarm tells how many there are. A note may be missing: the message is put first.

use crate::archive::{Archive, ArchiveError};
pub(crate) use crate::note::Note;
use bytes::Bytes;
use rabbit_reduce_core::message;
use rabbit_reduce_core::skip::short_reason;
use rabbit_reduce_runtime::process::clock;

/// Where messages lie that belong to no job.
pub(crate) const FOLDER: &str = "aside";
/// What the name of a note ends with; the rest is its message's.
pub(crate) const NOTE: &str = ".json";

impl Note {
    pub(crate) fn of(message: &Bytes, queue: impl Into<String>, reason: String) -> Self {
        let job = message::job(message);
        Self { reason: short_reason(reason), queue: queue.into(), job, first_seen_ms: clock::now_ms() }
    }
}

impl Archive {
    /// Keeps a message with those that belong to no job; tells where. The digest is the name: the same message, come again, is
    /// the same file, and keeps its first note.
    pub(crate) fn set_aside(&self, message: &[u8], note: Note) -> Result<String, ArchiveError> {
        let path = format!("{FOLDER}/{:032x}", xxhash_rust::xxh3::xxh3_128(message));
        self.put_bytes(&path, message)?;
        self.put_bytes(&format!("{path}{NOTE}"), &serde_json::to_vec(&note).expect("notes are plain data"))?;
        let Note { reason, queue, .. } = note;
        tracing::error!(reason, queue, path, "a message that nobody can use is kept");
        Ok(path)
    }

    /// How many messages are aside, for people; `None` if none is.
    pub(crate) fn aside_alarm(&self) -> Result<Option<String>, ArchiveError> {
        let kept = self.store.list(FOLDER)?.iter().filter(|name| !name.ends_with(NOTE)).count();
        let text = || format!("{kept} messages that nobody can use are kept in the store's folder {FOLDER}");
        Ok((kept > 0).then(text))
    }
}
