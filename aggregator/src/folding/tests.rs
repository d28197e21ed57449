//! What the mind does with events that cross each other.

use super::*;
use rabbit_reduce_core::jobs::{Job, Options};
use rabbit_reduce_core::spec::{By, PROGRAM_VERSION, ProgramSpec, SourceList, Spec};
use uuid::Uuid;

const JOB: JobId = JobId(Uuid::from_u128(1));

/// A job of nothing, with one partition, as a look-up finds it.
fn found(chunks: Option<u32>) -> Event {
    let options = Options::default();
    let program = Job::new("word-count", &options).unwrap();
    let spec = Spec {
        job: JOB,
        program: ProgramSpec { name: "word-count".to_owned(), version: PROGRAM_VERSION, options, sha256: None },
        by: By::Value,
        chunk_bytes: 64,
        segment_bytes: 1 << 20,
        output_bytes: 1 << 30,
        partitions: 1,
        max_losses: 0,
        sources: SourceList::of(&[]).0,
        created_ms: 0,
        owner: None,
    };
    let file = JobFile { spec, program };
    Event::Opened(
        JOB,
        Ok(Opened::Job(Box::new(OpenedJob { file, chunks, end: None, ledgers: vec![Ledger::default()] }))),
    )
}

#[test]
fn a_seal_that_crosses_a_look_up_is_not_forgotten() {
    let mut folding = Folding::new("store".to_owned(), &[8, 1], 1);
    let now = rabbit_reduce_runtime::process::clock::instant();
    // A sweep and the seal each have the job looked up, and the sweep's look came just before the seal.
    for cause in [Event::Look(JOB), Event::Sealed(JOB, 0)] {
        let effects = folding.handle(cause, now);
        assert!(matches!(effects[..], [Effect::Open(JOB)]));
    }
    assert!(folding.handle(found(None), now).is_empty(), "how many chunks there are is not known yet");
    let effects = folding.handle(found(Some(0)), now);
    assert!(matches!(&effects[..], [Effect::Tend(work)] if work.chunks == Some(0)), "it has nothing to wait for");
}
