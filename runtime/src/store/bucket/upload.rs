//! A large file on its way into a bucket: in parts, none of which is seen before all are there.
//!
//! It knows nothing of runs. What would surprise: a file that fits one part is put if absent, but S3 completes parts without
//! asking whether the name is taken. Names of uploads are fresh UUIDs, so that nobody else can want one; a name that is taken
//! all the same is noticed shortly before, not at once.

use super::Place;
use super::failure::{Failure, harmless, io_error, store_error};
use crate::store::{Put, StoreError, Upload};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, PutPayload};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Size of every part but the last, held in memory: some services want them equal, none takes less than 5 MiB.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Parts that S3 takes: 78 GiB for one partition of one job.
const MAX_PARTS: usize = 10_000;
/// How long who drops an upload waits for its parts to be thrown away.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct BucketUpload {
    place: Arc<Place>,
    path: String,
    key: Path,
    part: Vec<u8>,
    /// What is there already, of files larger than a part.
    sent: Option<(MultipartId, Vec<PartId>)>,
    bytes: u64,
    failed: bool,
}

impl BucketUpload {
    pub(super) fn new(place: &Arc<Place>, path: &str) -> Self {
        let (key, place) = (place.key(path), Arc::clone(place));
        Self { place, path: path.to_owned(), key, part: Vec::new(), sent: None, bytes: 0, failed: false }
    }

    fn send_part(&mut self) -> io::Result<()> {
        let payload = PutPayload::from(Bytes::from(std::mem::take(&mut self.part)));
        let (place, key) = (&self.place, &self.key);
        let failed = |error: object_store::Error| io_error(place.bucket(), &error);
        if self.sent.is_none() {
            self.sent = Some((place.wait(place.patient.create_multipart(key)).map_err(failed)?, Vec::new()));
        }
        let (id, parts) = self.sent.as_mut().expect("it was just begun");
        if parts.len() == MAX_PARTS {
            let reason = "a run has more than 78 GiB; give the job more --partitions";
            return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
        }
        parts.push(place.wait(place.patient.put_part(key, id, parts.len(), payload)).map_err(failed)?);
        Ok(())
    }

    fn finish_small(&mut self) -> Result<(), StoreError> {
        match self.place.put(&self.path, std::mem::take(&mut self.part).into()) {
            Ok(Put::Created) => Ok(()),
            Ok(Put::Exists) => Err(self.taken()),
            Err(error @ StoreError::Unknown { .. }) => self.look_for_it(error),
            Err(error) => Err(error),
        }
    }

    fn finish_parts(&mut self) -> Result<(), StoreError> {
        if !self.part.is_empty() {
            self.send_part().map_err(|error| StoreError::before_the_name(&self.shown(), error))?;
        }
        let place = Arc::clone(&self.place);
        if self.size_there()?.is_some() {
            return Err(self.taken());
        }
        let (id, parts) = self.sent.as_ref().expect("there are parts");
        match place.wait(place.patient.complete_multipart(&self.key, id, parts.clone())) {
            Ok(_) => {}
            // An attempt whose answer was lost may have completed it; then a second one finds no parts.
            Err(error) => self.look_for_it(store_error(self.shown(), place.bucket(), &error))?,
        }
        self.sent = None;
        Ok(())
    }

    /// Nobody else uses the name: what is there is ours.
    fn look_for_it(&self, otherwise: StoreError) -> Result<(), StoreError> {
        if self.size_there()? == Some(self.bytes) { Ok(()) } else { Err(otherwise) }
    }

    fn size_there(&self) -> Result<Option<u64>, StoreError> {
        match self.place.wait(self.place.patient.head(&self.key)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if Failure::of(&error) == Failure::Missing => Ok(None),
            Err(error) => Err(harmless(self.shown(), self.place.bucket(), &error)),
        }
    }

    fn taken(&self) -> StoreError {
        StoreError::failed(&self.shown(), ErrorKind::AlreadyExists, "an upload's name must be new")
    }

    fn shown(&self) -> String {
        self.place.shown(&self.path)
    }
}

impl Write for BucketUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Sent only once there is more, so that what fits one part is put in one piece.
        if self.part.len() == PART_BYTES {
            let sent = self.send_part();
            self.failed |= sent.is_err();
            sent?;
        }
        let length = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for BucketUpload {
    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::failed(&self.shown(), ErrorKind::Other, "a write to it failed before"));
        }
        if self.sent.is_some() { self.finish_parts() } else { self.finish_small() }
    }
}

impl Drop for BucketUpload {
    fn drop(&mut self) {
        let Some((id, _)) = self.sent.take() else { return };
        let (place, key) = (Arc::clone(&self.place), self.key.clone());
        let (tell, told) = mpsc::sync_channel(1);
        let runtime = self.place.runtime().clone();
        runtime.spawn(async move {
            // Nobody listens any more if that took too long.
            drop(tell.send(place.patient.abort_multipart(&key, &id).await.map_err(|error| error.to_string())));
        });
        let aborted = told.recv_timeout(FAREWELL).unwrap_or_else(|_| Err("no answer".to_owned()));
        if let Err(error) = aborted {
            tracing::warn!(
                path = self.shown(),
                error,
                "parts of an upload stay; the bucket's lifecycle rule removes them"
            );
        }
    }
}
