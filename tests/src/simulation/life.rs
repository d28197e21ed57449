//! The life of one process: at some moment it is killed, frozen, or asked to stop.
//!
//! A moment is just before or after anything that others can see: only there does it matter when somebody dies. What would
//! surprise: who is dead or frozen is not told; whatever it awaits does not come, and its owner drops it.

use super::fault::Fault;
use super::signal::Signal;
use super::world::World;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The last moment at which somebody meets a fate.
const OLD: u64 = 400;
/// The longest that somebody is frozen, in milliseconds: longer than any heartbeat.
const LONGEST_FROST: Duration = Duration::from_secs(60);
/// After so long without a heartbeat the broker gives somebody's deliveries to others.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At work.
    Awake,
    /// Asked to finish.
    Leaving,
    /// Frozen; comes back.
    Frozen,
    /// Gone.
    Dead,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Kill,
    Freeze,
    Stop,
    Cut,
}

/// See the module.
pub struct Life {
    /// Who.
    pub name: String,
    /// Where.
    pub world: Arc<World>,
    /// Whether all went well from its beginning on.
    pub sheltered: bool,
    moments: AtomicU64,
    fated: AtomicU64,
    state: Signal<State>,
    cuts: Signal<u64>,
}

impl fmt::Debug for Life {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Life({})", self.name)
    }
}

impl Life {
    /// Somebody begins to work.
    #[must_use]
    pub fn new(world: &Arc<World>, name: String) -> Arc<Self> {
        let life = Arc::new(Self {
            name,
            world: Arc::clone(world),
            sheltered: world.is_calm(),
            moments: AtomicU64::new(0),
            fated: AtomicU64::new(0),
            state: Signal::new(State::Awake),
            cuts: Signal::new(0),
        });
        life.draw_fate();
        world.welcome(&life);
        world.note(format_args!("{} begins", life.name));
        life
    }

    /// Somebody whom nothing befalls but what befalls their messages.
    #[must_use]
    pub fn immortal(world: &Arc<World>, name: &str) -> Arc<Self> {
        let life = Self::new(world, name.to_owned());
        life.fated.store(u64::MAX, Ordering::Relaxed);
        life
    }

    fn draw_fate(&self) {
        let world = &self.world;
        let fated = world.happens(world.plan.faults.fates);
        let moments = if fated { 1 + world.dice.below(1 + world.dice.below(OLD)) } else { u64::MAX / 2 };
        self.fated.store(self.moments.load(Ordering::Relaxed) + moments, Ordering::Relaxed);
    }

    /// How somebody is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// A moment passes, and perhaps more.
    pub async fn moment(self: &Arc<Self>) {
        let moment = self.moments.fetch_add(1, Ordering::Relaxed);
        if moment == self.fated.load(Ordering::Relaxed) && !self.world.is_calm() && self.state() == State::Awake {
            self.meet(match self.world.dice.below(10) {
                0..5 => Fate::Kill,
                5..8 => Fate::Freeze,
                8 => Fate::Stop,
                _ => Fate::Cut,
            });
        }
        self.go_on().await;
    }

    /// Waits while somebody is frozen, and for ever if they are dead.
    pub async fn go_on(&self) {
        if matches!(self.state(), State::Frozen | State::Dead) {
            self.state.until(|state| matches!(state, State::Awake | State::Leaving)).await;
        }
    }

    fn meet(self: &Arc<Self>, fate: Fate) {
        self.world.note(format_args!("{} {fate:?}", self.name));
        self.world.injected(match fate {
            Fate::Kill if self.name.starts_with("Producer") => Fault::ProducerDied,
            Fate::Kill if generator::is_generator() => Fault::KilledAtTheStore,
            Fate::Kill => Fault::Killed,
            Fate::Freeze => Fault::Frozen,
            Fate::Stop => Fault::AskedToStop,
            Fate::Cut => Fault::Cut,
        });
        match fate {
            Fate::Kill => self.state.set(State::Dead),
            Fate::Stop => self.state.set(State::Leaving),
            Fate::Cut => self.cut(),
            Fate::Freeze => self.freeze(),
        }
        if !matches!(fate, Fate::Kill) {
            self.draw_fate();
        }
    }

    fn freeze(self: &Arc<Self>) {
        self.state.set(State::Frozen);
        let world = &self.world;
        let (frost, noticed) = (world.span(LONGEST_FROST), world.span(HEARTBEAT));
        if noticed < frost {
            let life = Arc::clone(self);
            world.later(noticed, async move { life.cut() });
        }
        let life = Arc::clone(self);
        world.later(Duration::ZERO, async move {
            tokio::select! {
                biased;
                () = life.world.calm() => {}
                () = tokio::time::sleep(frost) => {}
            }
            life.world.note(format_args!("{} thaws", life.name));
            if life.state() == State::Frozen {
                life.state.set(State::Awake);
            }
        });
    }

    /// The connection breaks: all channels end.
    pub fn cut(&self) {
        self.world.note(format_args!("{} is cut off", self.name));
        self.cuts.set(self.cuts.get() + 1);
    }

    /// How often the connection broke.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts.get()
    }

    /// Waits until the connection has broken more often.
    pub async fn cut_off(&self, before: u64) {
        self.cuts.until(|cuts| cuts > before).await;
    }

    /// Waits until somebody is to leave, or is dead.
    pub async fn ends(&self) -> State {
        self.state.until(|state| matches!(state, State::Leaving | State::Dead)).await
    }

    /// Asks somebody to finish.
    pub fn ask_to_leave(&self) {
        if self.state() == State::Awake {
            self.state.set(State::Leaving);
        }
    }
}
