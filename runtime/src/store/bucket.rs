//! The store in a bucket of an S3-compatible service: protocol rule 20 by conditional put.
//!
//! An object appears whole or not at all, and is durable when that is answered, so there is nothing to settle. It knows nothing
//! of ledgers or runs. What would surprise: puts are sent by a client that never retries on its own. A retry of a conditional
//! put whose first attempt succeeded is told "exists"; here that becomes [`StoreError::Unknown`], never [`Put::Exists`].

mod address;
mod failure;
mod reading;
mod upload;

use super::{Put, Store, StoreError, Upload, path, start};
pub use address::{BadAddress, BucketAddress, SCHEME};
use bytes::Bytes;
use failure::{Failure, harmless, store_error};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use reading::Reading;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use upload::BucketUpload;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take with its answer: a part of 8 MiB at 140 kB/s.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How long the first request may take with all its retries, finding credentials included.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Retries of what may be done any number of times, and for how long; the aggregator tries again for ever anyway.
const RETRIES: usize = 6;
const RETRY_LIMIT: Duration = Duration::from_secs(30);
/// Pauses before a put is sent once more.
const PUT_PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];
/// Files that are fetched side by side.
const FETCHED: usize = 16;
/// Threads that wait for the network; whoever asks waits on a thread of their own.
const NETWORK_THREADS: usize = 2;

/// A store in a bucket. Clones are the same store.
#[derive(Clone)]
pub struct BucketStore {
    place: Arc<Place>,
}

struct Place {
    address: BucketAddress,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// Retries by itself: for what may be done any number of times.
    patient: AmazonS3,
    /// Sends once.
    once: AmazonS3,
}

impl BucketStore {
    /// Opens the store at `address` and sees whether it is there. `variables` are the `AWS_*` of the environment: who we are,
    /// which region or server, and how to reach it; others are passed over.
    ///
    /// # Errors
    /// Fails if a variable is no use, or the bucket cannot be reached or does not let us.
    pub fn open(
        address: &BucketAddress,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        // Whoever set one before has the same reasons.
        drop(rustls::crypto::ring::default_provider().install_default());
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        check(address, &variables)?;
        let patient = client(address, &variables, RETRIES)?;
        let once = client(address, &variables, 0)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("bucket")
            .enable_all()
            .build()
            .map_err(|error| StoreError::before_the_name(&address.to_string(), error))?;
        let place = Place { address: address.clone(), runtime: Some(runtime), patient, once };
        place.greet()?;
        Ok(Self { place: Arc::new(place) })
    }
}

/// What would otherwise fail late or dimly.
fn check(address: &BucketAddress, variables: &[(String, String)]) -> Result<(), StoreError> {
    let value = |name: &str| variables.iter().find(|(found, _)| found == name).map(|(_, value)| &**value);
    let wrong = |reason: &str| Err(StoreError::failed(&address.to_string(), ErrorKind::InvalidInput, reason));
    let Some(endpoint) = value("AWS_ENDPOINT_URL_S3").or_else(|| value("AWS_ENDPOINT_URL")) else { return Ok(()) };
    if endpoint.contains('@') {
        return wrong("AWS_ENDPOINT_URL holds a password; keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    if endpoint.starts_with("http://")
        && !value("AWS_ALLOW_HTTP").is_some_and(|allow| allow.eq_ignore_ascii_case("true"))
    {
        return wrong("AWS_ENDPOINT_URL is http, without encryption; in a trusted network set AWS_ALLOW_HTTP=true");
    }
    Ok(())
}

fn client(address: &BucketAddress, variables: &[(String, String)], max_retries: usize) -> Result<AmazonS3, StoreError> {
    let options = ClientOptions::new().with_connect_timeout(CONNECT_LIMIT).with_timeout(REQUEST_LIMIT);
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..Default::default() };
    let mut builder = AmazonS3Builder::new().with_client_options(options);
    for (name, value) in variables.iter().filter(|(name, _)| name.starts_with("AWS_")) {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder
        .with_bucket_name(&address.bucket)
        .with_retry(RetryConfig { backoff, max_retries, retry_timeout: RETRY_LIMIT })
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Deleting one by one is what every service can.
        .with_disable_bulk_delete(true)
        .build()
        .map_err(|error| StoreError::failed(&address.to_string(), ErrorKind::InvalidInput, error.to_string()))
}

impl Place {
    fn runtime(&self) -> &Handle {
        self.runtime.as_ref().expect("it is there until the end").handle()
    }

    fn wait<F: Future>(&self, request: F) -> F::Output {
        self.runtime().block_on(request)
    }

    fn bucket(&self) -> &str {
        &self.address.bucket
    }

    fn key(&self, path: &str) -> Path {
        let prefix = self.address.prefix.split('/').filter(|part| !part.is_empty());
        Path::from_iter(prefix.chain(path.split('/').filter(|part| !part.is_empty())))
    }

    /// The path as a person can find it.
    fn shown(&self, path: &str) -> String {
        if path.is_empty() { self.address.to_string() } else { format!("{}/{path}", self.address) }
    }

    /// Asks for something, no matter what, so that a bucket that is not there is not found out later.
    fn greet(&self) -> Result<(), StoreError> {
        let shown = self.shown("");
        let key = self.key("greeting");
        let first = self.patient.list_with_delimiter(Some(&key));
        match self.wait(async { tokio::time::timeout(START_LIMIT, first).await }) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(harmless(shown, self.bucket(), &error)),
            Err(_) => {
                let reason = format!(
                    "no answer within {} s: check AWS_ENDPOINT_URL and the network, and that AWS_ACCESS_KEY_ID is set",
                    START_LIMIT.as_secs()
                );
                Err(StoreError::failed(&shown, ErrorKind::TimedOut, reason))
            }
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key(path);
        let body = async { self.patient.get(&key).await?.bytes().await };
        match body.await {
            Ok(body) => Ok(Some(body.into())),
            Err(error) if Failure::of(&error) == Failure::Missing => Ok(None),
            Err(error) => Err(harmless(self.shown(path), self.bucket(), &error)),
        }
    }

    fn put(&self, path: &str, body: Bytes) -> Result<Put, StoreError> {
        self.wait(self.put_again_and_again(path, PutPayload::from(body)))
    }

    async fn put_again_and_again(&self, path: &str, body: PutPayload) -> Result<Put, StoreError> {
        let key = self.key(path);
        let mut pauses = PUT_PAUSES.iter();
        let mut doubt = None;
        loop {
            let Err(error) = self.once.put_opts(&key, body.clone(), PutMode::Create.into()).await else {
                return Ok(Put::Created);
            };
            let failed = store_error(self.shown(path), self.bucket(), &error);
            let failure = Failure::of(&error);
            match failure {
                // Perhaps by our own first attempt.
                Failure::Exists => return doubt.map_or(Ok(Put::Exists), Err),
                Failure::Doubtful | Failure::NotNow | Failure::TooSlow => {
                    if failure != Failure::NotNow {
                        doubt = Some(self.unknown(path, failed));
                    } else if doubt.is_none() && pauses.len() == 0 {
                        return Err(failed);
                    }
                    match pauses.next() {
                        Some(pause) if failure != Failure::TooSlow => tokio::time::sleep(*pause).await,
                        _ => return Err(doubt.expect("otherwise it has failed above")),
                    }
                }
                // An earlier attempt may have done it, before the server became full, or changed its mind.
                _ => return Err(doubt.unwrap_or(failed)),
            }
        }
    }

    fn unknown(&self, path: &str, failed: StoreError) -> StoreError {
        match failed {
            unknown @ StoreError::Unknown { .. } => unknown,
            other => StoreError::Unknown { path: self.shown(path), reason: other.to_string() },
        }
    }
}

impl Store for BucketStore {
    fn put_new(&self, path: &str, body: &[u8]) -> Result<Put, StoreError> {
        path::check(path)?;
        self.place.put(path, Bytes::copy_from_slice(body))
    }

    fn probe(&self) -> Result<(), StoreError> {
        start::probe(self)?;
        start::race(self)
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        path::check(path)?;
        self.place.wait(self.place.get(path))
    }

    fn get_while(&self, paths: &[String]) -> Result<Vec<Vec<u8>>, StoreError> {
        paths.iter().try_for_each(|path| path::check(path))?;
        let files = stream::iter(paths).map(|path| self.place.get(path)).buffered(FETCHED);
        let there = files.try_take_while(|file| future::ready(Ok(file.is_some())));
        self.place.wait(there.try_filter_map(|file| future::ready(Ok(file))).try_collect())
    }

    fn settle(&self, folder: &str) -> Result<(), StoreError> {
        path::check_folder(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        path::check_folder(folder)?;
        let place = &self.place;
        let listed = place.wait(place.patient.list_with_delimiter(Some(&place.key(folder))));
        let listed = listed.map_err(|error| harmless(place.shown(folder), place.bucket(), &error))?;
        let files = listed.objects.iter().map(|meta| &meta.location);
        // Names that no path can have are not ours.
        let usable = |name: &String| path::check(&path::join(folder, name)).is_ok();
        let mut names: Vec<String> = files
            .chain(&listed.common_prefixes)
            .filter_map(|location| location.filename().map(str::to_owned))
            .filter(usable)
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn create(&self, path: &str) -> Result<Box<dyn Upload>, StoreError> {
        path::check(path)?;
        Ok(Box::new(BucketUpload::new(&self.place, path)))
    }

    fn open(&self, path: &str, offset: u64) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        path::check(path)?;
        Ok(Reading::open(&self.place, path, offset)?.map(|reading| Box::new(reading) as Box<dyn Read + Send>))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        path::check(path)?;
        let place = &self.place;
        let key = place.key(path);
        let below = place.patient.list(Some(&key)).map_ok(|meta| meta.location);
        let all = stream::once(future::ready(Ok(key))).chain(below).boxed();
        let removed = place.patient.delete_stream(all).try_for_each(|_| future::ready(Ok(())));
        place.wait(removed).map_err(|error| harmless(place.shown(path), place.bucket(), &error))
    }
}

/// Whatever the library holds for a request, keys too, is not for logs.
impl fmt::Debug for BucketStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BucketStore({})", self.place.address)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its threads is forbidden where other tasks run, and nobody needs them any more.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
