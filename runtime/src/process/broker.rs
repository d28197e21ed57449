//! From the broker's flags to a connected, declared namespace.

use super::args::BrokerArgs;
use super::exit::Exit;
use super::start::Failure;
use crate::broker::rabbit::{RabbitBroker, RabbitConfig, RabbitUrl};
use crate::broker::{Broker, BrokerError};
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology};
use std::sync::Arc;

/// The topology that the flags name.
#[must_use]
pub fn topology(args: &BrokerArgs) -> Topology {
    Topology::new(&args.namespace, QUEUE_BYTES)
}

/// The broker's URL, if it is one.
///
/// # Errors
/// With the exit code of wrong usage.
pub fn url(args: &BrokerArgs) -> Result<RabbitUrl, Failure> {
    let bad = |error| Failure::new(Exit::Usage, format!("the broker's URL (--broker-url, AMQP_URL) is {error}"));
    args.url.expose().parse().map_err(bad)
}

/// Connects, and declares nothing.
///
/// # Errors
/// With the exit code that the failure means.
pub async fn connect(args: &BrokerArgs) -> Result<Arc<RabbitBroker>, Failure> {
    let url = url(args)?;
    let credentials = args.credentials();
    let usage = |reason: String| Failure::new(Exit::Usage, reason);
    if !url.is_encrypted() && (credentials.authorities.is_some() || credentials.identity.is_some()) {
        let reason = "certificates (--broker-ca, --broker-cert) are for a broker at amqps://, and the URL (--broker-url, AMQP_URL) says amqp://: change it, or leave them out";
        return Err(usage(reason.to_owned()));
    }
    credentials.check().map_err(usage)?;
    if url.has_secret() && std::env::args_os().any(|given| given.to_string_lossy().contains(args.url.expose())) {
        tracing::warn!(
            "every user of this machine can see the password on the command line: put the URL into AMQP_URL, or the password into a file (--broker-password-file)"
        );
    }
    let config = RabbitConfig { credentials, ..RabbitConfig::new(url, &args.namespace) };
    RabbitBroker::connect(config).await.map(Arc::new).map_err(failure)
}

/// Connects and declares the namespace, if the user may: who may not relies on who has set it up.
///
/// # Errors
/// With the exit code that the failure means.
pub async fn connect_and_declare(args: &BrokerArgs) -> Result<Arc<RabbitBroker>, Failure> {
    let broker = connect(args).await?;
    match broker.declare(&topology(args)).await {
        // What is missing shows where it is used.
        Err(BrokerError::Refused { reason, .. }) => tracing::debug!(reason, "the namespace is not ours to declare"),
        declared => declared.map_err(failure)?,
    }
    Ok(broker)
}

/// What a broker's error means for a process.
#[must_use]
pub fn failure(error: BrokerError) -> Failure {
    let text = match &error {
        BrokerError::Unreachable { .. } => format!("{error}; start it, or say where it is (--broker-url, AMQP_URL)"),
        _ => error.to_string(),
    };
    Failure::new(Exit::Broker, text)
}
