//! The aggregator: folds partials, commits them to the ledgers of the one store, ends jobs, answers questions.
//!
//! This file is the shell: it feeds every source of events into one loop and carries out what `folding::Folding` says. What
//! would surprise: any number of aggregators may run on one store, and none of them knows of another.

mod archive;
mod aside;
pub mod cli;
mod closing;
mod dead;
mod ending;
mod folding;
mod http;
mod letters;
mod limits;
mod note;
mod received;
mod repair;
mod requests;
mod rounds;
mod shard;
mod steps;
mod sweeping;
mod tend;
mod tidying;
mod top;

use crate::archive::{Archive, ArchiveError};
use crate::aside::Note;
use crate::folding::{Effect, Event, Folding, Opened, OpenedJob};
use crate::letters::Letters;
pub use crate::limits::Limits;
use crate::repair::Again;
use crate::rounds::Rounds;
use crate::shard::{Channel, HeldReceipt};
use crate::steps::Steps;
use crate::sweeping::Sweep;
use crate::tend::Tend;
use crate::tidying::Tidying;
use crate::top::Tops;
use bytes::Bytes;
use rabbit_reduce_core::id::{JobId, Origin};
use rabbit_reduce_core::ledger::Ledger;
use rabbit_reduce_core::ledger::delta::Delta;
use rabbit_reduce_core::message::{self, Answer, Ask, News, Outcome, Reply, Request};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::topology::{REDUCE_QUEUES, queue};
use rabbit_reduce_runtime::broker::stored::{pause_before, publish_stored};
use rabbit_reduce_runtime::broker::{Broker, BrokerError, Delivery, Receipt, Route};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::http::Site;
use rabbit_reduce_runtime::process::byte_size::ByteSize;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::compute::blocking;
use rabbit_reduce_runtime::process::joined::joined;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::shipped::ShippedFiles;
use rabbit_reduce_runtime::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// How often time is told to pass: finer than any limit that counts it.
const TICK: Duration = Duration::from_millis(100);
/// How often the store is searched for jobs that nobody goes on with.
const SWEEP: Duration = Duration::from_secs(60);
/// The least prefetch of a reduce queue: below it, a worker's window stalls.
const LEAST_PREFETCH: u64 = 8;
/// The most: more than a commit takes at a time is of no use.
const MOST_PREFETCH: u64 = 256;
/// Requests that are worked on at once.
const REQUESTS: u16 = 16;
/// Why messages go back.
const FOR_OTHERS: &str = "start aggregators of their release, that know their program and may run its commands";
/// How long a dead letter that cannot be dealt with stays in hand: a return would be counted, and a broker takes back what is held
/// for half an hour.
const LETTER_HELD: Duration = Duration::from_secs(20 * 60);
/// How long it waits there to be tried again.
const LETTER_PAUSE: Duration = Duration::from_secs(5);
/// A question that nobody here can read is asked again by whoever waits; so often it goes back to those who can.
const HANDED_BACK: u32 = 10;
/// How long an answer or a dead letter may take to be stored.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an aggregator is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is, in ledgers and logs.
    pub name: String,
    /// What all of it may use, in bytes.
    pub memory_bytes: u64,
    /// Shards tended at once.
    pub threads: usize,
    /// The largest segment that will come, in bytes.
    pub segment_bytes: usize,
    /// For how long ended jobs, abandoned ones, and what was set aside are kept; for ever without.
    pub keep: Option<Duration>,
    /// Live runs of a partition beyond which the smallest are merged.
    pub max_runs: usize,
    /// Of each job.
    pub limits: Limits,
    /// For what a reduce cannot hold in memory.
    pub scratch: PathBuf,
    /// What it can merge and reduce.
    pub programs: Programs,
    /// Where files of jobs are kept beside the store.
    pub files: ShippedFiles,
}

/// For [`Config::max_runs`]: each open run costs a merge some 400 KiB.
pub const MAX_RUNS: usize = 64;

/// Why an aggregator did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The namespace is another store's.
    #[error(
        "the namespace belongs to another store than --store, which is {store}; start it on that one, or with another --namespace"
    )]
    OtherStore {
        /// The id of ours.
        store: String,
        /// What the broker said, which names the other.
        source: BrokerError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too little memory.
    #[error("--memory {given} is too little: an aggregator needs at least {least}")]
    Memory {
        /// As given.
        given: ByteSize,
        /// What would do.
        least: ByteSize,
    },
}

/// The least memory with which the least prefetch fits, in whole MiB.
pub(crate) const fn least_memory_bytes(segment_bytes: usize) -> u64 {
    let window = REDUCE_QUEUES as u64 * segment_bytes as u64 * LEAST_PREFETCH;
    (4 * (window + message::MAX_BODY_BYTES as u64)).next_multiple_of(1 << 20)
}

/// Everything that reaches the loop.
enum Incoming {
    Event(Event),
    Request(Delivery),
    Letter(Delivery),
}

impl Config {
    /// The prefetch of each reduce queue: what is held unacked, a segment each, fits a quarter of the memory.
    ///
    /// # Errors
    /// Fails if the least does not fit.
    pub fn prefetch(&self) -> Result<u16, AggregatorError> {
        let segment = self.segment_bytes as u64;
        let large = message::MAX_BODY_BYTES as u64;
        let prefetch = (self.memory_bytes / 4).saturating_sub(large) / (u64::from(REDUCE_QUEUES) * segment);
        if prefetch < LEAST_PREFETCH {
            let least = least_memory_bytes(self.segment_bytes);
            return Err(AggregatorError::Memory { given: ByteSize(self.memory_bytes), least: ByteSize(least) });
        }
        Ok(u16::try_from(prefetch.min(MOST_PREFETCH)).expect("the most fits"))
    }
}

/// Works until asked to stop; the first wish commits what is folded, the second leaves at once.
///
/// # Errors
/// Fails if the broker refuses it for good, if the namespace belongs to another store, or if the store cannot be used.
pub async fn run(
    config: Config,
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
) -> Result<(), AggregatorError> {
    run_at(None, config, broker, store, shutdown).await
}

/// The same, and served over HTTP meanwhile.
///
/// # Errors
/// As [`run`].
pub async fn run_at(
    site: Option<Site>,
    config: Config,
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
) -> Result<(), AggregatorError> {
    let prefetch = config.prefetch()?;
    let asked = Arc::clone(&store);
    let store_id = blocking(move || asked.probe().and_then(|()| asked.store_id())).await?;
    broker.bind_store(&store_id).await.map_err(|source| match source {
        BrokerError::Mismatch { .. } => AggregatorError::OtherStore { store: store_id.clone(), source },
        other => other.into(),
    })?;
    let archive = Archive {
        store,
        store_id: store_id.clone(),
        writer: config.name.clone(),
        max_runs: config.max_runs,
        limits: config.limits,
        open: Arc::default(),
        tops: Tops::default(),
        scratch: config.scratch.clone(),
        programs: config.programs.clone(),
        files: config.files.clone(),
    };
    if let Some(site) = site {
        tokio::spawn(http::serve(site, archive.clone(), Arc::clone(&broker), shutdown.clone()));
    }
    let mut prefetches = vec![prefetch; REDUCE_QUEUES as usize];
    prefetches.push(1);
    let (incoming, arrivals) = mpsc::channel(64);
    let mut feeds = JoinSet::new();
    for (consumer, prefetch) in prefetches.iter().enumerate() {
        let large = consumer == REDUCE_QUEUES as usize;
        let name = if large { queue::REDUCE_LARGE.to_owned() } else { format!("reduce.{consumer}") };
        feeds.spawn(feed_partials(Arc::clone(&broker), name, consumer, *prefetch, incoming.clone()));
    }
    feeds.spawn(feed(Arc::clone(&broker), queue::CONTROL, REQUESTS, incoming.clone(), Incoming::Request));
    feeds.spawn(feed(Arc::clone(&broker), queue::DEAD, 1, incoming.clone(), Incoming::Letter));
    feeds.spawn(listen(Arc::clone(&broker), incoming));
    let folding = Folding::new(store_id, &prefetches, config.threads, config.limits);
    let (letters, rounds) = (Arc::default(), Arc::default());
    let compute = Arc::new(Semaphore::new(config.threads.max(4)));
    let (sweeping, keep) = (Arc::new(Semaphore::new(1)), config.keep);
    let (tidying, tidied) = (Arc::new(Semaphore::new(1)), Arc::default());
    let steps = Steps::new();
    let (work, until) = (JoinSet::new(), shutdown.clone());
    Loop { archive, broker, folding, work, letters, rounds, compute, sweeping, tidying, tidied, steps, until, keep }
        .run(arrivals, feeds, shutdown)
        .await
}

struct Loop {
    archive: Archive,
    broker: Arc<dyn Broker>,
    folding: Folding,
    work: JoinSet<Vec<Event>>,
    letters: Arc<Mutex<Letters>>,
    rounds: Arc<Rounds>,
    compute: Arc<Semaphore>,
    sweeping: Arc<Semaphore>,
    tidying: Arc<Semaphore>,
    tidied: Arc<Mutex<Tidying>>,
    steps: Steps,
    until: Shutdown,
    keep: Option<Duration>,
}

impl Loop {
    async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Incoming>,
        mut feeds: JoinSet<Result<(), BrokerError>>,
        shutdown: Shutdown,
    ) -> Result<(), AggregatorError> {
        let mut tick = tokio::time::interval(TICK);
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            // In this order, so that what is rare is never starved by what always comes, and the same happens again in the
            // same order.
            tokio::select! {
                biased;
                () = shutdown.graceful() => break,
                Some(ended) = feeds.join_next() => joined(ended).await?,
                _ = sweep.tick() => self.sweep(),
                _ = tick.tick() => self.event(Event::Tick),
                Some(done) = self.work.join_next(), if !self.work.is_empty() => self.events(joined(done).await),
                Some(incoming) = arrivals.recv() => self.take(incoming),
            }
        }
        // The feeds live on until the last ack. What they still bring is left to come again elsewhere.
        self.folding.flush();
        self.event(Event::Tick);
        while !(self.work.is_empty() && self.folding.is_empty()) {
            tokio::select! {
                biased;
                () = shutdown.now() => break,
                _ = tick.tick() => {
                    self.folding.flush();
                    self.event(Event::Tick);
                }
                Some(done) = self.work.join_next(), if !self.work.is_empty() => self.events(joined(done).await),
            }
        }
        Ok(())
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Event(event) => self.event(event),
            Incoming::Request(delivery) => self.request(delivery),
            Incoming::Letter(delivery) => self.letter(delivery),
        }
    }

    fn events(&mut self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.event(event));
    }

    fn event(&mut self, event: Event) {
        for effect in self.folding.handle(event, clock::instant()) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let archive = self.archive.clone();
        match effect {
            Effect::Ack(receipts) => {
                self.work.spawn(async move {
                    crash_point::reached("aggregator.unacked");
                    for receipt in receipts {
                        // An ack that reaches nobody is fine: the copy that comes again finds its unit covered.
                        let _counted: bool = receipt.ack().await;
                        crash_point::reached("aggregator.acked");
                    }
                    Vec::new()
                });
            }
            Effect::Open(job, asked) => self.compute(move || vec![Event::Opened(job, asked, open(&archive, job))]),
            Effect::Tend(work) => {
                let (job, partition) = (work.job.spec.job, work.partition);
                let tend = work.into_tend(archive);
                self.compute(move || vec![Event::Tended(job, partition, Box::new(tend.run()))]);
            }
            Effect::Reduce { job, partition, chunks } => {
                let id = job.spec.job;
                let (ledger, delta, losses) = (Ledger::default(), Delta::default(), Vec::new());
                let tend = Tend::<HeldReceipt> { archive, job, partition, chunks, ledger, delta, losses };
                // As many as may be are under way already: they take no turn from what is quick.
                self.work.spawn(async move {
                    vec![Event::Reduced(id, partition, blocking(move || tend.reduce_all()).await)]
                });
            }
            Effect::ReadEnd(job) => self.compute(move || vec![Event::Ended(job, archive.end(job))]),
            Effect::End { job, end, unless } => {
                self.compute(move || vec![Event::Ended(job, archive.end_finished(job, *end, &unless))]);
            }
            Effect::Fail { job, reason } => {
                self.compute(move || {
                    let end = archive.end_without_result(job, Outcome::Failed(reason));
                    vec![Event::Ended(job, end.map(Some))]
                });
            }
            Effect::SetAside { queue, message, reason, receipt } => {
                self.work.spawn(async move {
                    let kept = blocking(move || archive.set_aside(&message, Note::of(&message, queue, reason))).await;
                    let _counted: bool = match kept {
                        Ok(_) => receipt.ack().await,
                        Err(error) => {
                            tracing::error!(%error, "a message that nobody can use cannot be kept");
                            pause_before(9).await;
                            receipt.give_back().await
                        }
                    };
                    Vec::new()
                });
            }
            Effect::Repair { job, mixed } => self.repair(job, mixed),
            Effect::SendAgain(job, again) => self.send_again(job, again),
            Effect::HandBack { queue, message, receipt } => self.hand_back(queue, message, receipt),
            Effect::GoOn(job, asked) => {
                let (steps, broker, until) = (self.steps.clone(), Arc::clone(&self.broker), self.until.clone());
                self.work.spawn(async move { steps.go_on(archive, broker, &until, job, asked).await });
            }
            Effect::Announce(news) => self.announce(news),
        }
    }

    /// Runs what blocks beside the loop, some of it at once.
    fn compute(&mut self, work: impl FnOnce() -> Vec<Event> + Send + 'static) {
        let compute = Arc::clone(&self.compute);
        self.work.spawn(async move {
            let _turn = compute.acquire().await;
            blocking(work).await
        });
    }

    fn announce(&mut self, news: News) {
        let broker = Arc::clone(&self.broker);
        self.work.spawn(async move {
            if let Err(error) = broker.publish(&Route::News, message::encode(&news, &[])).await {
                tracing::debug!(%error, "the news was not told; nothing depends on it");
            }
            Vec::new()
        });
    }

    /// Agrees that chunks and records are sent again, and sends them.
    fn repair(&mut self, job: JobId, mixed: Vec<Origin>) {
        let (archive, broker) = (self.archive.clone(), Arc::clone(&self.broker));
        self.work.spawn(async move {
            let repairing = archive.clone();
            let hopeless = match blocking(move || repair::repair(&repairing, job, mixed)).await {
                Ok((again, hopeless)) => {
                    // What is not sent now the sweep sends.
                    if let Err(reason) = send_again(&archive, &*broker, job, again).await {
                        tracing::warn!(%job, reason, "what is of mixed fates is not sent again yet");
                    }
                    Ok(hopeless)
                }
                Err(error) => Err(error),
            };
            vec![Event::Repaired(job, hopeless)]
        });
    }

    fn send_again(&mut self, job: JobId, again: Again) {
        let (archive, broker) = (self.archive.clone(), Arc::clone(&self.broker));
        self.work.spawn(async move {
            let Again { origin, retry } = again;
            tracing::warn!(%job, what = %origin, retry, "nothing is heard of a retry; it is sent once more");
            if let Err(reason) = send_again(&archive, &*broker, job, vec![again]).await {
                tracing::warn!(%job, what = %origin, reason, "it is not sent; it will be tried again");
            }
            Vec::new()
        });
    }

    fn hand_back(&mut self, queue: String, message: Bytes, receipt: Receipt) {
        let (broker, rounds) = (Arc::clone(&self.broker), Arc::clone(&self.rounds));
        self.work.spawn(async move {
            rounds.hand_back(&*broker, queue, message, receipt, FOR_OTHERS).await;
            Vec::new()
        });
    }

    /// Nobody here can read whom to answer.
    fn pass_on(&mut self, receipt: Receipt, returns: u32) {
        self.work.spawn(async move {
            pause_before(9).await;
            let _counted: bool = if returns < HANDED_BACK {
                receipt.give_back().await
            } else {
                tracing::error!("a question of a later release is dropped: start aggregators of that release");
                receipt.ack().await
            };
            Vec::new()
        });
    }

    fn request(&mut self, delivery: Delivery) {
        let Delivery { body: message, receipt, returns, .. } = delivery;
        let (archive, broker) = (self.archive.clone(), Arc::clone(&self.broker));
        let (request, body) = match message::decode::<Request>(&message) {
            Ok(request) => request,
            Err(error) if error.is_newer() => return self.pass_on(receipt, returns),
            Err(error) => {
                let queue = queue::CONTROL.to_owned();
                return self.carry_out(Effect::SetAside { queue, message, reason: error.to_string(), receipt });
            }
        };
        let (progress, late) = match &request.ask {
            Ask::Status { job, .. } => (self.folding.progress_of(Some(*job)), self.folding.late(*job)),
            Ask::Jobs | Ask::JobsBefore { .. } => (self.folding.progress_of(None), 0),
            _ => (BTreeMap::new(), 0),
        };
        let alarms = self.folding.alarms(match &request.ask {
            Ask::Status { job, .. } => Some(*job),
            _ => None,
        });
        let to_send = archive.clone();
        let workers = (request.ask == Ask::Workers).then(|| self.folding.workers(clock::instant()));
        self.work.spawn(async move {
            let Request { id, reply_to, expires_ms, ask } = request;
            let late_ms = clock::now_ms().saturating_sub(expires_ms);
            let mut answered = if let Some(workers) = workers {
                Answer::Workers(workers).into()
            } else if late_ms == 0 {
                blocking(move || requests::answer(&archive, ask, &body, &progress, alarms, returns > 0)).await
            } else {
                // Most likely nobody waits any more. Whoever does has a clock that is far behind.
                let seconds = late_ms / 1000;
                Answer::Refused(format!("the request expired {seconds} s ago: set the clocks of both machines")).into()
            };
            if let Answer::Status(status) = &mut answered.answer {
                status.late = late;
            }
            if let Some((job, again)) = answered.again.take()
                && let Err(reason) = send_again(&to_send, &*broker, job, again).await
            {
                answered.answer = Answer::Later(reason);
            }
            if let Some(news) = answered.news.take() {
                // A hint; see `announce`.
                drop(broker.publish(&Route::News, message::encode(&news, &[])).await);
            }
            let reply = encode_reply(Reply { id, answer: answered.answer }, &answered.body);
            crash_point::reached("aggregator.asked");
            match broker.publish(&Route::Private(reply_to), reply).await {
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "an answer was not sent; it will be asked for again"),
            }
            crash_point::reached("aggregator.answered");
            let _counted: bool = receipt.ack().await;
            answered.events
        });
    }

    fn letter(&mut self, delivery: Delivery) {
        let Delivery { body, receipt, returns, .. } = delivery;
        if message::kind(&body).is_err_and(|error| error.is_newer()) {
            return self.hand_back(queue::DEAD.to_owned(), body, receipt);
        }
        let (archive, broker) = (self.archive.clone(), Arc::clone(&self.broker));
        let (letters, rounds, until) = (Arc::clone(&self.letters), Arc::clone(&self.rounds), self.until.clone());
        self.work.spawn(async move {
            let taken = clock::instant();
            loop {
                let (archive, letters, letter) = (archive.clone(), Arc::clone(&letters), body.clone());
                // Taken out meanwhile: nobody waits for a lock while the store is slow. Who comes in between reads for itself.
                let buried = blocking(move || {
                    let mut known = std::mem::take(&mut *letters.lock().expect("nobody panics with it"));
                    let buried = known.bury(&archive, &letter, returns);
                    *letters.lock().expect("nobody panics with it") = known;
                    buried
                })
                .await;
                let sent = match buried {
                    Err(error) if error.is_only_here() => {
                        rounds.hand_back(&*broker, queue::DEAD.to_owned(), body, receipt, FOR_OTHERS).await;
                        return Vec::new();
                    }
                    Err(error) => Err(error.to_string()),
                    Ok(buried) => match buried.send {
                        None => Ok(buried.events),
                        Some((name, message)) => publish_stored(&*broker, &Route::Queue(name), message, Some(PATIENCE))
                            .await
                            .inspect(|()| crash_point::reached("aggregator.letter_sent_again"))
                            .map(|()| buried.events)
                            .map_err(|error| error.to_string()),
                    },
                };
                let reason = match sent {
                    Ok(events) => {
                        crash_point::reached("aggregator.letter_dealt_with");
                        let _counted: bool = receipt.ack().await;
                        return events;
                    }
                    Err(reason) => reason,
                };
                tracing::error!(reason, "a dead letter cannot be dealt with now; it is tried again");
                if clock::since(taken) >= LETTER_HELD {
                    rounds.hand_back(&*broker, queue::DEAD.to_owned(), body, receipt, &reason).await;
                    return Vec::new();
                }
                tokio::select! {
                    biased;
                    () = until.graceful() => break,
                    () = tokio::time::sleep(LETTER_PAUSE) => {}
                }
            }
            let _counted: bool = receipt.give_back().await;
            Vec::new()
        });
    }

    /// Looks after the store, unless the last look still goes on.
    fn sweep(&mut self) {
        self.event(Event::Sweep);
        self.tidy_up();
        let Ok(turn) = Arc::clone(&self.sweeping).try_acquire_owned() else { return };
        let (archive, keep, now_ms) = (self.archive.clone(), self.keep, clock::now_ms());
        self.compute(move || {
            let events = Sweep { archive, keep, now_ms }.run();
            drop(turn);
            events
        });
    }
}

impl Loop {
    /// Looks for what ended jobs have no use for, beside all else: open jobs do not wait for that.
    fn tidy_up(&mut self) {
        let Ok(turn) = Arc::clone(&self.tidying).try_acquire_owned() else { return };
        let (archive, tidied) = (self.archive.clone(), Arc::clone(&self.tidied));
        self.compute(move || {
            // Taken out meanwhile: nobody waits for a lock while the store is slow.
            let mut tidying = std::mem::take(&mut *tidied.lock().expect("nobody panics with it"));
            tidying.sweep(&archive);
            *tidied.lock().expect("nobody panics with it") = tidying;
            drop(turn);
            Vec::new()
        });
    }
}

/// Sends chunks to where each is mapped apart from all others, one task in memory at a time.
async fn send_again(archive: &Archive, broker: &dyn Broker, job: JobId, chunks: Vec<Again>) -> Result<(), String> {
    let suspect = Route::Queue(queue::SUSPECT.to_owned());
    for again in chunks {
        let archive = archive.clone();
        let task = blocking(move || archive.task_again(job, again)).await.map_err(|error| error.to_string())?;
        // Without one its letter was dropped meanwhile.
        let Some(task) = task else { continue };
        publish_stored(broker, &suspect, task, Some(PATIENCE)).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// An answer that is too long to be sent is refused rather.
fn encode_reply(reply: Reply, body: &[u8]) -> Bytes {
    let id = reply.id;
    message::try_encode(&reply, body).unwrap_or_else(|error| {
        let reason = format!("the answer cannot be sent: {error}");
        message::encode(&Reply { id, answer: Answer::Refused(reason) }, &[])
    })
}

fn open(archive: &Archive, job: JobId) -> Result<Opened, ArchiveError> {
    if archive.is_removed(job)? {
        return Ok(Opened::Removed);
    }
    let Some(file) = archive.job(job)? else {
        // The mark comes before the spec goes: a job that is removed just now has one, too.
        return Ok(if archive.is_removed(job)? { Opened::Removed } else { Opened::Unknown });
    };
    let ledgers = archive.ledgers(job, file.spec.partitions)?;
    let chunks = archive.seal(job)?.map(|seal| seal.chunks);
    let end = archive.end(job)?;
    Ok(Opened::Job(Box::new(OpenedJob { file, chunks, end, ledgers })))
}

/// Consumes a reduce queue, again whenever its channel is gone, and says so before anything else comes.
async fn feed_partials(
    broker: Arc<dyn Broker>,
    name: String,
    consumer: usize,
    prefetch: u16,
    incoming: mpsc::Sender<Incoming>,
) -> Result<(), BrokerError> {
    let mut attempt = 0;
    for epoch in 1.. {
        let channel = Channel { consumer, epoch };
        match broker.consume(&name, prefetch).await {
            Ok(mut deliveries) => {
                attempt = 0;
                if incoming.send(Incoming::Event(Event::Consuming(channel))).await.is_err() {
                    return Ok(());
                }
                while let Some(delivery) = deliveries.next().await {
                    if incoming.send(Incoming::Event(Event::Arrived(channel, delivery))).await.is_err() {
                        return Ok(());
                    }
                }
                tracing::warn!(queue = name, "the channel is gone; consuming anew");
                if incoming.send(Incoming::Event(Event::Lost(channel))).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.may_pass() => tracing::warn!(queue = name, %error, "cannot consume; trying again"),
            Err(error) => return Err(error),
        }
        attempt += 1;
        pause_before(attempt.max(5)).await;
    }
    Ok(())
}

/// Consumes a queue, again whenever its channel is gone.
async fn feed(
    broker: Arc<dyn Broker>,
    name: &'static str,
    prefetch: u16,
    incoming: mpsc::Sender<Incoming>,
    wrap: fn(Delivery) -> Incoming,
) -> Result<(), BrokerError> {
    let mut attempt = 0;
    loop {
        match broker.consume(name, prefetch).await {
            Ok(mut deliveries) => {
                attempt = 0;
                while let Some(delivery) = deliveries.next().await {
                    if incoming.send(wrap(delivery)).await.is_err() {
                        return Ok(());
                    }
                }
                tracing::warn!(queue = name, "the channel is gone; consuming anew");
            }
            Err(error) if error.may_pass() => tracing::warn!(queue = name, %error, "cannot consume; trying again"),
            Err(error) => return Err(error),
        }
        attempt += 1;
        pause_before(attempt.max(5)).await;
    }
}

/// Hears what other aggregators did.
async fn listen(broker: Arc<dyn Broker>, incoming: mpsc::Sender<Incoming>) -> Result<(), BrokerError> {
    loop {
        match broker.inbox().await {
            Ok(mut inbox) => {
                while let Some(message) = inbox.next().await {
                    if let Ok((news, _)) = message::decode::<News>(&message)
                        && incoming.send(Incoming::Event(Event::Heard(news))).await.is_err()
                    {
                        return Ok(());
                    }
                }
            }
            // A broker that is away is told of by whoever consumes.
            Err(error) if error.may_pass() => {}
            Err(error) => tracing::warn!(%error, "no news is heard; trying again"),
        }
        pause_before(9).await;
    }
}
