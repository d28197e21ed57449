//! Why a job is where it is: what it waits for, which stage is the slowest, what stands out, each with what helps.
//!
//! It changes nothing. What would surprise: it is a look at one moment; of a job that runs, ask again.

mod reasons;

pub use self::reasons::{Reason, Seen, reasons};
use crate::cli::Explain;
use crate::session::SessionError;
use crate::{failure, named, print_text, session};
use rabbit_reduce_core::message::{Answer, Ask};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_core::topology::{REDUCE_QUEUES, queue};
use rabbit_reduce_runtime::broker::Depth;
use rabbit_reduce_runtime::process::broker::failure as broker_failure;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::json::pretty;
use serde_json::json;
use std::fmt::Write as _;

/// Does it.
///
/// # Errors
/// With the exit code that the failure means.
pub(crate) async fn execute(
    explain: Explain,
    programs: Programs,
    quiet: bool,
    shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let session = session(&explain.broker, programs, quiet, shutdown).await?;
    let job = named(explain.job, &explain.broker)?;
    let status = session.status(job).await.map_err(failure)?;
    let workers = match session.ask(Ask::Workers, &[]).await.map_err(failure)? {
        (Answer::Workers(workers), _) => workers,
        _ => Vec::new(),
    };
    // Of a job whose rows have no counts there are none.
    let top = match session.ask(Ask::Top { job, limit: 1 }, &[]).await {
        Ok((Answer::Top(top), _)) => Some(top),
        Err(SessionError::Interrupted) => return Err(failure(SessionError::Interrupted)),
        Ok(_) | Err(_) => None,
    };
    let broker = &session.client.broker;
    let depth =
        async |name: &str| Ok::<_, Failure>(broker.depth(name).await.map_err(broker_failure)?.unwrap_or_default());
    let map = depth(queue::MAP).await?;
    let apart = depth(queue::SUSPECT).await?.messages + depth(queue::RETRY).await?.messages;
    let mut reduce = Depth::default();
    for number in 0..REDUCE_QUEUES {
        let Depth { messages, consumers } = depth(&format!("reduce.{number}")).await?;
        reduce.messages += messages;
        reduce.consumers = reduce.consumers.max(consumers);
    }
    let reasons = reasons(&Seen { status, blocked: broker.blocked(), map, reduce, apart, workers, top });
    print_text(&if explain.json { reasons_json(&reasons) } else { reasons_text(&reasons) })
}

fn reasons_text(reasons: &[Reason]) -> String {
    let mut text = String::new();
    for Reason { says, helps } in reasons {
        writeln!(text, "{}", Shown(says.as_bytes())).expect("a string takes everything");
        if let Some(helps) = helps {
            writeln!(text, "  → {}", Shown(helps.as_bytes())).expect("a string takes everything");
        }
    }
    text
}

fn reasons_json(reasons: &[Reason]) -> String {
    pretty(&reasons.iter().map(|reason| json!({ "says": reason.says, "helps": reason.helps })).collect())
}
