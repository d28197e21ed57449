//! What a child writes to its parent, in bytes: `queue length u32 | queue | message length u32 | message`, little-endian.
//!
//! A frame without a queue holds the child's verdict as JSON, and nothing follows it. It knows nothing of processes or tasks. What
//! would surprise: whoever wrote it may have lost its mind, so every length has a limit that is looked at before anything is
//! allocated; and `fuzz/` includes this file as it is, so it names nothing of this crate.

use bytes::Bytes;
use rabbit_reduce_core::message::{MAX_BODY_BYTES, MAX_HEADER_BYTES};
use rabbit_reduce_core::skip::Place;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message, and a little more.
pub(crate) const MAX_BYTES: usize = MAX_HEADER_BYTES + MAX_BODY_BYTES + 1024;
/// The longest queue name that AMQP allows.
const MAX_NAME_BYTES: usize = 255;

/// What the child says in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Everything that was mapped has been written.
    Mapped,
    /// It could not be mapped.
    Failed {
        /// Why.
        reason: String,
        /// Another attempt may succeed.
        may_pass: bool,
        /// The one record that is at fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<Place>,
    },
}

/// The next frame: a queue, and what is for it.
///
/// # Errors
/// Fails at the end, and on what is no frame.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Bytes)> {
    let name = read_bytes(from, MAX_NAME_BYTES).await?;
    let name = String::from_utf8(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((name, read_bytes(from, MAX_BYTES).await?.into()))
}

async fn read_bytes(from: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let length = from.read_u32_le().await? as usize;
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it wrote a length of {length}")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes one.
///
/// # Errors
/// Fails if nobody reads any more.
pub(crate) fn write(output: &mut impl Write, name: &str, body: &[u8]) -> io::Result<()> {
    for bytes in [name.as_bytes(), body] {
        let length = u32::try_from(bytes.len()).expect("messages are bounded");
        output.write_all(&length.to_le_bytes())?;
        output.write_all(bytes)?;
    }
    Ok(())
}
