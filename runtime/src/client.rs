//! Questions to the aggregators, and their answers, over the control queue and a private one.
//!
//! It knows nothing of jobs. What would surprise: a question is asked again while no answer comes, as every question may be
//! asked twice, so it outlives lost connections, aggregators that die with it, and a private queue that has to be opened anew.

use crate::broker::stored::{pause_before, publish_stored};
use crate::broker::{Broker, BrokerError, Route};
use crate::process::{chance, clock};
use bytes::Bytes;
use rabbit_reduce_core::message::{self, Answer, Ask, News, Reply, Request};
use rabbit_reduce_core::topology::queue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use uuid::Uuid;

/// How long an answer is waited for before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same, after it was asked several times: an aggregator that is slow is not made slower.
const LONGEST_PATIENCE: Duration = Duration::from_secs(12);
/// When a question is worthless: generous, since clocks of two machines differ.
const EXPIRY: Duration = Duration::from_secs(600);
/// How long commands that only ask wait for anybody to answer.
pub const SHORT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Nobody.
    #[error("no aggregator answers: start one with `aggregator`, with the same --broker-url and --namespace")]
    Nobody,
    /// The question does not come through.
    #[error("the broker takes no messages ({0}), so nobody can be asked: `producer doctor` says what it is short of")]
    Blocked(String),
    /// The aggregator cannot answer yet.
    #[error("the aggregator waits: {0}")]
    Waits(String),
    /// The aggregator says no.
    #[error("{0}")]
    Refused(String),
    /// The aggregator knows no such job.
    #[error("there is no such job (any more): see `producer jobs`")]
    Unknown,
    /// The aggregator is of another release.
    #[error("the aggregator answers something else than was asked: use the same release everywhere")]
    Confused,
}

type Waiting = Arc<Mutex<HashMap<Uuid, oneshot::Sender<(Answer, Bytes)>>>>;

/// Asks; clones share the private queue.
#[derive(Clone)]
pub struct Client {
    /// Where it asks.
    pub broker: Arc<dyn Broker>,
    waiting: Waiting,
    line: watch::Receiver<Line>,
    news: Arc<Notify>,
    _listening: Arc<Listening>,
}

/// Where answers come in.
#[derive(Clone, Debug)]
enum Line {
    /// Nowhere just now.
    Down,
    /// In this private queue.
    Up(String),
    /// Nowhere, unless somebody does something about it.
    Refused(BrokerError),
}

struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Opens the private queue, now and whenever it is lost.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        let (told, line) = watch::channel(Line::Down);
        let (waiting, news): (Waiting, _) = (Arc::default(), Arc::new(Notify::new()));
        let listening = listen(Arc::clone(&broker), Arc::clone(&waiting), told, Arc::clone(&news));
        let listening = Arc::new(Listening(tokio::spawn(listening).abort_handle()));
        Self { broker, waiting, line, news, _listening: listening }
    }

    /// Waits until somebody tells any news, which is a reason to ask again.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Asks until there is an answer, at most for `patience` (for ever without). `notice` hears while nobody answers.
    ///
    /// # Errors
    /// When patience is over, [`ClientError::Waits`], [`ClientError::Blocked`] or [`ClientError::Nobody`]; what the broker refuses
    /// for good; the aggregator's own no.
    pub async fn ask(
        &self,
        ask: Ask,
        body: &[u8],
        patience: Option<Duration>,
        notice: &(dyn Fn(&str) + Sync),
    ) -> Result<(Answer, Bytes), ClientError> {
        let waits = Mutex::new(None);
        let asking = async {
            loop {
                match self.ask_until_answered(&ask, body, notice).await? {
                    (Answer::Later(reason), _) => {
                        notice(&format!("the aggregator waits: {reason}"));
                        *waits.lock().expect("nobody panics with it") = Some(reason);
                    }
                    answer => return Ok(answer),
                }
                pause_before(9).await;
            }
        };
        let answered = match patience {
            None => asking.await,
            Some(patience) => tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| {
                let waits = waits.lock().expect("nobody panics with it").take();
                let blocked = || self.broker.blocked().map(ClientError::Blocked);
                Err(waits.map(ClientError::Waits).or_else(blocked).unwrap_or(ClientError::Nobody))
            }),
        };
        match answered? {
            (Answer::Refused(reason), _) => Err(ClientError::Refused(reason)),
            (Answer::Unknown, _) => Err(ClientError::Unknown),
            answer => Ok(answer),
        }
    }

    /// Asks again and again, ever more slowly, under one id: an answer counts however late it comes.
    async fn ask_until_answered(
        &self,
        ask: &Ask,
        body: &[u8],
        notice: &(dyn Fn(&str) + Sync),
    ) -> Result<(Answer, Bytes), ClientError> {
        let id = chance::id();
        let (answered, mut answer) = oneshot::channel();
        self.waiting.lock().expect("nobody panics with it").insert(id, answered);
        let _forget = Forget(&self.waiting, id);
        let mut patience = PATIENCE;
        loop {
            let asking = async {
                match self.send(id, ask, body).await {
                    Ok(()) => Ok((&mut answer).await.ok()),
                    Err(error) => Err(error),
                }
            };
            match tokio::time::timeout(patience, asking).await {
                Ok(Ok(Some(answer))) => return Ok(answer),
                Ok(Ok(None)) => return Err(ClientError::Confused),
                Ok(Err(error)) if error.may_pass() => {
                    notice(&format!("{error}; trying again"));
                    pause_before(6).await;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => self.say_why(notice).await,
            }
            patience = (patience * 2).min(LONGEST_PATIENCE);
        }
    }

    /// Why there is no answer yet.
    async fn say_why(&self, notice: &(dyn Fn(&str) + Sync)) {
        if let Ok(Some(depth)) = self.broker.depth(queue::CONTROL).await
            && depth.consumers == 0
        {
            notice("waiting for an aggregator: none is running in this namespace; start one with `aggregator`");
        } else if let Some(reason) = self.broker.blocked() {
            notice(&format!("waiting: the broker takes no messages ({reason})"));
        } else {
            notice("waiting for an aggregator to answer");
        }
    }

    async fn send(&self, id: Uuid, ask: &Ask, body: &[u8]) -> Result<(), BrokerError> {
        let reply_to = loop {
            // Changed or not, the newest counts; the sender lives as long as the listening task.
            let mut line = self.line.clone();
            let line = line.wait_for(|line| !matches!(line, Line::Down)).await.map_or(Line::Down, |line| line.clone());
            match line {
                Line::Up(name) => break name,
                Line::Refused(error) => return Err(error),
                Line::Down => pause_before(9).await,
            }
        };
        let expires_ms = clock::now_ms() + u64::try_from(EXPIRY.as_millis()).unwrap_or(u64::MAX);
        let request = Request { id, reply_to, expires_ms, ask: ask.clone() };
        let route = Route::Queue(queue::CONTROL.to_owned());
        publish_stored(&*self.broker, &route, message::encode(&request, body), None).await
    }
}

struct Forget<'w>(&'w Waiting, Uuid);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Ok(mut waiting) = self.0.lock() {
            waiting.remove(&self.1);
        }
    }
}

async fn listen(broker: Arc<dyn Broker>, waiting: Waiting, told: watch::Sender<Line>, news: Arc<Notify>) {
    loop {
        match broker.inbox().await {
            Ok(mut inbox) => {
                told.send_replace(Line::Up(inbox.name().to_owned()));
                while let Some(message) = inbox.next().await {
                    if let Ok((Reply { id, answer }, body)) = message::decode::<Reply>(&message) {
                        let asked = waiting.lock().expect("nobody panics with it").remove(&id);
                        // Who asked may have stopped waiting.
                        asked.map(|asked| asked.send((answer, body)).is_ok());
                    } else if message::decode::<News>(&message).is_ok() {
                        news.notify_one();
                    }
                }
                told.send_replace(Line::Down);
            }
            Err(error) => {
                tracing::debug!(%error, "no private queue; trying again");
                told.send_replace(if error.may_pass() { Line::Down } else { Line::Refused(error) });
            }
        }
        pause_before(8).await;
    }
}
