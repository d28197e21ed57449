//! One job as its producer sees it: submitted, published, sealed, watched to its end, printed.
//!
//! It works over any broker, so `run` and `push` differ in nothing but what stands behind it. What would surprise: it decides
//! nothing about the answer; whatever it does may be done again by another producer with `resume`.

use crate::cli::JobConfig;
use crate::output::destination::{Destination, PrintError, Printed};
use crate::screen::Screen;
use rabbit_reduce_core::id::{JobId, SourceNumber};
use rabbit_reduce_core::message::{Answer, Ask, End, Status};
use rabbit_reduce_core::output::{OrderError, OutputOptions, check_parts, print_result};
use rabbit_reduce_core::program::{NamedProgram, Programs};
use rabbit_reduce_core::selection::Selection;
use rabbit_reduce_core::shipped::FILE_PAGE_BYTES;
use rabbit_reduce_core::spec::{By, MAX_STEPS, Mappers, Source, SourceList, Spec, SpecError, chunk_bytes_for};
use rabbit_reduce_core::topology::queue;
use rabbit_reduce_runtime::client::{Client, ClientError, SHORT};
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::process::chance;
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::compute;
use rabbit_reduce_runtime::process::files::OutputError;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::publishing::{Packing, PublishError, Publishing, Purpose, column_of};
use rabbit_reduce_runtime::reader::Reader;
use rabbit_reduce_runtime::remote_part::RemotePart;
use rabbit_reduce_runtime::scratch::ScratchFolder;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How often a job is asked about while no news comes.
pub(crate) const POLL: Duration = Duration::from_millis(500);
/// A job that stands still for so long is looked at more closely.
pub(crate) const STILL: Duration = Duration::from_secs(3);
/// Ranges of chunks in one answer; after as many, the question is asked again.
const MANY_RANGES: usize = 100_000;

/// Why a job was not brought to its end by this process.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The aggregator.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The input.
    #[error(transparent)]
    Publish(PublishError),
    /// What the job asks for.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Where the answer goes.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Printing.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// An order that the rows do not have.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Somebody wants us to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<PublishError> for SessionError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Interrupted => Self::Interrupted,
            error => Self::Publish(error),
        }
    }
}

/// A producer at work.
pub struct Session {
    /// For questions.
    pub client: Client,
    /// Asked to stop?
    pub shutdown: Shutdown,
    /// What people see.
    pub screen: Screen,
    /// How long it waits for an answer; for ever without.
    pub patience: Option<Duration>,
    /// How it sends the bytes of chunks.
    pub packing: Packing,
    /// What jobs can be of.
    pub programs: Programs,
    /// Streams are not unpacked.
    pub as_is: bool,
}

/// A job that this session knows everything about.
#[derive(Clone)]
pub struct Known {
    /// Its spec.
    pub spec: Arc<Spec>,
    /// Its program.
    pub job: NamedProgram,
    /// The store it lives in.
    pub store: String,
    /// Its sources.
    pub sources: Arc<[Source]>,
}

/// A job among the steps before and after it.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    job: JobId,
    after: Option<JobId>,
    then: Option<JobId>,
}

impl Step {
    /// The only one.
    pub(crate) const fn alone(job: JobId) -> Self {
        Self { job, after: None, then: None }
    }

    /// A job of it.
    pub(crate) fn spec(
        self,
        config: &JobConfig,
        by: By,
        segment_bytes: usize,
        mappers: Option<Mappers>,
        sources: SourceList,
    ) -> Spec {
        Spec {
            job: self.job,
            program: config.program(),
            by,
            chunk_bytes: config.chunk_bytes.unwrap_or_else(|| chunk_bytes_for(sources.bytes, by, mappers)),
            segment_bytes,
            output_bytes: config.output_bytes,
            partitions: config.partitions,
            max_losses: config.max_losses,
            sources,
            created_ms: clock::now_ms(),
            owner: std::env::var("USER").ok(),
            after: self.after,
            then: self.then,
        }
    }
}

/// Looks into files, packed ones too, for what the job looks at in them, before anything is sent. Of streams it is told when they
/// are read.
pub(crate) async fn check_columns(
    program: NamedProgram,
    sources: Vec<Source>,
    as_is: bool,
) -> Result<(), PublishError> {
    if !program.selection().is_some_and(Selection::needs_column) {
        return Ok(());
    }
    let check = move || {
        let selection = program.selection().expect("it was looked at");
        let sources: Arc<[Source]> = sources.into();
        let files = (0..).map(SourceNumber).zip(&*sources);
        let mut files = files.filter(|(_, source)| source.file.is_some() || source.packed.is_some());
        files.try_for_each(|(number, _)| {
            // One for each, so that none of them stays open.
            let of = Arc::clone(&sources);
            let mut reader = if as_is { Reader::as_is(of) } else { Reader::new(of) };
            column_of(selection, &sources, number, &mut reader).map(drop)
        })
    };
    compute::blocking(check).await
}

impl Known {
    fn publishing(&self, only: Option<BTreeSet<u32>>, purpose: Purpose, packing: Packing, as_is: bool) -> Publishing {
        let sources = Arc::clone(&self.sources);
        Publishing {
            spec: Arc::clone(&self.spec),
            store: self.store.clone(),
            sources: Arc::clone(&self.sources),
            reader: if as_is { Reader::as_is(sources) } else { Reader::new(sources) },
            program: self.job.clone(),
            only,
            purpose,
            packing,
        }
    }
}

impl Session {
    /// Asks for as long as this session has patience, or until asked to stop.
    ///
    /// # Errors
    /// If nobody answers, the answer is no, or we are asked to stop.
    pub async fn ask(&self, ask: Ask, body: &[u8]) -> Result<(Answer, bytes::Bytes), SessionError> {
        let notice = |text: &str| match self.patience {
            None => self.screen.say(text),
            Some(_) => tracing::info!("{text}"),
        };
        tokio::select! {
            biased;
            () = self.shutdown.graceful() => Err(SessionError::Interrupted),
            answer = self.client.ask(ask, body, self.patience, &notice) => Ok(answer?),
        }
    }

    /// Makes a job of sources and submits it.
    ///
    /// # Errors
    /// If it cannot be run, or nobody takes it and we are asked to stop.
    pub async fn submit(
        &self,
        config: &JobConfig,
        by: By,
        segment_bytes: usize,
        mappers: Option<Mappers>,
        sources: Vec<Source>,
    ) -> Result<Known, SessionError> {
        let step = Step::alone(JobId(chance::dated_id()));
        self.submit_step(step, config, by, segment_bytes, mappers, sources).await
    }

    /// Makes a job of each step, in order. The first has the sources; the input of every other is the result of the one before,
    /// as a source that is called after that. The last is submitted first: as soon as the first is there, all are.
    ///
    /// # Errors
    /// As [`Session::submit`].
    ///
    /// # Panics
    /// If there is no step.
    pub async fn submit_steps(
        &self,
        steps: &[JobConfig],
        by: By,
        segment_bytes: usize,
        mappers: Option<Mappers>,
        sources: Vec<Source>,
    ) -> Result<Vec<Known>, SessionError> {
        let jobs: Vec<JobId> = steps.iter().map(|_| JobId(chance::dated_id())).collect();
        let mut known = VecDeque::new();
        let mut first = Some((by, mappers, sources));
        for (number, config) in steps.iter().enumerate().rev() {
            let after = number.checked_sub(1).map(|before| jobs[before]);
            let step = Step { job: jobs[number], after, then: jobs.get(number + 1).copied() };
            let rows = || (By::Value, None, vec![Source::stream(format!("step-{number}").into_bytes())]);
            let (by, mappers, sources) = if number == 0 { first.take() } else { None }.unwrap_or_else(rows);
            match self.submit_step(step, config, by, segment_bytes, mappers, sources).await {
                Ok(submitted) => known.push_front(submitted),
                Err(error) => {
                    // They would wait for one that never comes. Who cannot be asked any more leaves them to `--keep`.
                    for Known { spec, .. } in known {
                        drop(self.ask(Ask::Cancel { job: spec.job }, &[]).await);
                    }
                    return Err(error);
                }
            }
        }
        Ok(known.into())
    }

    async fn submit_step(
        &self,
        step: Step,
        config: &JobConfig,
        by: By,
        segment_bytes: usize,
        mappers: Option<Mappers>,
        sources: Vec<Source>,
    ) -> Result<Known, SessionError> {
        let (list, pages) = SourceList::of(&sources);
        let (job, spec) = (step.job, step.spec(config, by, segment_bytes, mappers, list));
        let program = spec.check(&self.programs)?;
        check_columns(program.clone(), sources.clone(), self.as_is).await?;
        for (page, bytes) in (0..).zip(&pages) {
            self.ask(Ask::PutSources { job, page }, bytes).await?;
            crash_point::reached("producer.sources_put");
        }
        for (file, bytes) in &config.files {
            for (page, bytes) in (0..).zip(bytes.chunks(FILE_PAGE_BYTES)) {
                self.ask(Ask::PutFile { job, file: file.clone(), page }, bytes).await?;
                crash_point::reached("producer.file_put");
            }
        }
        match self.ask(Ask::Submit { spec: Box::new(spec.clone()) }, &[]).await? {
            (Answer::Submitted { store }, _) => {
                crash_point::reached("producer.submitted");
                Ok(Known { spec: Arc::new(spec), job: program, store, sources: sources.into() })
            }
            _ => Err(ClientError::Confused.into()),
        }
    }

    /// What the aggregators know of a job.
    ///
    /// # Errors
    /// If there is no such job, or nobody answers.
    pub async fn find(&self, job: JobId) -> Result<Known, SessionError> {
        let (Answer::Spec { spec, store }, _) = self.ask(Ask::Spec { job }, &[]).await? else {
            return Err(ClientError::Confused.into());
        };
        let mut sources: Vec<Source> = Vec::new();
        for page in 0..spec.sources.pages {
            let (_, body) = self.ask(Ask::Sources { job, page }, &[]).await?;
            let page: Vec<Source> = serde_json::from_slice(&body).map_err(|_| ClientError::Confused)?;
            sources.extend(page);
        }
        let program = spec.check(&self.programs)?;
        Ok(Known { spec: Arc::new(*spec), job: program, store, sources: sources.into() })
    }

    /// Publishes the chunks, or only some of them, and seals the job.
    ///
    /// # Errors
    /// If the input cannot be read, the broker refuses, or we are asked to stop. The job can be resumed.
    pub async fn publish(&self, known: &Known, only: Option<BTreeSet<u32>>) -> Result<u32, SessionError> {
        let publishing = known.publishing(only, Purpose::Mapping, self.packing, self.as_is);
        let mut bytes = 0;
        let job = known.spec.job;
        let watching = self.watch_quietly(job);
        let confirmed = |chunks: u32, more: u64| {
            bytes += more;
            self.screen.published(chunks, bytes, known.spec.sources.bytes);
        };
        let published = publishing.run(Arc::clone(&self.client.broker), &self.shutdown, confirmed);
        let chunks = tokio::select! {
            biased;
            chunks = published => chunks?,
            // It ended before it was published: cancelled, or failed early.
            () = watching => return Ok(0),
        };
        crash_point::reached("producer.all_confirmed");
        self.ask(Ask::Seal { job, chunks }, &[]).await?;
        crash_point::reached("producer.sealed");
        Ok(chunks)
    }

    /// Publishes the tasks of chunks that are lost, to be kept with the dead letters.
    ///
    /// # Errors
    /// If the input cannot be read, the broker refuses, or we are asked to stop.
    pub(crate) async fn publish_letters(&self, known: &Known, only: BTreeSet<u32>) -> Result<(), SessionError> {
        let publishing = known.publishing(Some(only), Purpose::Keeping, self.packing, self.as_is);
        publishing.run(Arc::clone(&self.client.broker), &self.shutdown, |_, _| ()).await?;
        Ok(())
    }

    /// Looks at a job now and then, for the progress shown; comes back if it has ended.
    async fn watch_quietly(&self, job: JobId) {
        loop {
            tokio::select! {
                biased;
                () = self.client.news() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            let notice = |text: &str| self.screen.say(text);
            let asked = self.client.ask(Ask::Status { job, detail: false }, &[], Some(SHORT), &notice).await;
            if let Ok((Answer::Status(status), _)) = asked {
                self.screen.lost(status.losses.count);
                if status.end.is_some() {
                    return;
                }
            }
            self.say_what_it_waits_for().await;
        }
    }

    /// Chunks of a job that are not counted everywhere.
    ///
    /// # Errors
    /// If nobody answers and we are asked to stop.
    pub async fn uncovered(&self, job: JobId, chunks: u32) -> Result<BTreeSet<u32>, SessionError> {
        match self.ask(Ask::Uncovered { job, chunks }, &[]).await? {
            (Answer::Uncovered(ranges), _) => {
                if ranges.len() == MANY_RANGES {
                    self.screen.say("very many chunks are open: this sends the first of them; resume again afterwards");
                }
                Ok(ranges.into_iter().flat_map(|(first, last)| first..=last).collect())
            }
            _ => Err(ClientError::Confused.into()),
        }
    }

    /// Watches a job to its end, and says what it waits for while it stands still.
    ///
    /// # Errors
    /// If it is gone, or we are asked to stop.
    pub async fn watch(&self, job: JobId) -> Result<End, SessionError> {
        let mut still = clock::instant();
        let mut last = (0, 0);
        loop {
            let (Answer::Status(status), _) = self.ask(Ask::Status { job, detail: false }, &[]).await? else {
                return Err(ClientError::Confused.into());
            };
            self.screen.counted(&status);
            if let Some(end) = status.end {
                crash_point::reached("producer.end_seen");
                self.screen.finish();
                return Ok(self.detailed(job, end).await);
            }
            for alarm in &status.alarms {
                self.screen.say(&format!("the aggregator waits: {alarm}"));
            }
            if (status.covered, status.finished) != last {
                last = (status.covered, status.finished);
                still = clock::instant();
            } else if clock::since(still) >= STILL {
                self.say_what_it_waits_for().await;
            }
            tokio::select! {
                biased;
                () = self.shutdown.graceful() => return Err(SessionError::Interrupted),
                () = self.client.news() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// The end with all its losses, where it has any.
    async fn detailed(&self, job: JobId, end: End) -> End {
        if end.losses.is_empty() {
            return end;
        }
        match self.ask(Ask::Status { job, detail: true }, &[]).await {
            Ok((Answer::Status(status), _)) => status.end.unwrap_or(end),
            _ => end,
        }
    }

    /// Says what stands in the way of every job: a broker that is blocked, a missing worker.
    pub(crate) async fn say_what_it_waits_for(&self) {
        let broker = &self.client.broker;
        if let Some(reason) = broker.blocked() {
            return self.screen.say(&format!("waiting: the broker takes no messages ({reason})"));
        }
        if let Ok(Some(depth)) = broker.depth(queue::MAP).await
            && depth.consumers == 0
        {
            self.screen.say("waiting for a worker: none is running in this namespace; start one with `worker`");
        }
    }

    /// Prints a result to where it shall go.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn print(
        &self,
        known: &Known,
        end: &End,
        destination: Destination,
        options: OutputOptions,
    ) -> Result<Printed, SessionError> {
        options.selection.check(&known.job)?;
        if let Destination::Folder(_) = destination {
            check_parts(&known.job)?;
        }
        let parts: Vec<Box<dyn Read + Send>> = end
            .parts
            .iter()
            .map(|part| {
                let (client, shutdown, name) = (self.client.clone(), self.shutdown.clone(), part.name.clone());
                let part = RemotePart::new(client, shutdown, known.spec.job, name, end.parts.len());
                Box::new(part) as Box<dyn Read + Send>
            })
            .collect();
        let job = known.job.clone();
        let names: Vec<Vec<u8>> = known.sources.iter().map(|source| source.name.0.clone()).collect();
        let leaves_nothing = destination.leaves_nothing();
        let mut printing = pin!(compute::blocking(move || {
            let scratch = ScratchFolder(std::env::temp_dir());
            let ending = options.format.name();
            destination
                .print_parts(ending, parts, |parts, out| print_result(&job, &names, parts, &options, &scratch, out))
        }));
        tokio::select! {
            biased;
            printed = &mut printing => match printed {
                // A part that was cut short because we were asked to stop is no failure of the part.
                Err(_) if self.shutdown.is_asked() => Err(SessionError::Interrupted),
                printed => Ok(printed?),
            },
            () = self.shutdown.graceful() => {
                // The unfinished file goes with the thread that writes it, which has nothing more to read.
                tokio::select! {
                    biased;
                    _gone = printing, if !leaves_nothing => {}
                    () = self.shutdown.now(), if !leaves_nothing => {}
                    else => {}
                }
                Err(SessionError::Interrupted)
            }
        }
    }

    /// A job with the steps before and after it, in their order; what is gone is left out.
    ///
    /// # Errors
    /// If there is no such job, or nobody answers.
    pub async fn steps(&self, job: JobId) -> Result<Vec<Status>, SessionError> {
        let mut steps = VecDeque::from([self.status(job).await?]);
        while steps.len() < MAX_STEPS
            && let Some(before) = steps.front().and_then(|first| first.after)
            && let Some(status) = self.status_if_any(before).await?
        {
            steps.push_front(status);
        }
        while steps.len() < MAX_STEPS
            && let Some(next) = steps.back().and_then(|last| last.then)
            && let Some(status) = self.status_if_any(next).await?
        {
            steps.push_back(status);
        }
        Ok(steps.into())
    }

    async fn status_if_any(&self, job: JobId) -> Result<Option<Status>, SessionError> {
        match self.status(job).await {
            Err(SessionError::Client(ClientError::Unknown)) => Ok(None),
            status => status.map(Some),
        }
    }

    /// A job's status, with everything.
    ///
    /// # Errors
    /// If there is no such job, or nobody answers.
    pub async fn status(&self, job: JobId) -> Result<Status, SessionError> {
        match self.ask(Ask::Status { job, detail: true }, &[]).await? {
            (Answer::Status(status), _) => Ok(*status),
            _ => Err(ClientError::Confused.into()),
        }
    }
}
