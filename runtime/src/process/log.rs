//! Logs: to stderr, never to stdout, terse for people and dated for files.
//!
//! It knows no role; which crates are ours is a list here. What would surprise: `-v` and `-q` win over the environment,
//! since they were typed for this one run.

use super::args::{LogArgs, LogFormat};
use crate::shown::Shown;
use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{self, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that holds a filter, as `debug` or `warn,rabbit_reduce_runtime=trace`.
pub const VARIABLE: &str = "RABBIT_REDUCE_LOG";
/// What our libraries and binaries are called in a filter; a name covers all that begin with it.
const OURS: [&str; 4] = ["rabbit_reduce", "producer", "worker", "aggregator"];

/// Lapin logs whole messages, and payloads have no place in a log; what matters of its errors reaches us as errors.
const SILENT: &str = "lapin=off";

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The environment asks for something that is no filter.
    #[error("{VARIABLE}={text} is no filter: {source}; write a level (error, warn, info, debug, trace)")]
    Filter {
        /// What the variable holds.
        text: String,
        /// Why it is none.
        source: ParseError,
    },
    /// Someone set logs up before.
    #[error("logs are set up already")]
    Twice(#[source] TryInitError),
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    times: bool,
    colour: bool,
    json: bool,
}

/// Sends what is logged from here on to stderr. Call it once, first thing in `main`.
///
/// # Errors
/// Fails if the environment asks for something that is no filter, or logs are set up already.
pub fn start(args: &LogArgs) -> Result<(), LogError> {
    let filter = filter(args, std::env::var(VARIABLE).ok().as_deref())?;
    let named = |name| std::env::var(name).unwrap_or_default();
    let style = Style::new(io::stderr().is_terminal(), &named("NO_COLOR"), &named("TERM"));
    let style = Style { json: args.log_format == LogFormat::Json, ..style };
    subscriber(filter, style, io::stderr).try_init().map_err(LogError::Twice)
}

impl Style {
    fn new(terminal: bool, no_color: &str, term: &str) -> Self {
        Self { times: !terminal, colour: terminal && no_color.is_empty() && term != "dumb", json: false }
    }
}

fn filter(args: &LogArgs, variable: Option<&str>) -> Result<EnvFilter, LogError> {
    let text = match (variable, args.quiet, args.verbose) {
        (_, true, _) => format!("error,{SILENT}"),
        // Who names lapin gets what it logs.
        (Some(text), _, 0) if text.contains("lapin") => text.to_owned(),
        (Some(text), _, 0) if !text.is_empty() => format!("{text},{SILENT}"),
        (_, _, 0) => levels("info", "warn"),
        (_, _, 1) => levels("debug", "warn"),
        (_, _, 2) => levels("trace", "info"),
        (_, _, _) => format!("trace,{SILENT}"),
    };
    EnvFilter::try_new(&text)
        .map_err(|source| LogError::Filter { text: variable.unwrap_or_default().to_owned(), source })
}

fn levels(ours: &str, others: &str) -> String {
    let ours = OURS.map(|name| format!("{name}={ours}"));
    format!("{others},{SILENT},{}", ours.join(","))
}

fn subscriber<W>(filter: EnvFilter, style: Style, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let people = |lines: fmt::Layer<_, _, _, W>| {
        lines.compact().fmt_fields(OnOneLine).with_target(false).with_ansi(style.colour)
    };
    let lines = match style {
        Style { json: true, .. } => lines.json().flatten_event(true).with_ansi(false).boxed(),
        Style { times: true, .. } => people(lines).boxed(),
        Style { times: false, .. } => people(lines).without_time().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines)
}

/// What is logged may hold names and reasons of strangers: none of it begins another line, or commands a terminal.
struct OnOneLine;

impl<'w> FormatFields<'w> for OnOneLine {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> std::fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        write!(out, "{}", Shown(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What is logged at each level by us and by a library.
    fn logged(args: &LogArgs, variable: Option<&str>, style: Style) -> String {
        let written = Written::default();
        let filter = filter(args, variable).unwrap();
        let writer = written.clone();
        tracing::subscriber::with_default(subscriber(filter, style, move || writer.clone()), || {
            tracing::info!(target: "tokio", "library");
            tracing::warn!(target: "tokio", "library");
            tracing::error!(target: "lapin", "a payload");
            tracing::debug!(chunk = 17, "mapped");
            tracing::info!(chunk = 17, "mapped");
            tracing::error!("lost");
        });
        let text = written.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PLAIN: Style = Style { times: false, colour: false, json: false };

    #[test]
    fn a_line_is_terse() {
        assert_eq!(
            logged(&LogArgs::default(), None, PLAIN),
            " WARN library\n INFO mapped chunk=17\nERROR lost\n".to_owned()
        );
    }

    #[test]
    fn a_library_that_logs_payloads_is_silent_at_every_level() {
        for verbose in 0..4 {
            let said = logged(&LogArgs { verbose, ..LogArgs::default() }, None, PLAIN);
            assert!(!said.contains("payload"), "{verbose}: {said}");
        }
    }

    #[test]
    fn flags_say_how_much() {
        let quiet = LogArgs { quiet: true, ..LogArgs::default() };
        assert_eq!(logged(&quiet, Some("trace"), PLAIN), "ERROR lost\n");
        let verbose = |verbose| logged(&LogArgs { verbose, ..LogArgs::default() }, Some("off"), PLAIN).lines().count();
        assert_eq!([verbose(1), verbose(2), verbose(3)], [4, 5, 5]);
        assert_eq!(logged(&LogArgs::default(), Some("error"), PLAIN), "ERROR lost\n");
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        let error = filter(&LogArgs::default(), Some("rabbit=loud")).unwrap_err().to_string();
        assert!(error.starts_with("RABBIT_REDUCE_LOG=rabbit=loud is no filter"), "{error}");
    }

    #[test]
    fn files_get_times_and_terminals_colour() {
        assert_eq!(Style::new(false, "", "xterm"), Style { times: true, colour: false, json: false });
        assert_eq!(Style::new(true, "", "xterm"), Style { times: false, colour: true, json: false });
        assert_eq!(Style::new(true, "1", "xterm"), PLAIN);
        assert_eq!(Style::new(true, "", "dumb"), PLAIN);
        let dated = logged(&LogArgs::default(), Some("error"), Style { times: true, colour: false, json: false });
        assert!(dated.starts_with("20") && dated.ends_with("Z ERROR lost\n"), "{dated}");
        assert!(logged(&LogArgs::default(), None, Style { times: false, colour: true, json: false }).contains('\x1b'));
    }

    #[test]
    fn what_strangers_say_begins_no_line_and_commands_no_terminal() {
        for style in [PLAIN, Style { colour: true, ..PLAIN }, Style { json: true, ..PLAIN }] {
            let written = Written::default();
            let (writer, filter) = (written.clone(), filter(&LogArgs::default(), Some("info")).unwrap());
            tracing::subscriber::with_default(subscriber(filter, style, move || writer.clone()), || {
                let worker = "w\nERROR all is lost\r\u{1b}]0;x\u{7}\u{202e}";
                tracing::info!(%worker, debugged = ?worker, written = worker, "they say {worker}");
            });
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text:?}");
            let commands = ["\r", "\u{1b}]", "\u{7}", "\u{202e}"];
            let allowed = if style.json { &commands[..3] } else { &commands[..] };
            assert!(!allowed.iter().any(|command| text.contains(command)), "{text:?}");
            assert!(text.contains("all is lost"), "{text:?}");
        }
    }

    #[test]
    fn for_programs_every_line_is_an_object() {
        let json = Style { json: true, ..PLAIN };
        let said = logged(&LogArgs::default(), None, json);
        let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert_eq!((&lines[1]["message"], &lines[1]["chunk"]), (&"mapped".into(), &17.into()));
        assert_eq!((&lines[2]["level"], lines[2]["timestamp"].is_string()), (&"ERROR".into(), true));
    }
}
