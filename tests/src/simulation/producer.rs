//! A job's producer, and who follows it: submits, publishes, seals, watches; whoever comes after a death resumes.
//!
//! What would surprise: a producer that dies before it learned that its job is known begins another; the first one strays, and is
//! cancelled and removed at the end, as a person would.

use super::expected::Expected;
use super::fault::Fault;
use super::life::{Life, State};
use super::line::Line;
use super::plan::JobPlan;
use super::shown::without_paths;
use super::world::{World, locked};
use rabbit_reduce_core::id::{ChunkNumber, JobId};
use rabbit_reduce_core::message::{Answer, Ask, End, PutBack};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::skip::{Place, Skip};
use rabbit_reduce_core::spec::Source;
use rabbit_reduce_producer::screen::Screen;
use rabbit_reduce_producer::session::{Known, Session, SessionError};
use rabbit_reduce_runtime::client::{Client, ClientError};
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::publishing::Packing;
use rabbit_reduce_runtime::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest that nobody cares about a job whose producer died.
const LONGEST_ABSENCE: Duration = Duration::from_secs(10);

/// Between two looks at a job that is to be amended.
const LOOK: Duration = Duration::from_secs(1);

/// What is read of a part at once.
const PAGE_BYTES: u32 = 256;

/// More chunks than any job here has.
const MOST_CHUNKS: u32 = 1000;

/// A job on its way.
#[derive(Default)]
pub struct Stage {
    known: Mutex<Option<Known>>,
    /// Somebody removed it.
    removed: AtomicBool,
}

impl Stage {
    /// The job, once it is submitted.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        locked(&self.known).clone()
    }

    /// Whether somebody removed it.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }
}

/// A producer's session.
#[must_use]
pub fn session(life: &Arc<Life>) -> Session {
    let client = Client::new(Arc::new(Line { life: Arc::clone(life) }));
    let (shutdown, screen) = (Shutdown::new(), Screen::new(true));
    Session {
        client,
        shutdown,
        screen,
        patience: None,
        packing: Packing::Lz4,
        programs: Programs::built_in(),
        as_is: false,
    }
}

/// Brings a job to its end, whoever dies.
pub async fn drive(world: Arc<World>, number: usize, sources: Vec<Source>, stage: Arc<Stage>) {
    let plan = &world.plan.jobs[number];
    tokio::time::sleep(plan.begins).await;
    for life in 0.. {
        let life = Life::new(&world, format!("Producer-{number}.{life}"));
        let (session, to, from) = (session(&life), Arc::clone(&stage), sources.clone());
        let order = plan.order.clone();
        let (whose, there) = (Arc::clone(&life), Arc::clone(&world));
        let mut working = tokio::spawn(async move {
            let done = work(&there, &session, &order, from, &to).await;
            let told = done.as_ref().map_or_else(ToString::to_string, |end| format!("{:?}", end.outcome));
            there.note(format_args!("{} is done: {}", whose.name, without_paths(&told)));
            done
        });
        let done = tokio::select! {
            biased;
            done = &mut working => Some(done),
            _state = life.ends() => None,
        };
        match done {
            Some(Ok(Ok(_end))) => return,
            Some(Ok(Err(error))) if is_over(plan, world.plan.keep.is_some(), &error) => return,
            Some(Ok(Err(error))) if life.sheltered => return world.wrong(format!("{}: {error}", life.name)),
            Some(Ok(Err(error))) => world.note(format_args!("{}: {}", life.name, without_paths(&error.to_string()))),
            Some(Err(panic)) => return world.wrong(format!("{}: {panic}", life.name)),
            None => {
                debug_assert_ne!(life.state(), State::Awake);
                working.abort();
                working.await.ok();
            }
        }
        tokio::time::sleep(world.span(LONGEST_ABSENCE)).await;
    }
}

/// Whether a job that is not known any more was cancelled or removed, or kept for long enough.
const fn is_over(plan: &JobPlan, expires: bool, error: &SessionError) -> bool {
    (plan.cancelled.is_some() || plan.removed || expires) && matches!(error, SessionError::Client(ClientError::Unknown))
}

async fn work(
    world: &World,
    session: &Session,
    order: &crate::cluster::Order,
    sources: Vec<Source>,
    stage: &Stage,
) -> Result<End, SessionError> {
    let known = stage.known();
    let (known, only) = match known {
        None => {
            let known = session.submit(&order.config(), order.by, order.segment_bytes, None, sources).await?;
            locked(&world.jobs).push((known.spec.job, known.spec.partitions));
            *locked(&stage.known) = Some(known.clone());
            (known, None)
        }
        Some(known) => {
            let job = known.spec.job;
            let found = session.find(job).await?;
            if let Some(end) = session.status(job).await?.end {
                return Ok(end);
            }
            (found, Some(session.uncovered(job, MOST_CHUNKS).await?))
        }
    };
    session.publish(&known, only).await?;
    session.watch(known.spec.job).await
}

/// A person with a command, who tries until it is done; `None` if there is no such job.
pub async fn ask(world: &Arc<World>, ask: Ask) -> Option<Result<(), String>> {
    let life = Life::immortal(world, "Person");
    match session(&life).ask(ask, &[]).await {
        Ok(_) => Some(Ok(())),
        Err(SessionError::Client(ClientError::Unknown)) => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

/// Somebody cancels a job.
pub async fn cancel(world: Arc<World>, after: Duration, stage: Arc<Stage>) {
    tokio::time::sleep(after).await;
    if let Some(known) = stage.known() {
        let job: JobId = known.spec.job;
        world.injected(Fault::Cancelled);
        world.note(format_args!("somebody cancels {job}"));
        // Refused where it has ended.
        ask(&world, Ask::Cancel { job }).await;
    }
}

/// Somebody has what a job lost sent again, chunks and records, and waits until its result is amended.
pub async fn retry(world: &Arc<World>, plan: &JobPlan, stage: &Stage) {
    let Some(known) = stage.known() else { return };
    let (job, life) = (known.spec.job, Life::immortal(world, "Mender"));
    let session = session(&life);
    let Some(end) = session.status(job).await.ok().and_then(|status| status.end) else { return };
    let chunks: Vec<ChunkNumber> = end.losses.chunks.iter().map(|lost| lost.chunk).collect();
    // A record that no message carries belongs to no piece of its chunk.
    let expected = Expected::of(plan, &BTreeMap::new(), &BTreeSet::new());
    let places = end.losses.records.iter().map(Skip::place);
    let records: Vec<(ChunkNumber, Place)> =
        places.filter_map(|place| Some((expected.chunk_at(place)?, place))).collect();
    let asked = chunks.len() + records.len();
    if asked == 0 || !end.outcome.has_result() {
        return;
    }
    world.note(format_args!("somebody has {chunks:?} and {records:?} of {job} sent again"));
    let answer = match session.ask(Ask::Retry { job, chunks, records }, &[]).await {
        Ok((answer, _)) => answer,
        Err(error) => return world.wrong(format!("nothing of job {job} is sent again: {error}")),
    };
    world.note(format_args!("{job}: {answer:?}"));
    // Refused is what a late message made whole meanwhile, and what nobody can repair.
    let Answer::Retried { chunks, refused, records, .. } = answer else {
        return world.wrong(format!("{answer:?} is no answer"));
    };
    let sent = records.iter().filter(|(.., fate)| *fate == PutBack::Sent).count();
    chunks.iter().for_each(|_| world.injected(Fault::Retried));
    (0..sent).for_each(|_| world.injected(Fault::RecordRetried));
    if refused.len() + records.iter().filter(|(.., fate)| matches!(fate, PutBack::Refused(_))).count() == asked {
        return;
    }
    loop {
        match session.status(job).await {
            Ok(status)
                if status.retrying.is_empty()
                    && status.retrying_records.is_empty()
                    && status.end.as_ref().is_some_and(|now| now.version > end.version) =>
            {
                return;
            }
            Err(SessionError::Client(ClientError::Unknown)) if world.plan.keep.is_some() => return,
            Ok(_) => read(world, &session, job).await,
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads the newest result of a job as whoever prints it does; while a job is amended, too, it has to be there.
pub async fn read(world: &World, session: &Session, job: JobId) {
    let newest = async || session.status(job).await.ok().and_then(|status| status.end);
    let Some(end) = newest().await else { return };
    for part in &end.parts {
        let mut bytes = Vec::new();
        loop {
            let (name, part, offset) = (&part.name, part.name.clone(), bytes.len() as u64);
            match session.ask(Ask::Part { job, part, offset, length: PAGE_BYTES }, &[]).await {
                Ok((Answer::Bytes { more }, page)) => {
                    bytes.extend_from_slice(&page);
                    if !more {
                        break;
                    }
                }
                // Whoever is at it by the second end after it has to begin anew.
                _ if newest().await.is_none_or(|now| now.version > end.version) => return,
                other => return world.wrong(format!("{name} of job {job} cannot be read: {other:?}")),
            }
        }
        let stored = world.store.get(&format!("jobs/{job}/{}", part.name)).expect("memory can be read");
        if stored.is_some_and(|stored| stored != bytes) || part.bytes != bytes.len() as u64 {
            world.wrong(format!("{} of job {job} is read as something else", part.name));
        }
    }
}

/// Somebody removes a job that has ended, while late messages of it may still come.
pub async fn remove(world: &Arc<World>, stage: &Stage) {
    let Some(known) = stage.known() else { return };
    let job = known.spec.job;
    world.note(format_args!("somebody removes {job}"));
    world.injected(Fault::Removed);
    stage.removed.store(true, Ordering::Relaxed);
    locked(&world.unwanted).insert(job);
    if let Some(Err(error)) = ask(world, Ask::Remove { job }).await {
        world.wrong(format!("job {job} is not removed: {error}"));
    }
}

/// Somebody ends and removes a job that no producer knows: it died before it learned that it was submitted.
pub async fn clear(world: &Arc<World>, job: JobId) {
    locked(&world.unwanted).insert(job);
    world.note(format_args!("somebody clears {job}"));
    for (what, ask_for) in [("cancelled", Ask::Cancel { job }), ("removed", Ask::Remove { job })] {
        // Where jobs are kept for so long only, one that nobody goes on to publish ends by itself.
        let over = |error: &String| world.plan.keep.is_some() && error.contains("has ended already");
        if let Some(Err(error)) = ask(world, ask_for).await
            && !over(&error)
        {
            world.wrong(format!("job {job}, of which no producer knows, is not {what}: {error}"));
        }
    }
}

/// Somebody reads the result of a job, if it has one.
pub async fn look_at_result(world: &Arc<World>, stage: &Stage) {
    if let Some(known) = stage.known() {
        let life = Life::immortal(world, "Reader");
        read(world, &session(&life), known.spec.job).await;
    }
}
