//! A broker that is away for long, in a process of its own, since its memory is measured.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rabbit_reduce_runtime::broker::BrokerError;
use rabbit_reduce_runtime::broker::rabbit::{RabbitBroker, RabbitConfig};
use rabbit_reduce_tests::processes::resident_bytes;
use rabbit_reduce_tests::seen::fault;

/// Attempts to reach it: what it would be in some minutes.
const ATTEMPTS: usize = 2000;
/// What they may leave behind: a hundredth of what they would, if each left what it needs.
const LEFT_BYTES: u64 = 1 << 20;

#[tokio::test]
async fn a_broker_that_is_away_is_tried_again_and_again_and_costs_no_memory() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("amqp://127.0.0.1:{port}/%2f");
    let attempt = async || {
        let config = RabbitConfig::new(url.parse().unwrap(), "away");
        let error = RabbitBroker::connect(config).await.unwrap_err();
        assert!(
            matches!(error, BrokerError::Unreachable { .. }) && error.to_string().contains(&port.to_string()),
            "{error}"
        );
    };
    for _ in 0..ATTEMPTS / 10 {
        attempt().await;
    }
    let before = resident_bytes(std::process::id());
    for _ in 0..ATTEMPTS {
        attempt().await;
    }
    let left = resident_bytes(std::process::id()).saturating_sub(before);
    assert!(left < LEFT_BYTES, "{ATTEMPTS} attempts left {left} bytes behind");
    fault("the broker is away for long", "thousands of attempts, no memory left behind");
}
