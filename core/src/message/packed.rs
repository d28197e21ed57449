//! Tasks whose bodies are packed with LZ4, for links that are slower than packing.
//!
//! A packed body is its length unpacked, four bytes little-endian, and one LZ4 block. What would surprise: only a task may be
//! packed, so that whoever receives anything else knows its size before it is opened; and nobody who reads a task notices.

use super::{Kind, MAX_BODY_BYTES, MessageError, PACKED_VERSION, PRELUDE_BYTES, Task, assemble, header_bytes};
use bytes::Bytes;

/// An encoded task with its body packed, or as it is where that saves nothing.
///
/// # Panics
/// If it is no task.
#[must_use]
pub fn pack(task: Bytes) -> Bytes {
    assert_eq!(super::kind(&task), Ok(Task::NUMBER), "only tasks may be packed");
    let header_bytes = header_bytes(&task).expect("it was just encoded");
    let (header, body) = task[PRELUDE_BYTES..].split_at(header_bytes);
    let packed = lz4_flex::compress_prepend_size(body);
    if packed.len() >= body.len() {
        return task;
    }
    assemble(PACKED_VERSION, Task::NUMBER, header, packed.len(), |room| {
        room.copy_from_slice(&packed);
        Ok::<_, MessageError>(())
    })
    .expect("it is shorter than what was encoded")
}

/// What a body takes in a task that is packed, in bytes.
#[must_use]
pub fn packed_bytes(body: &[u8]) -> usize {
    lz4_flex::compress_prepend_size(body).len().min(body.len())
}

/// The body that was packed.
pub(super) fn unpack(kind: u8, packed: &[u8]) -> Result<Bytes, MessageError> {
    let length = packed.first_chunk().map_or(usize::MAX, |length| u32::from_le_bytes(*length) as usize);
    if kind != Task::NUMBER || length > MAX_BODY_BYTES {
        return Err(MessageError::Length);
    }
    match lz4_flex::decompress_size_prepended(packed) {
        Ok(body) if body.len() == length => Ok(body.into()),
        _ => Err(MessageError::Length),
    }
}
