//! The whole pipeline on one thread, from a seed: producers, workers, aggregators, ledgers, the store, on the embedded broker,
//! with a clock of its own and every fault that the dice say.
//!
//! The roles are the real ones; only what is around them is simulated. What would surprise: the same seed does the same again,
//! step by step, which [`Told::hash`] shows; so a failing seed is all that it takes to look at a failure.

pub mod audit;
pub mod crew;
pub mod disk;
pub mod expected;
pub mod fault;
pub mod fiber;
pub mod inputs;
pub mod keeping;
pub mod life;
pub mod line;
pub mod many;
pub mod plan;
pub mod producer;
pub mod scratch;
pub mod shown;
pub mod signal;
pub mod trace;
pub mod verdicts;
pub mod weather;
pub mod world;

use audit::Audit;
use crew::Crew;
use fault::Fault;
use inputs::Inputs;
use plan::Plan;
use producer::Stage;
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::skip::said;
use rabbit_reduce_runtime::mistake::{self, Mistake};
use rabbit_reduce_runtime::process::{chance, clock, compute};
use rabbit_reduce_runtime::scratch as runtime_scratch;
use rabbit_reduce_runtime::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use world::{World, locked};

/// In calm weather a job ends within this.
const PATIENCE: Duration = Duration::from_secs(1800);
/// After the last end, a sweep and what it finds.
const AFTERMATH: Duration = Duration::from_secs(70);
/// Rounds of work that what came back from those who left may need.
const LAST_ROUNDS: u32 = 5;
/// Whoever slept or waited does so no more.
const LONG_AFTER: Duration = Duration::from_secs(2 * 24 * 3600);
/// After so long the mark of a removed job goes, too.
const MARK_AGE: Duration = Duration::from_secs(8 * 24 * 3600);
/// Whoever begins looks after the store at once, and this takes no longer.
const LAST_SWEEP: Duration = Duration::from_secs(5);
/// Between two looks at the queues.
const LOOK: Duration = Duration::from_secs(1);

/// What is told of a seed.
#[derive(Debug)]
pub struct Told {
    /// What is not as it must be; nothing if all is well.
    pub wrong: Vec<String>,
    /// Of everything that happened.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// What happened, if it was to be kept.
    pub lines: Vec<String>,
    /// How often each fault was injected.
    pub faults: BTreeMap<Fault, u64>,
}

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// A mistake that the code makes on purpose.
    pub mistake: Option<Mistake>,
    /// Whether to keep what happened, line by line.
    pub kept: bool,
}

impl Case {
    /// A seed, without mistakes.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self { seed, mistake: None, kept: false }
    }

    /// Lives through it. `paused` makes a runtime of one thread whose clock stands still while there is something to do.
    #[must_use]
    pub fn run(self, paused: fn() -> Runtime) -> Told {
        let runtime = paused();
        let guard = Simulated::begin(self, &runtime);
        let plan = Plan::of(self.seed).inviting(self.mistake);
        let world = runtime.block_on(World::new(self.seed, plan, self.overwrites(), self.kept));
        let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(&world, self.seed))));
        if let Err(panic) = lived {
            world.wrong(format!("panicked: {}", said(&*panic)));
        }
        // Whoever is left is dropped while the thread is still simulated.
        drop(runtime);
        drop(guard);
        let mut trace = world.trace();
        let (hash, events, lines) = (trace.hash(), trace.events(), trace.take_lines());
        drop(trace);
        Told { wrong: world.wrongs(), hash, events, lines, faults: world.faults() }
    }

    fn overwrites(self) -> bool {
        self.mistake == Some(Mistake::PutOverwrites)
    }
}

/// This thread is simulated while it lives.
struct Simulated;

impl Simulated {
    fn begin(case: Case, runtime: &Runtime) -> Self {
        chance::seed(Some(!case.seed));
        compute::simulate(Some(fiber::BENCH));
        runtime_scratch::simulate(Some(scratch::create));
        #[cfg(debug_assertions)]
        mistake::plant(case.mistake);
        let _within = runtime.enter();
        clock::simulate(true);
        Self
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        chance::seed(None);
        compute::simulate(None);
        runtime_scratch::simulate(None);
        clock::simulate(false);
        #[cfg(debug_assertions)]
        mistake::plant(None);
    }
}

async fn live(world: &Arc<World>, seed: u64) {
    let inputs = Arc::new(Inputs::of(seed));
    scratch::belong_to(world);
    world.note(format_args!("{:?}", world.plan));
    let crew = Crew::new(world);
    let stages: Vec<Arc<Stage>> = world.plan.jobs.iter().map(|_| Arc::default()).collect();
    let mut jobs = JoinSet::new();
    for (number, (plan, stage)) in world.plan.jobs.iter().zip(&stages).enumerate() {
        let sources = inputs.write(number, &plan.sources);
        let (there, stage_there) = (Arc::clone(world), Arc::clone(stage));
        jobs.spawn(async move {
            producer::drive(Arc::clone(&there), number, sources, Arc::clone(&stage_there)).await;
            let plan = &there.plan.jobs[number];
            for _ in 0..plan.retries {
                producer::retry(&there, plan, &stage_there).await;
            }
            if there.plan.jobs[number].removed {
                producer::remove(&there, &stage_there).await;
            }
        });
        if let Some(when) = plan.cancelled {
            jobs.spawn(producer::cancel(Arc::clone(world), when, Arc::clone(stage)));
        }
    }
    weather::begin(world, &inputs);
    let ends = async { while jobs.join_next().await.is_some() {} };
    let lasting = world.plan.faults.last;
    let mut ends = std::pin::pin!(ends);
    let early = tokio::time::timeout(lasting, &mut ends).await.is_ok();
    // Late duplicates and the like may come when the jobs have ended.
    tokio::time::sleep(lasting.saturating_sub(world.age())).await;
    world.calm_down();
    inputs.show();
    if !world.plan.faults.purges.is_empty() {
        repair(world, &stages, &inputs).await;
    }
    if !early && tokio::time::timeout(PATIENCE, ends).await.is_err() {
        return world.wrong("a job does not end".to_owned());
    }
    settle(world, crew).await;
    last_look(world, &stages).await;
    judge(world, &stages);
    let aside = world.store.list("aside").expect("memory can be read");
    if !aside.is_empty() {
        world.wrong(format!("messages are set aside: {aside:?}"));
    }
    if world.plan.keep.is_some() {
        expire(world).await;
    }
}

/// What was purged is sent again by a person who resumes the job.
async fn repair(world: &Arc<World>, stages: &[Arc<Stage>], inputs: &Inputs) {
    // First, what is still on its way.
    while !world.is_quiet() {
        tokio::time::sleep(LOOK).await;
    }
    // Whoever has not submitted a job yet still does, and lacks nothing.
    let begun = |stage: &Arc<Stage>| stage.known().is_some() && !stage.is_removed();
    for (number, stage) in stages.iter().enumerate().filter(|(_, stage)| begun(stage)) {
        let sources = inputs.write(number, &world.plan.jobs[number].sources);
        let resuming = producer::drive(Arc::clone(world), number, sources, Arc::clone(stage));
        if tokio::time::timeout(PATIENCE, resuming).await.is_err() {
            return world.wrong("a job does not end, although it was resumed".to_owned());
        }
    }
}

/// Waits until nothing is left to do, and everyone has left.
async fn settle(world: &Arc<World>, mut crew: Crew) {
    for _ in 0..LAST_ROUNDS {
        let emptied = async {
            while !(world.is_quiet() && left_over(world).await.is_empty()) {
                tokio::time::sleep(LOOK).await;
            }
            tokio::time::sleep(AFTERMATH).await;
        };
        if tokio::time::timeout(PATIENCE, emptied).await.is_err() {
            return world.wrong(format!("messages are left: {:?}", left_over(world).await));
        }
        crew.leave().await;
        // What was on its way to somebody who left comes back in a moment.
        tokio::time::sleep(LOOK).await;
        if left_over(world).await.is_empty() {
            return;
        }
        crew = Crew::new(world);
    }
    world.wrong(format!("there is always something left: {:?}", left_over(world).await));
}

async fn left_over(world: &World) -> Vec<(String, u32)> {
    let mut left = Vec::new();
    for queue in world.plan.topology().queues {
        let depth = world.broker.depth(&queue.name).await.ok().flatten().unwrap_or_default();
        if depth.messages > 0 {
            left.push((queue.name, depth.messages));
        }
    }
    left
}

/// Long after it all somebody comes, and looks after whatever is left; and what no producer knows of is ended and removed.
async fn last_look(world: &Arc<World>, stages: &[Arc<Stage>]) {
    if world.plan.keep.is_none() {
        tokio::time::sleep(LONG_AFTER).await;
    }
    let crew = Crew::new(world);
    let known: BTreeSet<JobId> = stages.iter().filter_map(|stage| Some(stage.known()?.spec.job)).collect();
    let there = jobs(world);
    let begun = locked(&world.begun).clone();
    for job in there.difference(&begun) {
        world.wrong(format!("nobody began job {job}"));
    }
    for stray in there.difference(&known).copied() {
        producer::clear(world, stray).await;
    }
    for stage in stages.iter().filter(|stage| !stage.is_removed()) {
        producer::look_at_result(world, stage).await;
    }
    tokio::time::sleep(LAST_SWEEP).await;
    crew.leave().await;
}

/// The jobs of which the store holds anything.
fn jobs(world: &World) -> BTreeSet<JobId> {
    let names = world.store.list("jobs").expect("memory can be read");
    names.iter().map(|name| name.parse().expect("there are only jobs")).collect()
}

fn judge(world: &World, stages: &[Arc<Stage>]) {
    let mut removed = jobs(world);
    for (plan, stage) in world.plan.jobs.iter().zip(stages) {
        let Some(known) = stage.known() else { return world.wrong("a job was never submitted".to_owned()) };
        let (job, audit) = (known.spec.job, Audit { world, plan, job: known.spec.job });
        let expired = world.plan.keep.is_some() && audit.is_marked();
        if !stage.is_removed() && !expired {
            removed.remove(&job);
            audit.ended();
        }
    }
    for job in removed {
        Audit { world, plan: &world.plan.jobs[0], job }.is_removed();
    }
    const KNOWN: [&str; 4] = ["aside", "id", "jobs", "marks"];
    let names = world.store.list("").expect("memory can be read");
    let strange: Vec<_> = names.iter().filter(|name| !KNOWN.contains(&name.as_str())).collect();
    if !strange.is_empty() && world.plan.keep.is_none() {
        world.wrong(format!("the store holds {strange:?}"));
    }
}

/// What is kept for so long only goes, and so do the marks of what went.
async fn expire(world: &Arc<World>) {
    // One look removes a job, the next sees its mark, and that goes with the last.
    for _ in 0..3 {
        tokio::time::sleep(MARK_AGE).await;
        let crew = Crew::new(world);
        tokio::time::sleep(LAST_SWEEP).await;
        crew.leave().await;
    }
    let left = world.store.list("").expect("memory can be read");
    if left != ["id"] {
        world.wrong(format!("everything is older than it is kept, and there are {left:?}"));
    }
}
