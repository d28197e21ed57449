//! The broker inside a process, in bytes a second: cargo bench -p rabbit-reduce-runtime
//!
//! Bodies of a given size are published, consumed and acked by one thread. What would surprise: a body is handed on and never
//! copied, so what is measured is a message's cost, and large bodies only look quick.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology, queue};
use rabbit_reduce_runtime::broker::embedded::EmbeddedBroker;
use rabbit_reduce_runtime::broker::{Broker, Published, Route};

/// Fewer than `map` holds.
const MESSAGES: usize = 200;
/// A task by reference or a small partial; a partial of a large chunk.
const BODIES: [usize; 2] = [1 << 10, 256 << 10];

#[divan::bench(args = BODIES)]
fn transit(bencher: Bencher<'_, '_>, bytes: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread has a runtime");
    let (broker, body) = (EmbeddedBroker::new(), Bytes::from(vec![7; bytes]));
    let declared = runtime.block_on(broker.declare(&Topology::new("bench", QUEUE_BYTES)));
    declared.expect("it is declared for the first time");
    bencher.counter(BytesCount::new(MESSAGES * bytes)).bench_local(|| {
        runtime.block_on(async {
            let route = Route::Queue(queue::MAP.to_owned());
            for _ in 0..MESSAGES {
                let published = broker.publish(&route, black_box(body.clone())).await;
                assert_eq!(published.expect("it is up"), Published::Confirmed);
            }
            let mut consumer = broker.consume(queue::MAP, 16).await.expect("it is up");
            for _ in 0..MESSAGES {
                let delivery = consumer.next().await.expect("as many as were published");
                assert!(black_box(delivery).receipt.ack().await, "the channel is open");
            }
        });
    });
}

fn main() {
    divan::main();
}
