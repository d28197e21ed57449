//! A file of a bucket, read in windows.
//!
//! It knows nothing of runs. What would surprise: no request is open between two windows, so a merge may pause for as long as
//! it likes; and a file that is removed meanwhile ends in an error, never early.

use super::Place;
use super::failure::{Failure, harmless, io_error};
use crate::store::StoreError;
use bytes::{Buf, Bytes};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

/// Bytes asked for at once. A merge has up to 64 files open, and each holds one window.
const WINDOW_BYTES: u64 = 512 << 10;

pub(super) struct Reading {
    place: Arc<Place>,
    path: String,
    key: Path,
    /// What the server calls this very content.
    tag: Option<String>,
    bytes: u64,
    next: u64,
    window: Bytes,
}

impl Reading {
    pub(super) fn open(place: &Arc<Place>, path: &str, offset: u64) -> Result<Option<Self>, StoreError> {
        let key = place.key(path);
        let range = offset..offset.saturating_add(WINDOW_BYTES);
        let read = place.wait(async {
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
            let found = place.patient.get_opts(&key, options).await?;
            let meta = found.meta.clone();
            Ok((meta, found.bytes().await?))
        });
        let (meta, window) = match read {
            Ok(read) => read,
            Err(error) if Failure::of(&error) == Failure::Missing => return Ok(None),
            // There is no range of nothing: the file may be shorter than that.
            Err(error) => match place.wait(place.patient.head(&key)) {
                Ok(meta) if meta.size <= offset => (meta, Bytes::new()),
                _ => return Err(harmless(place.shown(path), place.bucket(), &error)),
            },
        };
        let next = offset.saturating_add(window.len() as u64);
        let (place, path) = (Arc::clone(place), path.to_owned());
        Ok(Some(Self { place, path, key, tag: meta.e_tag, bytes: meta.size, next, window }))
    }

    fn next_window(&self) -> io::Result<Bytes> {
        let range = self.next..self.bytes.min(self.next + WINDOW_BYTES);
        let asked = range.end - range.start;
        let (range, if_match) = (Some(GetRange::Bounded(range)), self.tag.clone());
        let options = GetOptions { range, if_match, ..Default::default() };
        let window = self.place.wait(async { self.place.patient.get_opts(&self.key, options).await?.bytes().await });
        match window {
            Ok(window) if window.len() as u64 == asked => Ok(window),
            Ok(_) => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{} was cut short", self.shown()))),
            Err(error) if Failure::of(&error) == Failure::Missing => {
                Err(io::Error::new(ErrorKind::NotFound, format!("{} was removed while it was read", self.shown())))
            }
            Err(error) => Err(io_error(self.place.bucket(), &error)),
        }
    }

    fn shown(&self) -> String {
        self.place.shown(&self.path)
    }
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.window.is_empty() && self.next < self.bytes {
            self.window = self.next_window()?;
            self.next += self.window.len() as u64;
        }
        let length = into.len().min(self.window.len());
        self.window.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
