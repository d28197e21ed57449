//! What tests across roles share: brokers to run against, and ways to wait for a fact.
//!
//! It knows no test. What would surprise: without a RabbitMQ its tests fail, and say how to get one; a test that cannot run
//! must not be green.

pub mod binaries;
pub mod browser;
pub mod buckets;
pub mod cluster;
pub mod crew;
pub mod dice;
pub mod forwarder;
pub mod fragile;
pub mod front;
pub mod guests;
pub mod home;
pub mod hosts;
pub mod namespaces;
pub mod node;
pub mod oracle;
pub mod processes;
pub mod seen;
pub mod simulation;
pub mod site;
pub mod troubled_store;
pub mod troubles;
pub mod wait;

/// The URL of the RabbitMQ that tests run against.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn rabbit() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| {
        panic!(
            "these tests need RabbitMQ 3.10 or later, and AMQP_URL is not set. Start one, for example with\n\
             \n    docker run --rm -d -p 127.0.0.1:5672:5672 rabbitmq:4\n    \
             export AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f\n"
        )
    })
}
