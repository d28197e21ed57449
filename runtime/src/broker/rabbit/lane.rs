//! One publishing channel on a pooled connection: many publications in flight, each told what became of it.
//!
//! It does not know routes or queues, and keeps nothing over its end: whoever was waiting gets an error and publishes again on
//! the next lane.
//!
//! What would surprise: the client library hands a returned message to whichever confirm it resolves next, not to the
//! publication that was returned. So no confirm is believed before all that were resolved by then have been read (see
//! [`Unconfirmed::settled`]), and returns are matched by message id.

use super::access::Publishers;
use super::failure::{classify, is_not_found, unreachable};
use super::url::RabbitUrl;
use crate::broker::{BrokerError, Published};
use bytes::Bytes;
use deadpool::managed::Object;
use deadpool_lapin::lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use deadpool_lapin::lapin::types::ShortString;
use deadpool_lapin::lapin::{BasicProperties, Channel, ChannelStatus, Confirmation, Error, Event, PublisherConfirm};
use futures_util::{Stream, StreamExt};
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Publications that wait for their confirms on one lane. Measured: more gain nothing, and each may be a large body.
const WINDOW: usize = 64;
/// How long a confirm may take. Over a quorum queue on a busy disk seconds are normal; past this the channel is given up, since
/// a confirm that is not awaited leaks.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// AMQP's mark of a message that survives a restart.
const PERSISTENT: u8 = 2;

/// Why the broker takes no publications, shared by all lanes of a broker. Cleared when it says so or confirms something: a new
/// connection is not told that the broker is blocked before it publishes.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Mutex<Option<String>>>);

impl Alarm {
    pub(super) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// A message on its way to an exchange.
pub(super) struct Publication {
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
    pub(super) mandatory: bool,
    pub(super) body: Bytes,
}

type Outcome = Result<Published, BrokerError>;
type Request = (Publication, oneshot::Sender<Outcome>);

/// The callers' end of a lane.
#[derive(Clone)]
pub(super) struct Lane {
    requests: mpsc::Sender<Request>,
    status: ChannelStatus,
    url: RabbitUrl,
}

impl Lane {
    /// Opens a confirming channel on `connection` and runs it until it fails or nobody holds the lane.
    pub(super) async fn open(
        connection: Object<Publishers>,
        url: RabbitUrl,
        alarm: Alarm,
    ) -> Result<Self, BrokerError> {
        let lost = |error: Error| classify(&url, "open a publishing channel", &error);
        let channel = connection.create_channel().await.map_err(lost)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(lost)?;
        let (requests, queue) = mpsc::channel(1);
        let status = channel.status().clone();
        let events = Box::pin(connection.events_listener());
        let run = Run { channel, events, unconfirmed: Unconfirmed::default(), next_id: 0, url: url.clone(), alarm };
        tokio::spawn(run.until_it_fails(connection, queue));
        Ok(Self { requests, status, url })
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.requests.is_closed() && self.status.connected()
    }

    pub(super) async fn publish(&self, publication: Publication) -> Outcome {
        let ended = |_| unreachable(&self.url, "the publishing channel ended");
        let (answer, outcome) = oneshot::channel();
        self.requests.send((publication, answer)).await.map_err(|_| ended(()))?;
        outcome.await.map_err(|_| ended(()))?
    }
}

/// The channel's end of a lane.
struct Run {
    channel: Channel,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    unconfirmed: Unconfirmed,
    next_id: u64,
    url: RabbitUrl,
    alarm: Alarm,
}

impl Run {
    async fn until_it_fails(mut self, connection: Object<Publishers>, mut requests: mpsc::Receiver<Request>) {
        match self.serve(&mut requests).await {
            // Nobody holds the lane: the connection may serve another, unless something is still unconfirmed on it.
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%error, "a publishing channel ended");
                // Out of the pool, and so closed: what is unconfirmed on it must not be mixed with anything later.
                drop(Object::take(connection));
                self.unconfirmed.fail(&error);
                requests.close();
                while let Some((_, answer)) = requests.recv().await {
                    reply(answer, Err(error.clone()));
                }
            }
        }
    }

    async fn serve(&mut self, requests: &mut mpsc::Receiver<Request>) -> Result<(), BrokerError> {
        loop {
            let deadline = self.unconfirmed.deadline();
            tokio::select! {
                biased;
                settled = std::future::poll_fn(|context| self.unconfirmed.settled(context)) => self.answer(settled)?,
                () = sleep_until(deadline) => return Err(self.too_slow()),
                event = self.events.next() => self.note(event),
                request = requests.recv(), if self.unconfirmed.has_room() => match request {
                    Some((publication, answer)) => self.send(publication, answer).await?,
                    None if self.unconfirmed.is_empty() => return Ok(()),
                    // The callers are gone and their messages are not: nobody is there to hear what became of them.
                    None => return Err(unreachable(&self.url, "nobody waits for the confirms")),
                },
            }
        }
    }

    /// Hands the message to the connection. Its confirm may come before this returns, and waits to be polled.
    async fn send(&mut self, publication: Publication, answer: oneshot::Sender<Outcome>) -> Result<(), BrokerError> {
        let id = self.next_id;
        self.next_id += 1;
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        let properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id.to_string().into());
        let options = BasicPublishOptions { mandatory: publication.mandatory, immediate: false };
        let channel = self.channel.clone();
        let sent = channel.basic_publish(publication.exchange, publication.key, options, &publication.body, properties);
        tokio::pin!(sent);
        let confirm = loop {
            tokio::select! {
                confirm = &mut sent => break confirm,
                event = self.events.next() => self.note(event),
                () = tokio::time::sleep_until(deadline) => {
                    let error = self.too_slow();
                    reply(answer, Err(error.clone()));
                    return Err(error);
                }
            }
        };
        match confirm {
            Ok(confirm) => {
                self.unconfirmed.push(Waiting { id, confirm, deadline, answer });
                Ok(())
            }
            Err(error) => {
                let error = self.failed(&error);
                reply(answer, Err(error.clone()));
                Err(error)
            }
        }
    }

    fn answer(&mut self, settled: Vec<Settled>) -> Result<(), BrokerError> {
        let mut failure = None;
        for Settled { id, confirmation, answer } in settled {
            let was_returned = self.unconfirmed.returned.remove(&id);
            let outcome = match confirmation {
                Ok(Confirmation::Ack(_) | Confirmation::Nack(_)) if was_returned => Ok(Published::Returned),
                Ok(Confirmation::Ack(_)) => Ok(Published::Confirmed),
                Ok(Confirmation::Nack(_)) => Ok(Published::Refused),
                Ok(Confirmation::NotRequested) => Err(BrokerError::Denied {
                    action: "publish".to_owned(),
                    reason: "the channel is not in confirm mode".to_owned(),
                }),
                Err(error) => Err(self.failed(&error)),
            };
            match &outcome {
                Ok(_) => self.alarm.set(None),
                Err(error) => failure = Some(error.clone()),
            }
            reply(answer, outcome);
        }
        if self.unconfirmed.strange_return {
            failure = Some(unreachable(&self.url, "a message was returned that is none of ours"));
        }
        failure.map_or(Ok(()), Err)
    }

    fn note(&self, event: Option<Event>) {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                tracing::warn!(%reason, "the broker takes no publications");
                self.alarm.set(Some(reason));
            }
            Some(Event::ConnectionUnblocked) => self.alarm.set(None),
            _ => {}
        }
    }

    fn too_slow(&self) -> BrokerError {
        let seconds = CONFIRM_TIMEOUT.as_secs();
        let why =
            self.alarm.reason().map_or_else(String::new, |reason| format!(": it takes no publications ({reason})"));
        unreachable(&self.url, format!("no confirm within {seconds} s{why}"))
    }

    fn failed(&self, error: &Error) -> BrokerError {
        if is_not_found(error) {
            let reason = format!("{error}; the namespace is not declared");
            return BrokerError::Denied { action: "publish".to_owned(), reason };
        }
        classify(&self.url, "publish", error)
    }
}

/// A publication whose confirm has not come.
struct Waiting {
    id: u64,
    confirm: PublisherConfirm,
    deadline: Instant,
    answer: oneshot::Sender<Outcome>,
}

/// A publication whose confirm has come.
struct Settled {
    id: u64,
    confirmation: Result<Confirmation, Error>,
    answer: oneshot::Sender<Outcome>,
}

/// What waits for confirms, oldest first.
#[derive(Default)]
struct Unconfirmed {
    waiting: Vec<Waiting>,
    /// Ids of returned messages whose own confirm is not read yet.
    returned: HashSet<u64>,
    /// A message came back that has none of our ids: no confirm of this channel can be believed any more.
    strange_return: bool,
}

impl Unconfirmed {
    const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    const fn has_room(&self) -> bool {
        self.waiting.len() < WINDOW
    }

    fn push(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting.first().map(|oldest| oldest.deadline)
    }

    /// All that is settled by now, once anything is.
    ///
    /// A return comes before its own confirm, and the library gives it to the first confirm that it resolves after that. So the
    /// confirm that carries a return was resolved no later than the one it belongs to. Reading until a whole round finds nothing
    /// new therefore has read the return of everything that was read.
    fn settled(&mut self, context: &mut Context<'_>) -> Poll<Vec<Settled>> {
        let mut settled: Vec<Settled> = Vec::new();
        loop {
            let before = settled.len();
            let mut left = Vec::with_capacity(self.waiting.len());
            for mut waiting in self.waiting.drain(..) {
                match Pin::new(&mut waiting.confirm).poll(context) {
                    Poll::Pending => left.push(waiting),
                    Poll::Ready(confirmation) => {
                        settled.push(Settled { id: waiting.id, confirmation, answer: waiting.answer })
                    }
                }
            }
            self.waiting = left;
            if settled.len() == before {
                break;
            }
        }
        if settled.is_empty() {
            return Poll::Pending;
        }
        for one in &settled {
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = &one.confirmation {
                let id = message.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
                match id {
                    Some(id) => self.strange_return |= !self.returned.insert(id),
                    None => self.strange_return = true,
                }
            }
        }
        Poll::Ready(settled)
    }

    fn fail(&mut self, error: &BrokerError) {
        for waiting in self.waiting.drain(..) {
            reply(waiting.answer, Err(error.clone()));
        }
    }
}

/// Tells the caller, who may have gone.
fn reply(answer: oneshot::Sender<Outcome>, outcome: Outcome) {
    drop(answer.send(outcome));
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
