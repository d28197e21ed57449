//! The simulation: every seed ends well, the same seed does the same again, and each mistake that is made on purpose is caught.
//!
//! What would surprise: that nothing is found says something only because of the mistakes; a check that catches none of them
//! would be no check.

use rabbit_reduce_runtime::mistake::Mistake;
use rabbit_reduce_tests::seen;
use rabbit_reduce_tests::simulation::fault::Fault;
use rabbit_reduce_tests::simulation::{Case, many};
use std::ops::Range;
use tokio::runtime::{Builder, Runtime};

/// Seeds of every run of the tests; `RABBIT_REDUCE_SEEDS=FROM..TO` takes others.
const SEEDS: Range<u64> = 0..2000;
/// Seeds that live twice.
const TWINS: Range<u64> = 5000..5100;
/// A mistake has to be caught within so many. The rarest needs some 2,500: the fates of a single record have to be mixed.
const MISTAKEN: Range<u64> = 0..4000;

const FAULTS: [(Fault, &str); 36] = [
    (Fault::Killed, "a worker or aggregator is killed beside any message"),
    (Fault::KilledAtTheStore, "an aggregator is killed beside any step in the store"),
    (Fault::Frozen, "a role freezes and wakes later"),
    (Fault::AskedToStop, "a role is asked to stop and another comes"),
    (Fault::Cut, "a channel or connection breaks"),
    (Fault::Outage, "the broker is away for a while"),
    (Fault::Duplicate, "a message comes twice"),
    (Fault::Delay, "a message is late and others overtake it"),
    (Fault::LostConfirm, "a confirm is lost"),
    (Fault::LostAck, "an ack is lost"),
    (Fault::LostHint, "a request, an answer or news is lost"),
    (Fault::LatePublication, "a message arrives after its sender died"),
    (Fault::LateWrite, "a write happens after its writer died"),
    (Fault::SlowStep, "a step in the store is slow and others come in between"),
    (Fault::UnknownWrite, "a write does not say what became of it"),
    (Fault::FailedStep, "a step in the store fails"),
    (Fault::LandsLate, "a write that timed out happens later, its writer being at work"),
    (Fault::FullStore, "the store is full for a while"),
    (Fault::FullMidway, "the store is full in the middle of a file"),
    (Fault::InputAway, "the input is away for a while"),
    (Fault::ScratchFailed, "a scratch file fails"),
    (Fault::FullQueue, "a queue is full"),
    (Fault::Blocked, "the broker takes no messages for a while"),
    (Fault::Expired, "a job is older than it is kept"),
    (Fault::GivenUp, "the broker gives up on messages"),
    (Fault::Purge, "a queue is purged and the job resumed"),
    (Fault::FalseVerdict, "a broken worker declares a chunk dead that another maps"),
    (Fault::Taken, "a broken worker takes a chunk and declares it dead"),
    (Fault::HalfSent, "a broken worker sends a part of a chunk and declares it dead"),
    (Fault::FalseBlame, "a broken worker blames a record that kills nobody"),
    (Fault::Retried, "what was lost is sent again in the middle of it all"),
    (Fault::RecordRetried, "a record that was left out is sent again by itself in the middle of it all"),
    (Fault::Gossip, "news is told that is not so"),
    (Fault::ProducerDied, "a producer dies and its job is resumed"),
    (Fault::Cancelled, "a job is cancelled in the middle of it all"),
    (Fault::Removed, "a job is removed after it all"),
];

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime of one thread")
}

fn seeds() -> Range<u64> {
    let Ok(given) = std::env::var("RABBIT_REDUCE_SEEDS") else { return SEEDS };
    let numbers = given.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    numbers.expect("RABBIT_REDUCE_SEEDS is FROM..TO")
}

#[test]
fn every_seed_ends_well() {
    let seeds = seeds();
    let all = seeds.end.saturating_sub(seeds.start) >= SEEDS.end;
    let many = many::live(seeds, None, 5, paused);
    for (seed, told) in &many.failing {
        eprintln!("seed {seed}: {}\n  {}", told.wrong.join("\n  "), many::replay(*seed));
    }
    assert!(many.failing.is_empty(), "{} seeds fail", many.failing.len());
    for (fault, name) in FAULTS {
        let times = many.faults.get(&fault).copied().unwrap_or(0);
        assert!(times > 0 || !all, "no seed injects {fault:?}");
        seen::fault(name, &format!("{times} times in {} worlds, each of which ended exact", many.lived));
    }
}

#[test]
fn the_same_seed_leaves_the_same_trace() {
    for seed in TWINS {
        let [one, other] = [(); 2].map(|()| Case::of(seed).run(paused));
        assert_eq!((one.hash, one.events), (other.hash, other.events), "seed {seed}");
    }
    let different: std::collections::BTreeSet<u64> = TWINS.map(|seed| Case::of(seed).run(paused).hash).collect();
    assert_eq!(different.len() as u64, TWINS.end - TWINS.start, "different seeds do different things");
}

#[expect(clippy::print_stderr, reason = "how soon it is caught says how strong the simulation is")]
fn is_caught(mistake: Mistake, words: &str) {
    let many = many::catch(MISTAKEN, mistake, words, paused);
    let Some((seed, told)) = many.failing.first() else {
        panic!("nobody noticed {mistake:?} as {words:?}, but: {:#?}", many.others)
    };
    eprintln!("{mistake:?}: seed {seed}, after {} seeds: {}", many.lived, told.wrong.join("; "));
}

macro_rules! caught {
    ($($fact:ident: $mistake:ident, $words:literal;)*) => {
        mod a_mistake_is_caught {
            $(#[test]
            fn $fact() {
                super::is_caught(super::Mistake::$mistake, $words);
            })*
        }

        #[test]
        fn every_mistake_has_a_test() {
            let tested = [$(Mistake::$mistake),*];
            assert!(rabbit_reduce_runtime::mistake::ALL.iter().all(|mistake| tested.contains(mistake)));
        }
    };
}

// What has to be said of each, so that nobody takes a panic, or another failure that it brings about, for its being noticed.
caught! {
    // Where a message is acked and forgotten, nothing false is said: the job waits for it for ever, and that is the harm.
    a_task_acked_before_its_partials_are_confirmed: AckBeforeConfirm, "a job does not end";
    a_partial_acked_before_its_commit: CommitAfterAck, "a job does not end";
    a_unit_counted_twice: CountTwice, "is counted twice in";
    a_segment_folded_twice: FoldTwice, "part 0 is wrong at";
    a_put_that_overwrites: PutOverwrites, "is not valid: the partition is not at its end";
    a_finish_of_a_state_that_is_no_more: FinishOfThePast, "is not valid: the partition is not at its end";
    a_finish_before_the_seal: FinishUnsealed, "is not valid: the partition is not at its end";
    a_finish_that_the_ledger_does_not_know: FinishOffTheLedger, "the ledger None";
    // Whoever would finish looks for the file that is gone, and says so for ever.
    a_merge_that_deletes_before_its_entry: DeleteBeforeReplace, "a job does not end";
    a_merge_of_runs_that_are_merged_already: ReplaceAfterLostRace, "is live, retired or gone";
    a_part_of_a_task_left_out_when_it_came_back: LeaveOutOnReturn, "the program is not deterministic";
    a_limit_taken_for_a_verdict: LimitIsVerdict, "is lost, and nobody said why";
    a_removed_job_that_comes_back: RemovedComesBack, "is removed, but there are";
    a_delta_kept_after_its_channel: DeltaOutlivesChannel, "a job does not end";
    news_taken_for_truth: NewsIsTruth, "parts";
    an_unknown_outcome_taken_for_done: UnknownIsDone, " pairs are counted, not ";
    a_record_mapped_that_was_agreed_to_be_left_out: AgreedIsMapped, "is wrong at";
    mixed_fates_reported_without_a_repair: MixedIsReported, "and was never sent again";
    mixed_fates_of_a_record_reported_without_a_repair: MixedRecordIsReported, "and was not sent again for that";
    a_counted_record_told_of_as_lost: RecordStaysLost, "tells of lost records";
    a_chunk_sent_again_without_an_entry: RetryIsNotAgreed, "to which nobody agreed";
    losses_of_an_attempt_that_does_not_count: UncountedAreLosses, "tells of lost records";
    a_file_that_nobody_names_and_nobody_deletes: OrphansStay, "nobody names the files";
}
