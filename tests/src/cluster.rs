//! A whole cluster in this process, over any broker and any store: it runs jobs over sources in memory and tells what came of
//! them.
//!
//! It knows no expected answer. What would surprise: the producer here is the real one, and so is its way to print; only what a
//! person would type is missing.

use crate::crew::{Crew, Role, Setup};
use crate::dice::Dice;
use crate::home::Home;
use crate::troubles::{Trouble, Troubles};
use crate::wait::{until, within};
use rabbit_reduce_core::id::JobId;
use rabbit_reduce_core::jobs::{Job, Options};
use rabbit_reduce_core::local::LocalSource;
use rabbit_reduce_core::message::End;
use rabbit_reduce_core::output::OutputOptions;
use rabbit_reduce_core::rows::format::Format;
use rabbit_reduce_core::shipped::Shipped;
use rabbit_reduce_core::spec::{By, ByteText, OUTPUT_BYTES, Source};
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology};
use rabbit_reduce_producer::cli::JobConfig;
use rabbit_reduce_producer::output::destination::{Destination, Printed};
use rabbit_reduce_producer::screen::Screen;
use rabbit_reduce_producer::session::{Known, Session};
use rabbit_reduce_producer::sources::{Choice, collect_chosen};
use rabbit_reduce_runtime::client::Client;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::publishing::{Packing, Publishing, Purpose};
use rabbit_reduce_runtime::reader::Reader;
use rabbit_reduce_runtime::store::Store;
use rabbit_reduce_runtime::store::memory::MemoryStore;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Rounds of work that late duplicates may need before nothing is left.
const LAST_ROUNDS: u32 = 5;

/// What is started, and what goes wrong.
pub struct Builder {
    store: Arc<dyn Store>,
    seed: u64,
    workers: usize,
    aggregators: usize,
    setup: Setup,
    trouble: Trouble,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            store: Arc::new(MemoryStore::default()),
            seed: 0,
            workers: 1,
            aggregators: 1,
            setup: Setup::default(),
            trouble: Trouble::default(),
        }
    }
}

impl Builder {
    /// Everything random stems from it.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Where results are; memory unless said.
    #[must_use]
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self }
    }

    /// So many workers.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// So many aggregators.
    #[must_use]
    pub fn aggregators(self, aggregators: usize) -> Self {
        Self { aggregators, ..self }
    }

    /// How everyone is set up.
    #[must_use]
    pub fn setup(self, setup: Setup) -> Self {
        Self { setup, ..self }
    }

    /// What goes wrong.
    #[must_use]
    pub fn trouble(self, trouble: Trouble) -> Self {
        Self { trouble, ..self }
    }

    /// Starts everyone.
    ///
    /// # Panics
    /// If there is no room for temporary files, or the broker refuses.
    pub async fn start(self, home: Home) -> Cluster {
        let (troubles, mut kills) = Troubles::new(self.trouble, self.seed);
        let crew = Arc::new(Crew::new(home, self.store, troubles, self.setup));
        for _ in 0..self.aggregators {
            crew.hire(Role::Aggregator).await;
        }
        for _ in 0..self.workers {
            crew.hire(Role::Worker).await;
        }
        let (at_risk, dice) = (Arc::downgrade(&crew), Dice::new(!self.seed));
        let killing = tokio::spawn(async move {
            while kills.recv().await.is_some() {
                let Some(crew) = at_risk.upgrade() else { return };
                crew.replace(dice.throw()).await;
            }
        });
        let inputs = TempDir::new().expect("there is room for temporary files");
        Cluster { crew, inputs, folders: AtomicU32::new(0), killing }
    }
}

/// A job to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program's name.
    pub job: String,
    /// What it is asked to do.
    pub options: Options,
    /// How tasks carry their chunks.
    pub by: By,
    /// The most bytes of a chunk.
    pub chunk_bytes: u64,
    /// The most bytes of a segment.
    pub segment_bytes: usize,
    /// P.
    pub partitions: u32,
    /// Files that travel with it.
    pub files: Vec<(Shipped, bytes::Bytes)>,
    /// Losses beyond which it fails.
    pub max_losses: u64,
}

impl Order {
    /// A job without options, by value, in small chunks and three partitions.
    #[must_use]
    pub fn of(job: &str) -> Self {
        let options = Options::default();
        let (by, job, files) = (By::Value, job.to_owned(), Vec::new());
        Self { job, options, by, chunk_bytes: 64, segment_bytes: 64 << 10, partitions: 3, files, max_losses: 1_000_000 }
    }

    /// The same by reference.
    #[must_use]
    pub fn by_reference(self) -> Self {
        Self { by: By::Reference, ..self }
    }

    /// The program, if it is a built-in one.
    ///
    /// # Panics
    /// If there is no such job.
    #[must_use]
    pub fn program(&self) -> Job {
        Job::new(&self.job, &self.options).expect("the job exists")
    }

    /// As the command line would say it.
    #[must_use]
    pub fn config(&self) -> JobConfig {
        JobConfig {
            job: crate::fragile::printing().make(&self.job, &self.options).expect("the job exists"),
            options: self.options.clone(),
            chunk_bytes: Some(self.chunk_bytes),
            partitions: self.partitions,
            output_bytes: OUTPUT_BYTES,
            files: self.files.clone(),
            max_losses: self.max_losses,
        }
    }
}

/// What came of a job.
#[derive(Debug)]
pub struct Report {
    /// The job.
    pub job: JobId,
    /// C, as the producer sealed it.
    pub chunks: u32,
    /// How it ended.
    pub end: End,
    /// The rows as TSV; nothing if there is no result.
    pub tsv: Vec<u8>,
    /// The rows as JSON.
    pub json: Vec<u8>,
}

/// A source in memory.
#[must_use]
pub fn source(name: &str, bytes: impl AsRef<[u8]>) -> LocalSource {
    LocalSource { name: name.as_bytes().to_vec(), bytes: bytes.as_ref().to_vec() }
}

/// A cluster at work.
pub struct Cluster {
    /// Who works.
    pub crew: Arc<Crew>,
    /// Where inputs lie.
    pub inputs: TempDir,
    folders: AtomicU32,
    killing: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.killing.abort();
    }
}

impl Cluster {
    /// What to start.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A producer at work.
    pub async fn session(&self) -> Session {
        let client = Client::new(self.crew.connect().await);
        let (shutdown, screen) = (Shutdown::new(), Screen::new(true));
        Session {
            client,
            shutdown,
            screen,
            patience: None,
            packing: Packing::None,
            programs: crate::fragile::printing(),
            as_is: false,
        }
    }

    /// Writes sources to files in a folder of their own: what a job reads, under the names that the sources have.
    ///
    /// # Panics
    /// If there is no room.
    pub fn write(&self, sources: &[LocalSource]) -> Vec<Source> {
        let folder = self.inputs.path().join(self.folders.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&folder).expect("the folder is new");
        let paths: Vec<PathBuf> = (0..sources.len()).map(|number| folder.join(number.to_string())).collect();
        for (path, source) in paths.iter().zip(sources) {
            std::fs::write(path, &source.bytes).expect("there is room for temporary files");
        }
        // What is drawn at random may look compressed or marked; it is bytes.
        let as_is = Choice { as_is: true, ..Choice::default() };
        let collected = collect_chosen(&paths, &as_is).expect("the files are there").sources.into_iter().zip(sources);
        collected.map(|(file, source)| Source { name: ByteText(source.name.clone()), ..file }).collect()
    }

    /// Runs a job over sources in memory from its submission to its printed answer.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn run(&self, order: &Order, sources: &[LocalSource]) -> Report {
        self.run_files(order, self.write(sources)).await
    }

    /// Runs steps, each over the result of the one before, and prints the last.
    ///
    /// # Panics
    /// If they do not end in time.
    pub async fn run_steps(&self, orders: &[Order], sources: &[LocalSource]) -> Report {
        let session = self.session().await;
        let steps = self.submit_steps(&session, orders, sources).await;
        within("the input is published", session.publish(&steps[0], None)).await.expect("the input can be published");
        let (last, before) = steps.split_last().expect("there are steps");
        for step in before {
            within("a step ends", session.watch(step.spec.job)).await.expect("the step can be watched");
        }
        let report = self.conclude(&session, last, 0).await;
        Report { chunks: report.end.chunks, ..report }
    }

    /// Submits steps.
    ///
    /// # Panics
    /// If they are refused.
    pub async fn submit_steps(&self, session: &Session, orders: &[Order], sources: &[LocalSource]) -> Vec<Known> {
        let configs: Vec<_> = orders.iter().map(Order::config).collect();
        let (by, segment_bytes) = (orders[0].by, orders[0].segment_bytes);
        let submitted = session.submit_steps(&configs, by, segment_bytes, None, self.write(sources));
        within("the steps are submitted", submitted).await.expect("the steps can be submitted")
    }

    /// The same over sources of any kind.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn run_files(&self, order: &Order, sources: Vec<Source>) -> Report {
        let session = self.session().await;
        let known = self.submit(&session, order, sources).await;
        let published = within("the input is published", session.publish(&known, None)).await;
        let chunks = published.expect("the input can be published");
        self.conclude(&session, &known, chunks).await
    }

    /// Submits a job.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn submit(&self, session: &Session, order: &Order, sources: Vec<Source>) -> Known {
        let config = order.config();
        let submitted = session.submit(&config, order.by, order.segment_bytes, None, sources);
        within("the job is submitted", submitted).await.expect("the job can be submitted")
    }

    /// Publishes chunks, all or some, and no seal, as a producer does that dies before it; tells C.
    ///
    /// # Panics
    /// If the input cannot be published.
    pub async fn publish_unsealed(&self, session: &Session, known: &Known, only: Option<BTreeSet<u32>>) -> u32 {
        let publishing = Publishing {
            spec: Arc::clone(&known.spec),
            store: known.store.clone(),
            sources: Arc::clone(&known.sources),
            reader: Reader::new(Arc::clone(&known.sources)),
            program: known.job.clone(),
            only,
            purpose: Purpose::Mapping,
            packing: Packing::None,
        };
        let published = publishing.run(Arc::clone(&session.client.broker), &session.shutdown, |_, _| ());
        within("the input is published", published).await.expect("the input can be published")
    }

    /// Waits for a job's end and prints its answer.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn conclude(&self, session: &Session, known: &Known, chunks: u32) -> Report {
        let job = known.spec.job;
        let end = tokio::select! {
            end = within("the job ends", session.watch(job)) => end.expect("the job can be watched"),
            complaints = self.complaints() => panic!("{complaints:?}"),
        };
        let mut report = Report { job, chunks, end, tsv: Vec::new(), json: Vec::new() };
        if report.end.outcome.has_result() {
            report.tsv = self.print(session, known, &report.end, Format::Tsv).await;
            self.crew.troubles.calm();
            report.json = self.print(session, known, &report.end, Format::Json).await;
        }
        report
    }

    async fn print(&self, session: &Session, known: &Known, end: &End, format: Format) -> Vec<u8> {
        let path = self.inputs.path().join(format!("{}.{format:?}", known.spec.job));
        let options = OutputOptions { format, ..OutputOptions::default() };
        let destination = Destination::open(Some(&path)).expect("the folder is writable");
        let printed = within("the answer is printed", session.print(known, end, destination, options)).await;
        assert_eq!(printed.expect("the answer can be printed"), Printed::Whole);
        std::fs::read(&path).expect("it was just written")
    }

    async fn complaints(&self) -> Vec<String> {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            looks.tick().await;
            let complaints = self.crew.complaints();
            if !complaints.is_empty() {
                return complaints;
            }
        }
    }

    /// Messages in the queues, by queue, where there are any.
    pub async fn left_over(&self) -> Vec<(String, u32)> {
        let mut left = Vec::new();
        for queue in &self.crew.home.topology.queues {
            let depth = self.crew.home.depth(&queue.name).await;
            if depth.messages > 0 {
                left.push((queue.name.clone(), depth.messages));
            }
        }
        left
    }

    /// Waits until every message has found its end, asks everyone to stop, and sees that nothing is left and nobody complained.
    ///
    /// # Panics
    /// If something is left, or somebody stopped by themselves.
    pub async fn finish(self) {
        self.crew.troubles.calm();
        for _ in 0..LAST_ROUNDS {
            until("the queues are empty", async || {
                (self.crew.troubles.are_over() && self.left_over().await.is_empty()).then_some(())
            })
            .await;
            within("everyone stops", self.crew.stop_all()).await;
            // What was on its way to somebody who stopped is back by now.
            let left = until("all consumers are gone", async || self.left_over_by_nobody().await).await;
            if left.is_empty() {
                assert_eq!(self.crew.complaints(), Vec::<String>::new());
                return;
            }
            self.crew.hire(Role::Aggregator).await;
            self.crew.hire(Role::Worker).await;
        }
        panic!("there is always something left: {:?}", self.left_over().await);
    }

    async fn left_over_by_nobody(&self) -> Option<Vec<(String, u32)>> {
        for queue in &self.crew.home.topology.queues {
            if self.crew.home.depth(&queue.name).await.consumers > 0 {
                return None;
            }
        }
        Some(self.left_over().await)
    }

    /// Messages set aside because nobody knows what they are.
    ///
    /// # Panics
    /// If the store cannot be read.
    #[must_use]
    pub fn set_aside(&self) -> Vec<String> {
        let mut names = self.crew.store.list("aside").expect("the store can be read");
        names.retain(|name| !name.ends_with(".json"));
        names
    }

    /// What the note beside a kept message says; `None` while there is none.
    ///
    /// # Panics
    /// If the store cannot be read, or the note is none.
    #[must_use]
    pub fn note(&self, message: &str) -> Option<serde_json::Value> {
        let note = self.crew.store.get(&format!("{message}.json")).expect("the store can be read")?;
        Some(serde_json::from_slice(&note).expect("a note is JSON"))
    }

    /// Names in a folder of a job.
    ///
    /// # Panics
    /// If the store cannot be read.
    #[must_use]
    pub fn files(&self, job: JobId, folder: &str) -> Vec<String> {
        let path = if folder.is_empty() { format!("jobs/{job}") } else { format!("jobs/{job}/{folder}") };
        self.crew.store.list(&path).expect("the store can be read")
    }
}

/// The queues of a namespace of the test's own.
#[must_use]
pub fn topology() -> Topology {
    Topology::new(&crate::home::fresh_namespace(), QUEUE_BYTES)
}
