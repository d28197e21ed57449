//! The largest keys of a job so far.
//!
//! What would surprise: keys go to stdout, and what they are of to stderr, so that a program reads the first alone.

use crate::cli::Top;
use crate::session::SessionError;
use crate::{failure, named, print_text, session};
use rabbit_reduce_core::message::{self, Answer, Ask};
use rabbit_reduce_core::program::Programs;
use rabbit_reduce_runtime::client::ClientError;
use rabbit_reduce_runtime::figures::percent;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::shown::Shown;
use rabbit_reduce_runtime::standing::json::pretty;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Does it.
///
/// # Errors
/// With the exit code that the failure means.
pub(crate) async fn execute(top: Top, programs: Programs, quiet: bool, shutdown: Shutdown) -> Result<Exit, Failure> {
    let session = session(&top.broker, programs, quiet, shutdown).await?;
    let job = named(top.job, &top.broker)?;
    let asked = session.ask(Ask::Top { job, limit: top.limit }, &[]).await.map_err(failure)?;
    let (Answer::Top(found), _) = asked else {
        return Err(failure(SessionError::from(ClientError::Confused)));
    };
    if !top.json {
        session.screen.say(&label(&found));
    }
    print_text(&if top.json { told_json(&found) } else { told_text(&found) })
}

/// What the keys are of.
pub(crate) fn label(top: &message::Top) -> String {
    match top.chunks {
        _ if top.whole => "this is the result".to_owned(),
        Some(chunks) => {
            let percent = percent(top.counted.into(), chunks.into());
            format!(
                "so far: exact for at least {percent} % of the chunks ({} of {chunks}, in every partition)",
                top.counted
            )
        }
        None => format!("so far: exact for at least {} chunks, of a number that is not known yet", top.counted),
    }
}

fn told_text(top: &message::Top) -> String {
    let mut text = String::new();
    for (key, count) in &top.rows {
        writeln!(text, "{}\t{count}", Shown(&key.0)).expect("a string takes everything");
    }
    text
}

fn told_json(top: &message::Top) -> String {
    let rows: Value = top.rows.iter().map(|(key, count)| json!({ "key": key, "count": count })).collect();
    pretty(&json!({ "rows": rows, "counted_chunks": top.counted, "chunks": top.chunks, "exact": top.whole }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rabbit_reduce_core::spec::ByteText;

    #[test]
    fn the_label_says_what_the_keys_are_of() {
        let rows = vec![(ByteText(b"a\x1b".to_vec()), 3)];
        let top = message::Top { rows, counted: 73, chunks: Some(100), whole: false };
        assert_eq!(label(&top), "so far: exact for at least 73 % of the chunks (73 of 100, in every partition)");
        assert_eq!(told_text(&top), "a\\u{1b}\t3\n");
        assert!(label(&message::Top { chunks: None, ..top.clone() }).contains("not known yet"));
        assert_eq!(label(&message::Top { whole: true, ..top }), "this is the result");
    }
}
