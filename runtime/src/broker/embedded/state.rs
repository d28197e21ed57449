//! A broker as a state machine: what RabbitMQ's queues do, step by step and without the network.
//!
//! It knows no clock and no task: time is an argument, counted from any beginning, and whoever should look again is listed in
//! [`State::woken`]. The same calls give the same answers and the same order, always.
//!
//! What would surprise: a message counts as delivered once it is assigned to a consumer, read or not, because RabbitMQ pushes
//! up to the prefetch; so all of it comes back with its count raised when the consumer ends.

mod private;
mod queue;
#[cfg(test)]
mod tests;

use super::super::{BrokerError, Death, Depth, MAX_PREFETCH, Published, Route, Settlement};
use bytes::Bytes;
use private::PrivateQueue;
use queue::{Message, WorkQueue};
use rabbit_reduce_core::topology::{Topology, queue::STORE};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Ended consumers that a queue's list may hold before it is cleaned, so that cleaning costs little per consumer.
const LIST_SLACK: usize = 16;

/// A subscription or a private queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConsumerId(u64);

/// What a consumer finds.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// This.
    Found(T),
    /// Nothing yet: it will be woken.
    Wait,
    /// The consumer has ended.
    Ended,
}

/// A message assigned to a consumer.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) tag: u64,
    pub(super) body: Bytes,
    pub(super) returns: u32,
    pub(super) died: Option<Death>,
}

/// One namespace of a broker.
#[derive(Debug, Default)]
pub(super) struct State {
    namespace: Option<String>,
    queues: BTreeMap<String, WorkQueue>,
    consumers: HashMap<ConsumerId, Subscription>,
    private: BTreeMap<ConsumerId, PrivateQueue>,
    private_names: HashMap<String, ConsumerId>,
    store: Option<String>,
    ids: u64,
    woken: Vec<ConsumerId>,
    /// Queues where something may move now, in the order in which that came about.
    stirred: VecDeque<String>,
}

#[derive(Debug)]
struct Subscription {
    queue: String,
    prefetch: usize,
    next_tag: u64,
    unsettled: HashMap<u64, Message>,
    /// Assigned and not read yet.
    unread: VecDeque<u64>,
    /// Whether the queue has it in its list of consumers with room.
    listed: bool,
}

impl State {
    /// Declares the namespace's queues; those that exist must be the same.
    pub(super) fn declare(&mut self, topology: &Topology) -> Result<(), BrokerError> {
        for queue in &topology.queues {
            match self.queues.get(&queue.name) {
                Some(existing) if existing.spec == *queue => {}
                Some(existing) => {
                    return Err(BrokerError::Mismatch {
                        queue: format!("{}.{}", topology.namespace, queue.name),
                        reason: format!("it is {:?}, and not {queue:?}", existing.spec),
                    });
                }
                None => drop(self.queues.insert(queue.name.clone(), WorkQueue::new(queue.clone()))),
            }
        }
        self.namespace = Some(topology.namespace.clone());
        Ok(())
    }

    /// Deletes the topology's queues with what they hold; their consumers end.
    pub(super) fn teardown(&mut self, topology: &Topology) {
        let gone: BTreeSet<&str> = topology.queues.iter().map(|queue| queue.name.as_str()).collect();
        self.queues.retain(|name, _| !gone.contains(name.as_str()));
        let mut ended: Vec<_> =
            self.consumers.iter().filter(|(_, one)| gone.contains(one.queue.as_str())).map(|(id, _)| *id).collect();
        ended.sort_unstable();
        for id in ended {
            self.consumers.remove(&id);
            self.woken.push(id);
        }
        self.store = None;
        self.namespace = None;
    }

    /// The first store binds the namespace.
    pub(super) fn bind_store(&mut self, store_id: &str) -> Result<(), BrokerError> {
        let bound = self.store.get_or_insert_with(|| store_id.to_owned());
        if bound == store_id {
            return Ok(());
        }
        let queue =
            self.namespace.as_ref().map_or_else(|| STORE.to_owned(), |namespace| format!("{namespace}.{STORE}"));
        Err(BrokerError::Mismatch {
            queue,
            reason: format!("it binds the namespace to store {bound}, and not {store_id}"),
        })
    }

    pub(super) fn publish(&mut self, now: Duration, route: &Route, body: Bytes) -> Result<Published, BrokerError> {
        self.namespace("publish")?;
        match route {
            Route::Queue(name) => {
                let Some(queue) = self.queues.get_mut(name) else { return Ok(Published::Returned) };
                if queue.is_full() {
                    return Ok(Published::Refused);
                }
                queue.push(Message::new(body), now);
                self.stir(name.clone());
                self.settle_down(now);
            }
            Route::Private(name) => {
                let Some(id) = self.private_names.get(name) else { return Ok(Published::Returned) };
                if let Some(queue) = self.private.get_mut(id) {
                    queue.push(body);
                    self.woken.push(*id);
                }
            }
            Route::News => {
                for (id, queue) in &mut self.private {
                    queue.push(body.clone());
                    self.woken.push(*id);
                }
            }
        }
        Ok(Published::Confirmed)
    }

    pub(super) fn consume(&mut self, now: Duration, name: &str, prefetch: u16) -> Result<ConsumerId, BrokerError> {
        let id = self.next_id();
        let Some(queue) = self.queues.get_mut(name) else {
            return Err(BrokerError::Denied {
                action: format!("consume from {name}"),
                reason: "no such queue".to_owned(),
            });
        };
        queue.consumers += 1;
        queue.with_room.push_back(id);
        let prefetch = usize::from(prefetch.clamp(1, MAX_PREFETCH));
        let (unsettled, unread) = (HashMap::new(), VecDeque::new());
        let subscription =
            Subscription { queue: name.to_owned(), prefetch, next_tag: 1, unsettled, unread, listed: true };
        self.consumers.insert(id, subscription);
        self.stir(name.to_owned());
        self.settle_down(now);
        Ok(id)
    }

    /// Opens a private queue and tells its name.
    pub(super) fn open_private(&mut self) -> Result<(ConsumerId, String), BrokerError> {
        let namespace = self.namespace("open a private queue")?.to_owned();
        let id = self.next_id();
        let name = format!("{namespace}.private.{}", id.0);
        self.private.insert(id, PrivateQueue::new(name.clone()));
        self.private_names.insert(name.clone(), id);
        Ok((id, name))
    }

    /// What a subscription finds next.
    pub(super) fn next(&mut self, id: ConsumerId) -> Next<Assigned> {
        let Some(subscription) = self.consumers.get_mut(&id) else { return Next::Ended };
        let Some(tag) = subscription.unread.pop_front() else { return Next::Wait };
        let message = subscription.unsettled.get(&tag).expect("what is not read cannot be settled");
        Next::Found(Assigned { tag, body: message.body.clone(), returns: message.returns, died: message.died.clone() })
    }

    /// What a private queue holds next.
    pub(super) fn next_private(&mut self, id: ConsumerId) -> Next<Bytes> {
        match self.private.get_mut(&id).map(PrivateQueue::pop) {
            Some(Some(body)) => Next::Found(body),
            Some(None) => Next::Wait,
            None => Next::Ended,
        }
    }

    /// Whether it counted: not if the consumer has ended.
    pub(super) fn settle(&mut self, now: Duration, id: ConsumerId, tag: u64, how: Settlement) -> bool {
        let Some(subscription) = self.consumers.get_mut(&id) else { return false };
        let Some(message) = subscription.unsettled.remove(&tag) else { return false };
        let name = subscription.queue.clone();
        let was_listed = std::mem::replace(&mut subscription.listed, true);
        if let Some(queue) = self.queues.get_mut(&name)
            && !was_listed
        {
            queue.with_room.push_back(id);
        }
        if how == Settlement::Return {
            self.give_back(now, &name, message);
        }
        self.stir(name);
        self.settle_down(now);
        true
    }

    /// Ends a subscription or a private queue. What was unsettled goes back in its order.
    pub(super) fn end(&mut self, now: Duration, id: ConsumerId) {
        if let Some(queue) = self.private.remove(&id) {
            self.private_names.remove(queue.name());
        }
        let Some(subscription) = self.consumers.remove(&id) else { return };
        if let Some(queue) = self.queues.get_mut(&subscription.queue) {
            queue.consumers -= 1;
            // Ended consumers leave the list at their turn; where no message comes, that is never.
            if queue.with_room.len() > LIST_SLACK + 2 * queue.consumers as usize {
                let consumers = &self.consumers;
                queue.with_room.retain(|id| consumers.contains_key(id));
            }
        }
        let mut unsettled: Vec<_> = subscription.unsettled.into_iter().collect();
        unsettled.sort_unstable_by_key(|(tag, _)| *tag);
        for (_, message) in unsettled {
            self.give_back(now, &subscription.queue, message);
        }
        self.stir(subscription.queue);
        self.settle_down(now);
    }

    /// Sets aside what is past its time.
    pub(super) fn expire(&mut self, now: Duration) {
        let timed: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.next_expiry().is_some())
            .map(|(name, _)| name.clone())
            .collect();
        self.stirred.extend(timed);
        self.settle_down(now);
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.queues.values().filter_map(WorkQueue::next_expiry).min()
    }

    pub(super) fn depth(&self, queue: &str) -> Option<Depth> {
        self.queues.get(queue).map(WorkQueue::depth)
    }

    /// Who should look again since the last call, each perhaps more than once.
    pub(super) fn woken(&mut self) -> std::vec::Drain<'_, ConsumerId> {
        self.woken.drain(..)
    }

    fn namespace(&self, action: &str) -> Result<&str, BrokerError> {
        self.namespace.as_deref().ok_or_else(|| BrokerError::Denied {
            action: action.to_owned(),
            reason: "the namespace is not declared".to_owned(),
        })
    }

    fn next_id(&mut self) -> ConsumerId {
        self.ids += 1;
        ConsumerId(self.ids)
    }

    fn stir(&mut self, queue: String) {
        self.stirred.push_back(queue);
    }

    fn give_back(&mut self, now: Duration, name: &str, mut message: Message) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        message.returns += 1;
        if message.returns > queue.spec.delivery_limit {
            self.bury(now, name, message, "delivery_limit");
        } else {
            queue.push_returned(message);
        }
    }

    /// To the queue's dead letters; without such it is gone, as on RabbitMQ.
    fn bury(&mut self, now: Duration, name: &str, message: Message, reason: &str) {
        let target = self.queues.get(name).and_then(|queue| queue.spec.dead_letter_to.clone());
        let Some(target) = target else { return };
        let Some(queue) = self.queues.get_mut(&target) else { return };
        let death = Death { queue: name.to_owned(), reason: reason.to_owned() };
        queue.push_dead_letter(Message { died: Some(death), ..Message::new(message.body) }, now);
        self.stir(target);
    }

    /// Moves whatever can move: expired messages to their graves, dead letters that waited for room, messages to consumers.
    fn settle_down(&mut self, now: Duration) {
        while let Some(name) = self.stirred.pop_front() {
            while let Some(message) = self.queues.get_mut(&name).and_then(|queue| queue.pop_expired(now)) {
                self.bury(now, &name, message, "expired");
            }
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            loop {
                queue.admit_dead_letters(now);
                if !assign(queue, &mut self.consumers, &mut self.woken) {
                    break;
                }
            }
        }
    }
}

/// Gives the next message to the next consumer with room, in turn. `false` if there is none of either.
fn assign(
    queue: &mut WorkQueue,
    consumers: &mut HashMap<ConsumerId, Subscription>,
    woken: &mut Vec<ConsumerId>,
) -> bool {
    if queue.is_empty() {
        return false;
    }
    while let Some(id) = queue.with_room.pop_front() {
        // Those that have ended are left in the list until their turn, which keeps ending cheap.
        let Some(subscription) = consumers.get_mut(&id) else { continue };
        let message = queue.pop().expect("the queue is not empty");
        let tag = subscription.next_tag;
        subscription.next_tag += 1;
        subscription.unsettled.insert(tag, message);
        subscription.unread.push_back(tag);
        subscription.listed = subscription.unsettled.len() < subscription.prefetch;
        if subscription.listed {
            queue.with_room.push_back(id);
        }
        woken.push(id);
        return true;
    }
    false
}
