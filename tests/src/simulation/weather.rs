//! Faults that come from outside: the broker goes away, gives up on messages, is purged, and somebody gossips.
//!
//! What would surprise: to make the broker give up, the weather takes messages and drops its consumer again and again, as workers
//! do that a message kills.

use super::fault::Fault;
use super::inputs::Inputs;
use super::world::{World, locked};
use rabbit_reduce_core::id::PartitionNumber;
use rabbit_reduce_core::message::{self, News};
use rabbit_reduce_runtime::broker::Route;
use std::sync::Arc;
use std::time::Duration;

/// As many messages of a queue are taken at once.
const HANDFUL: u16 = 8;
/// The weather waits so long for a message.
const PATIENCE: Duration = Duration::from_millis(1);

/// Begins.
pub fn begin(world: &Arc<World>, inputs: &Arc<Inputs>) {
    let faults = &world.plan.faults;
    for away in &faults.input_away {
        let (there, hidden, shown) = (Arc::clone(world), Arc::clone(inputs), Arc::clone(inputs));
        at(world, away.start, async move {
            if !there.is_calm() {
                there.injected(Fault::InputAway);
                there.note(format_args!("the input is away"));
                hidden.hide();
            }
        });
        at(world, away.end, async move { shown.show() });
    }
    for outage in &faults.outages {
        let away = Arc::clone(world);
        at(world, outage.start, async move {
            away.injected(Fault::Outage);
            away.cut_all();
        });
    }
    for (when, queue) in &faults.given_up {
        let (giving, queue) = (Arc::clone(world), queue.clone());
        at(world, *when, async move { give_up(&giving, &queue).await });
    }
    for (when, queue) in &faults.purges {
        let (purging, queue) = (Arc::clone(world), queue.clone());
        at(world, *when, async move { purge(&purging, &queue).await });
    }
    for when in &faults.gossip {
        let gossiping = Arc::clone(world);
        at(world, *when, async move { gossip(&gossiping).await });
    }
}

fn at(world: &Arc<World>, when: Duration, what: impl Future<Output = ()> + Send + 'static) {
    world.later(when, what);
}

/// The broker gives up on what waits in a queue.
async fn give_up(world: &World, queue: &str) {
    world.injected(Fault::GivenUp);
    world.note(format_args!("the weather gives back what is in {queue}"));
    for _ in 0..=world.plan.delivery_limit {
        let Ok(mut consumer) = world.broker.consume(queue, HANDFUL).await else { return };
        for _ in 0..HANDFUL {
            if tokio::time::timeout(PATIENCE, consumer.next()).await.is_err() {
                break;
            }
        }
    }
}

/// Somebody empties a queue.
async fn purge(world: &World, queue: &str) {
    world.injected(Fault::Purge);
    world.note(format_args!("{queue} is purged"));
    let Ok(mut consumer) = world.broker.consume(queue, 1000).await else { return };
    while let Ok(Some(delivery)) = tokio::time::timeout(PATIENCE, consumer.next()).await {
        assert!(delivery.receipt.ack().await, "the weather's channel lives");
    }
}

/// Somebody tells news that is not so, or not yet.
async fn gossip(world: &World) {
    let jobs = locked(&world.jobs).clone();
    for (job, partitions) in jobs {
        let partition = PartitionNumber(u32::try_from(world.dice.below(partitions.into())).expect("it is small"));
        let news = if world.dice.hits(700) { News::Finished(job, partition) } else { News::Sealed(job) };
        world.injected(Fault::Gossip);
        world.note(format_args!("somebody says {news:?}"));
        drop(world.broker.publish(&Route::News, message::encode(&news, &[])).await);
    }
}
