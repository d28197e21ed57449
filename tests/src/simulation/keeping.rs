//! For how long jobs are kept: what nobody asked to have removed goes only when that is over.
//!
//! What would surprise: it is judged as the mark is put, since nothing is left to judge by afterwards.

use super::fault::Fault;
use super::world::{World, locked};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::message::End;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::store::Store;

/// A file is put.
pub fn put(world: &World, path: &str) {
    let removed = path.strip_prefix("jobs/").and_then(|rest| rest.strip_suffix("/removed"));
    let Some(job) = removed.and_then(|job| job.parse::<JobId>().ok()) else { return };
    if locked(&world.unwanted).contains(&job) {
        return;
    }
    let Some(keep) = world.plan.keep else { return world.wrong(format!("job {job} is removed, and nobody asked")) };
    world.injected(Fault::Expired);
    let file = |path: &str| world.store.get(&format!("jobs/{job}/{path}")).expect("memory can be read");
    let ends = world.store.list(&format!("jobs/{job}/end")).expect("memory can be read");
    let Some(end) = ends.last().and_then(|end| file(&format!("end/{end}"))) else {
        return world.wrong(format!("job {job} is removed although it has not ended"));
    };
    let since = serde_json::from_slice::<End>(&end).expect("an end can be read").time_ms;
    if u128::from(clock::now_ms().saturating_sub(since)) < keep.as_millis() {
        world.wrong(format!("job {job} is removed before {keep:?} have passed"));
    }
}
