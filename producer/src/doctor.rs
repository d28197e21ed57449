//! Whether all that a job needs is there and well: broker, namespace, aggregators, workers, each finding with its remedy.
//!
//! It changes nothing. What would surprise: what a broker is like inside is told by its management API alone, so without its URL
//! that is not looked at, and said so.

mod findings;

pub use self::findings::{Finding, Health, Observed, judge, unreachable_broker};
use crate::cli::Doctor;
use crate::session::SessionError;
use crate::{failure, print_text};
use rabbit_reduce_core::message::{Answer, Ask};
use rabbit_reduce_core::topology::{QUEUE_BYTES, Topology};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::broker::rabbit::{Management, ManagementError};
use rabbit_reduce_runtime::client::Client;
use rabbit_reduce_runtime::process::broker::{connect, failure as broker_failure, url};
use rabbit_reduce_runtime::process::clock;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::{Failure, chain};
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::json::pretty;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// How long an aggregator may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does it. Ends with 0 if nothing keeps jobs from being done, with 4 if the broker or its API cannot be reached, else with 1.
///
/// # Errors
/// With the exit code that the failure means.
pub(crate) async fn execute(doctor: Doctor, shutdown: Shutdown) -> Result<Exit, Failure> {
    let observed = tokio::select! {
        observed = observe(&doctor) => observed,
        () = shutdown.graceful() => return Err(failure(SessionError::Interrupted)),
    };
    let (findings, exit) = match observed {
        Ok(observed) => {
            let findings = judge(&observed);
            let bad = findings.iter().any(|finding| finding.health == Health::Bad);
            let unseen = matches!(observed.inside, Some(Err(_)));
            let exit = if unseen {
                Exit::Broker
            } else if bad {
                Exit::Failed
            } else {
                Exit::Done
            };
            (findings, exit)
        }
        // Without a broker there is nothing else to look at.
        Err(Failure { exit: Exit::Broker, error }) => (vec![unreachable_broker(chain(&*error))], Exit::Broker),
        Err(failure) => return Err(failure),
    };
    print_text(&if doctor.json { findings_json(&findings) } else { findings_text(&findings) })?;
    Ok(exit)
}

async fn observe(doctor: &Doctor) -> Result<Observed, Failure> {
    let url = url(&doctor.broker)?;
    let refused = |error| Failure::new(Exit::Broker, error);
    let credentials = doctor.broker.credentials();
    let management = doctor.management_url.as_deref().map(|base| Management::new(base, &url, &credentials));
    let management = management.transpose().map_err(refused)?;
    let broker = connect(&doctor.broker).await?;
    let topology = Topology::new(&doctor.broker.namespace, QUEUE_BYTES);
    let mut queues = Vec::new();
    for queue in &topology.queues {
        queues.push((queue.name.clone(), broker.depth(&queue.name).await.map_err(broker_failure)?));
    }
    let client = Client::new(broker);
    let asked = client.ask(Ask::Workers, &[], Some(PATIENCE), &|text| tracing::debug!("{text}")).await;
    let workers = match asked {
        Ok((Answer::Workers(workers), _)) => Ok(workers),
        Ok(_) => Err("the aggregator answers something else than was asked".to_owned()),
        Err(error) => Err(chain(&error)),
    };
    let about = match &workers {
        Ok(_) => client.ask(Ask::About, &[], Some(PATIENCE), &|text| tracing::debug!("{text}")).await.ok(),
        // Who does not answer one question does not answer two.
        Err(_) => None,
    };
    let aggregator = match about {
        Some((Answer::About(about), _)) => Some((about, clock::now_ms())),
        _ => None,
    };
    let namespace = doctor.broker.namespace.clone();
    let mut observed = Observed { namespace, queues, workers, aggregator, inside: None };
    if let Some(management) = management {
        observed.inside = Some(inside(&management).await.map_err(|error| chain(&error)));
    }
    Ok(observed)
}

/// What the management API tells: overview, nodes, policies, queues.
async fn inside(management: &Management) -> Result<[Value; 4], ManagementError> {
    Ok([
        management.get(&["overview"]).await?,
        management.get(&["nodes"]).await?,
        management.get_of_host("policies").await?,
        management.get_of_host("queues").await?,
    ])
}

fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, health, says, remedy } in findings {
        let mark = match health {
            Health::Good => "ok",
            Health::Odd => "look",
            Health::Bad => "BAD",
        };
        writeln!(text, "{mark:<5} {what:<12} {}", Shown(says.as_bytes())).expect("a string takes everything");
        if let Some(remedy) = remedy {
            writeln!(text, "      {:<12} → {}", "", Shown(remedy.as_bytes())).expect("a string takes everything");
        }
    }
    text
}

fn findings_json(findings: &[Finding]) -> String {
    let value = |finding: &Finding| {
        let health = match finding.health {
            Health::Good => "ok",
            Health::Odd => "look",
            Health::Bad => "bad",
        };
        json!({ "what": finding.what, "health": health, "says": finding.says, "remedy": finding.remedy })
    };
    pretty(&findings.iter().map(value).collect())
}
