//! A random model of the ledger protocol: is every unit counted exactly once, and does every job end?
//!
//! The ledger, its validity, the append dialogue and the delta are the real ones; around them stands a small world in which
//! queues redeliver, duplicate and reorder, aggregators die or freeze at any await and wake as zombies, puts are ambiguous and
//! poison chunks publish some of their units before they go to the dead letters. Each planted [`Bug`] must be caught.

mod aggregator;
mod world;

use aggregator::{Aggregator, Shared};
use std::cell::RefCell;
use std::rc::Rc;
use world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Deliveries are acked before the commit that holds them.
    AckFirst,
    /// A unit that is in the delta is folded again.
    NoDedup,
    /// An entry may be put over another.
    Overwrite,
    /// After losing entry n+1, the commit goes to n+2 without looking at what won.
    CommitUnchecked,
    /// After a lost channel the delta stays, and redelivered copies are acked as duplicates.
    ReconnectKeepsDelta,
    /// Nobody looks again at a partition that was complete when its last committer died.
    NoSweep,
    /// A chunk counts as covered with its first segment.
    ChunkUnits,
    /// A compaction that lost the race is appended all the same.
    CompactUnchecked,
    /// A finish that lost the race is appended with the part it had merged.
    FinishStale,
    /// The dead letter is acked before its loss is noted everywhere.
    DeadAckFirst,
    /// Files that no entry names are deleted without saying so first.
    DeleteUnretired,
}

/// Runs one seed to its end and says what is wrong.
fn run(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let (world, ended) = play(seed, bug);
    if !ended {
        return Err(format!("seed {seed}: no end"));
    }
    let world = world.borrow();
    (0..world.partitions)
        .try_for_each(|partition| judge(&world, partition).map_err(|wrong| format!("seed {seed}: {wrong}")))
}

/// The world that a seed ends in, and whether every partition came to its end.
fn play(seed: u64, bug: Option<Bug>) -> (Shared, bool) {
    let world: Shared = Rc::new(RefCell::new(World::new(seed, bug)));
    let partitions = world.borrow().partitions;
    let count = world.borrow_mut().random.usize(1..=3);
    let mut aggregators: Vec<_> = (0..count).map(|name| Aggregator::new(name, 0, partitions)).collect();
    let mut ended = false;
    for _ in 0..30_000 {
        let quiet = world.borrow().quiet();
        if quiet && (0..partitions).all(|partition| world.borrow().ledger(partition).finished().is_some()) {
            ended = true;
            break;
        }
        if world.borrow_mut().random.f64() < 0.3 {
            world.borrow_mut().worker_step();
        } else {
            let place = world.borrow_mut().random.usize(..aggregators.len());
            aggregators[place].step(&world);
        }
    }
    (world, ended)
}

fn judge(world: &World, partition: u32) -> Result<(), String> {
    let ledger = world.ledger(partition);
    let finish = ledger.finished().expect("checked before");
    let part = world.files.get(&finish.part).ok_or(format!("partition {partition}: its part is gone"))?;
    let twice: Vec<_> = part.iter().filter(|(_, count)| **count != 1).collect();
    if !twice.is_empty() {
        return Err(format!("partition {partition} counts {twice:?}"));
    }
    for chunk in 0..world.chunks {
        let units = &world.units[&(partition, chunk)];
        for unit in units {
            if ledger.covers(*unit) != part.contains_key(&(chunk, unit.segment)) {
                return Err(format!("partition {partition}: part and ledger differ on {unit:?}"));
            }
        }
        let lacking = units.iter().any(|unit| !ledger.covers(*unit));
        let said = ledger.lost().any(|(lost, _)| lost.0 == chunk);
        if lacking != said || (lacking && !world.poison.contains(&chunk)) {
            return Err(format!("partition {partition}: chunk {chunk} lacking {lacking}, said {said}"));
        }
    }
    Ok(())
}

/// Seeds that every test run goes through; set `LEDGER_MODEL_SEEDS` for more.
fn seeds() -> u64 {
    std::env::var("LEDGER_MODEL_SEEDS").map_or(10_000, |text| text.parse().expect("LEDGER_MODEL_SEEDS is a number"))
}

#[test]
fn every_unit_is_counted_once_and_every_job_ends() {
    let wrong: Vec<_> = (0..seeds()).filter_map(|seed| run(seed, None).err()).collect();
    assert!(wrong.is_empty(), "{} of {} seeds: {:?}", wrong.len(), seeds(), &wrong[..wrong.len().min(3)]);
}

#[test]
fn a_seed_runs_the_same_way_every_time() {
    for bug in [None, Some(Bug::FinishStale)] {
        for seed in 0..50 {
            assert_eq!(play(seed, bug).0.borrow().trace(), play(seed, bug).0.borrow().trace(), "seed {seed}");
        }
    }
    assert_ne!(play(1, None).0.borrow().trace(), play(2, None).0.borrow().trace());
}

macro_rules! is_caught {
    ($($test:ident: $bug:ident;)*) => {$(
        #[test]
        fn $test() {
            let caught = (0..20_000).find_map(|seed| run(seed, Some(Bug::$bug)).err());
            println!("{:?}: {}", Bug::$bug, caught.expect("the mistake is caught"));
        }
    )*};
}

is_caught! {
    an_ack_before_the_commit_is_caught: AckFirst;
    a_unit_folded_twice_is_caught: NoDedup;
    an_entry_put_over_another_is_caught: Overwrite;
    a_commit_that_does_not_look_at_what_won_is_caught: CommitUnchecked;
    a_delta_kept_over_a_lost_channel_is_caught: ReconnectKeepsDelta;
    a_missing_sweep_is_caught: NoSweep;
    a_chunk_covered_by_its_first_segment_is_caught: ChunkUnits;
    a_compaction_after_a_lost_race_is_caught: CompactUnchecked;
    a_stale_finish_is_caught: FinishStale;
    a_dead_letter_acked_too_early_is_caught: DeadAckFirst;
    a_file_deleted_without_saying_so_is_caught: DeleteUnretired;
}
