//! A world for simulated clusters: one thread of tasks whose clock jumps to the next timer whenever nothing else is left to do.
//!
//! What would surprise: the clock would stand still while a blocking thread works, and one that waits for a timer would wait for
//! ever. So it is also pushed on, faster than the real one: as if threads were slow.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often the clock is pushed on, in real time.
const PACE: Duration = Duration::from_millis(1);
/// How far.
const PUSH: Duration = Duration::from_millis(50);

/// Runs a case to its end.
pub(crate) fn simulated<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let told = runtime.block_on(async {
        tokio::spawn(keep_pace());
        case.await
    });
    runtime.shutdown_background();
    told
}

async fn keep_pace() {
    let passed = Arc::new(Notify::new());
    let listening = Arc::downgrade(&passed);
    std::thread::spawn(move || {
        while let Some(passed) = listening.upgrade() {
            passed.notify_one();
            drop(passed);
            std::thread::sleep(PACE);
        }
    });
    loop {
        passed.notified().await;
        tokio::time::advance(PUSH).await;
    }
}

/// Makes one test per fact and broker, each with the queues of jobs in a namespace of its own: simulated on the embedded
/// broker, in real time on RabbitMQ.
#[allow(unused_macros, reason = "every test binary uses a part of it")]
macro_rules! on_both_brokers {
    ($($fact:ident)*) => {
        mod embedded {
            $(#[test]
            fn $fact() {
                let topology = rabbit_reduce_tests::cluster::topology();
                crate::world::simulated(async {
                    super::$fact(rabbit_reduce_tests::home::Home::embedded_with(topology).await).await;
                });
            })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                let topology = rabbit_reduce_tests::cluster::topology();
                super::$fact(rabbit_reduce_tests::home::Home::rabbit_with(topology).await).await;
            })*
        }
    };
}
#[allow(unused_imports, reason = "every test binary uses a part of it")]
pub(crate) use on_both_brokers;
