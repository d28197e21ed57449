//! Lost chunks of which no letter holds the task, read from their sources once more, as `resume` reads what is missing.
//!
//! What would surprise: the tasks are not sent to workers. Each travels to the dead letters, as a failure that is known already,
//! is kept there and decides nothing; from then on the chunk is sent again as any other.

use super::Letters;
use crate::session::{POLL, SessionError};
use crate::sources::check_again;
use rabbit_reduce_core::id::{ChunkNumber, JobId, Origin};
use rabbit_reduce_core::message::{LetterKind, Status};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::standing::chunks_named;
use std::collections::BTreeSet;
use std::time::Duration;

/// So long the aggregators may take to keep them.
const PATIENCE: Duration = Duration::from_secs(60);

impl Letters {
    /// Has those of `lost` kept that are not. What cannot be read again is told of, and refused by who is asked to send it.
    pub(super) async fn read_again(
        &self,
        job: JobId,
        status: &Status,
        lost: &BTreeSet<Origin>,
    ) -> Result<(), SessionError> {
        // Before its end a partition may still wait for a chunk that another has lost; without a result nothing is sent again.
        if status.end.as_ref().is_none_or(|end| !end.outcome.has_result()) {
            return Ok(());
        }
        let missing = self.not_kept(lost).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let known = self.session.find(job).await?;
        let names = chunks_named(&missing.iter().copied().collect::<Vec<_>>());
        if let Err(error) = check_again(&known.sources) {
            self.session.screen.say(&format!("no letter holds {names}, nor can the input be read again: {error}"));
            return Ok(());
        }
        self.session.screen.say(&format!("no letter holds {names}; the input is read again for that"));
        let only = missing.iter().map(|chunk| chunk.0).collect();
        self.session.publish_letters(&known, only).await?;
        let began = clock::instant();
        while clock::since(began) < PATIENCE && !self.not_kept(lost).await?.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Chunks of which no letter holds the task.
    async fn not_kept(&self, lost: &BTreeSet<Origin>) -> Result<BTreeSet<ChunkNumber>, SessionError> {
        let letters = self.all().await?;
        let holding = letters.iter().filter(|letter| matches!(letter.kind, LetterKind::Chunk));
        let kept: BTreeSet<ChunkNumber> = holding.filter_map(|letter| letter.chunk).collect();
        let chunks = lost.iter().filter(|origin| origin.record.is_none()).map(|origin| origin.chunk);
        Ok(chunks.filter(|chunk| !kept.contains(chunk)).collect())
    }
}
