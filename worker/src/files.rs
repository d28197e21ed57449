//! The files that a task's program needs, fetched from the aggregators by whoever lacks them.
//!
//! It knows no program. What would surprise: nothing is decided here. Where nobody answers, the task goes back to come again.

use crate::Shared;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::{Answer, Ask, Task};
use rabbit_reduce_core::shipped::{FILE_PAGE_BYTES, Shipped};
use rabbit_reduce_runtime::client::{Client, ClientError};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::process::compute;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long one page is waited for. A delivery that is held for long keeps the broker from forgetting those after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a file is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nobody gave it.
    #[error("a file of the job cannot be had")]
    Client(#[from] ClientError),
    /// It cannot be kept.
    #[error("a file of the job cannot be kept")]
    Folder(#[from] io::Error),
    /// What was given is something else.
    #[error("the aggregators gave other bytes than those of the job's file {0}")]
    Other(String),
}

impl FetchError {
    /// Whether nothing can be said but that it is not here now.
    pub(crate) const fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Client(
                ClientError::Nobody | ClientError::Blocked(_) | ClientError::Waits(_) | ClientError::Broker(_)
            )
        )
    }
}

impl Shared {
    /// Sees to it that all files of a task are here.
    pub(crate) async fn fetch_files(&self, task: &Task) -> Result<(), FetchError> {
        for file in task.program.options.files() {
            if self.config.files.has(file) {
                continue;
            }
            // One fetches; the others find it.
            let mut client = self.client.lock().await;
            if !self.config.files.has(file) {
                let client = client.get_or_insert_with(|| Client::new(Arc::clone(&self.broker)));
                let bytes = fetch(client, task.job, file).await?;
                let files = self.config.files.clone();
                compute::blocking(move || files.keep(&bytes)).await?;
                crash_point::reached("worker.file_fetched");
            }
        }
        Ok(())
    }
}

async fn fetch(client: &Client, job: JobId, file: &Shipped) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    for page in 0..file.pages() {
        let ask = Ask::File { job, file: file.clone(), page };
        let (Answer::Bytes { .. }, body) = client.ask(ask, &[], Some(PATIENCE), &|_| ()).await? else {
            return Err(ClientError::Confused.into());
        };
        // Who gives more than was asked for is not listened to any longer.
        if body.len() > FILE_PAGE_BYTES || bytes.len() as u64 + body.len() as u64 > file.bytes {
            break;
        }
        bytes.extend_from_slice(&body);
    }
    if file.is(&bytes) { Ok(bytes) } else { Err(FetchError::Other(file.sha256.to_string())) }
}
