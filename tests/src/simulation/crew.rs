//! Workers and aggregators: each place is always taken, and whoever dies or leaves is followed by somebody else after a while.
//!
//! What would surprise: a role that stops by itself while things go wrong is started again, as a supervisor would; one that does
//! so in calm weather, or panics, is a failure of the seed.

use super::disk::Disk;
use super::life::{Life, State};
use super::line::Line;
use super::signal::Signal;
use super::world::World;
use crate::crew::Role;
use futures_util::future::BoxFuture;
use rabbit_reduce_aggregator as aggregator;
use rabbit_reduce_core::message::MAX_BODY_BYTES;
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::topology::REDUCE_QUEUES;
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::process::shutdown::{Shutdown, Urgency};
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_worker as worker;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// The longest that a place stays empty.
const LONGEST_ABSENCE: Duration = Duration::from_secs(5);
/// The longest that somebody may take to finish.
const LONGEST_GOODBYE: Duration = Duration::from_secs(300);

/// Those at work.
pub struct Crew {
    world: Arc<World>,
    open: Arc<Signal<bool>>,
    places: JoinSet<()>,
}

impl Crew {
    /// Everyone begins.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Self {
        let (open, mut places) = (Arc::new(Signal::new(true)), JoinSet::new());
        let plan = &world.plan;
        for (role, count) in [(Role::Aggregator, plan.aggregators), (Role::Worker, plan.workers)] {
            for place in 0..count {
                places.spawn(keep(Arc::clone(world), role, place, Arc::clone(&open)));
            }
        }
        Self { world: Arc::clone(world), open, places }
    }

    /// Everyone finishes and leaves.
    pub async fn leave(mut self) {
        self.open.set(false);
        while let Some(left) = self.places.join_next().await {
            if let Err(error) = left {
                self.world.wrong(format!("a place: {error}"));
            }
        }
    }
}

/// Keeps a place taken.
async fn keep(world: Arc<World>, role: Role, place: usize, open: Arc<Signal<bool>>) {
    for number in 0.. {
        let life = Life::new(&world, format!("{role:?}-{place}.{number}"));
        let shutdown = Shutdown::new();
        let mut running = tokio::spawn(run(role, &life, shutdown.clone()));
        let state = tokio::select! {
            biased;
            state = life.ends() => state,
            ended = &mut running => {
                tell(&life, Some(ended));
                State::Dead
            }
            _closed = open.until(|open| !open) => {
                life.ask_to_leave();
                State::Leaving
            }
        };
        if state == State::Leaving {
            shutdown.ask(Urgency::Graceful);
            say_goodbye(&life, &mut running).await;
        }
        bury(running).await;
        if !open.get() {
            return;
        }
        tokio::time::sleep(world.span(LONGEST_ABSENCE)).await;
    }
}

/// Waits for somebody who finishes; even then they may die.
async fn say_goodbye(life: &Arc<Life>, running: &mut JoinHandle<Result<(), String>>) {
    let dead = async {
        while life.state() != State::Dead {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        biased;
        ended = running => tell(life, Some(ended)),
        () = dead => {}
        () = tokio::time::sleep(LONGEST_GOODBYE) => {
            if life.world.is_calm() {
                life.world.wrong(format!("{} does not leave", life.name));
            }
        }
    }
}

fn tell(life: &Life, ended: Option<Result<Result<(), String>, tokio::task::JoinError>>) {
    let world = &life.world;
    match ended {
        Some(Ok(Ok(()))) | None => world.note(format_args!("{} leaves", life.name)),
        Some(Ok(Err(error))) if life.sheltered => world.wrong(format!("{} stopped: {error}", life.name)),
        Some(Ok(Err(error))) => world.note(format_args!("{} stopped: {error}", life.name)),
        Some(Err(panic)) => world.wrong(format!("{} panicked: {panic}", life.name)),
    }
}

/// Everything of somebody is gone when this comes back.
async fn bury(running: JoinHandle<Result<(), String>>) {
    running.abort();
    if !running.is_finished() {
        running.await.ok();
    }
}

fn run(role: Role, life: &Arc<Life>, until: Shutdown) -> BoxFuture<'static, Result<(), String>> {
    let broker: Arc<dyn Broker> = Arc::new(Line { life: Arc::clone(life) });
    let (name, plan) = (life.name.clone(), &life.world.plan);
    match role {
        Role::Worker => {
            let config = worker::Config {
                name,
                threads: plan.threads,
                memory_bytes: 64 << 20,
                least_budget_bytes: 1,
                roots: worker::Roots::Anywhere,
                scratch: PathBuf::from("/nonexistent"),
                exit_when_idle: false,
                program: None,
                commands: None,
                module_silence: Duration::ZERO,
                programs: Programs::built_in(),
                files: ShippedFiles::shared(Path::new("/nonexistent")),
            };
            let memory_bytes = 2 * config.hands() * plan.budget_bytes as u64;
            let config = worker::Config { memory_bytes, ..config };
            Box::pin(async move { worker::run(config, broker, until).await.map_err(|error| error.to_string()) })
        }
        Role::Aggregator => {
            let window = u64::from(REDUCE_QUEUES) * plan.segment_bytes as u64 * plan.prefetch;
            let config = aggregator::Config {
                name,
                memory_bytes: 4 * (window + MAX_BODY_BYTES as u64),
                threads: plan.threads,
                segment_bytes: plan.segment_bytes,
                max_runs: plan.max_runs,
                limits: aggregator::Limits::default(),
                scratch: std::env::temp_dir(),
                programs: Programs::built_in(),
                files: ShippedFiles::shared(Path::new("/nonexistent")),
                keep: plan.keep,
            };
            let store = Arc::new(Disk { life: Arc::clone(life) });
            Box::pin(
                async move { aggregator::run(config, broker, store, until).await.map_err(|error| error.to_string()) },
            )
        }
    }
}
