//! A part of a result as a stream of bytes, asked for page by page.
//!
//! Blocking, for the merge that reads it; it must not be read on a thread of the asynchronous runtime. Reading fails as soon as
//! somebody wants us to stop.

use crate::client::{Client, ClientError, SHORT};
use crate::crash_point;
use crate::process::compute;
use crate::process::shutdown::Shutdown;
use bytes::{Buf, Bytes};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{Answer, Ask};
use std::io::{self, Read};

/// Bytes that the pages of all parts hold together.
const PAGES_BYTES: usize = 32 << 20;
/// The most and the least bytes of a page.
const PAGE_BYTES: (usize, usize) = (64 << 10, 1 << 20);

/// See the module.
pub struct RemotePart {
    client: Client,
    shutdown: Shutdown,
    job: JobId,
    part: String,
    offset: u64,
    length: u32,
    page: Bytes,
    more: bool,
}

impl RemotePart {
    /// One of `parts` parts.
    #[must_use]
    pub fn new(client: Client, shutdown: Shutdown, job: JobId, part: String, parts: usize) -> Self {
        let length = (PAGES_BYTES / parts.max(1)).clamp(PAGE_BYTES.0, PAGE_BYTES.1);
        let length = u32::try_from(length).expect("a page is small");
        Self { client, shutdown, job, part, offset: 0, length, page: Bytes::new(), more: true }
    }

    fn fetch(&mut self) -> io::Result<()> {
        let ask = Ask::Part { job: self.job, part: self.part.clone(), offset: self.offset, length: self.length };
        let asked = compute::wait(async {
            tokio::select! {
                biased;
                () = self.shutdown.graceful() => Err(io::Error::other("interrupted")),
                answer = self.client.ask(ask, &[], Some(6 * SHORT), &|text| tracing::warn!("{text}")) => Ok(answer),
            }
        })?;
        match asked.map_err(io::Error::other)? {
            (Answer::Bytes { more: true }, page) if page.is_empty() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a page of the result is empty and not the last"))
            }
            (Answer::Bytes { more }, page) => {
                crash_point::reached("producer.page_read");
                self.offset += page.len() as u64;
                (self.page, self.more) = (page, more);
                Ok(())
            }
            _ => Err(io::Error::other(ClientError::Confused)),
        }
    }
}

impl Read for RemotePart {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.page.is_empty() && self.more {
            self.fetch()?;
        }
        let length = into.len().min(self.page.len());
        self.page.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
