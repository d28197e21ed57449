//! What the file says that flags come from, and what of it is wrong.
//!
//! It is about all three programs: the file is theirs together. What would surprise: no value is judged here; the parsers of the
//! flags are asked.

use crate::cli;
use crate::print_text;
use clap::CommandFactory;
use rabbit_reduce_runtime::process::config::{Config, ConfigError, Setting};
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::shown::Shown;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Does it.
///
/// # Errors
/// With the exit code that the failure means: something in it is wrong.
pub(crate) fn execute(named: Option<PathBuf>) -> Result<Exit, Failure> {
    let usage = |error: ConfigError| Failure::new(Exit::Usage, error);
    let Some(config) = Config::find(named).map_err(usage)? else {
        return print_text("there is no file: flags come from the command line and the environment alone\n");
    };
    let mut takers = BTreeMap::<Setting, Vec<&str>>::new();
    for (program, command) in [
        ("producer", cli::Cli::command()),
        ("worker", rabbit_reduce_worker::cli::Cli::command()),
        ("aggregator", rabbit_reduce_aggregator::cli::Cli::command()),
    ] {
        let settings = config.settings(program, &command).map_err(usage)?;
        config
            .check(&command, &settings)
            .map_err(|wrong| Failure::new(Exit::Usage, format!("{}: {program}: {wrong}", config.path.display())))?;
        settings.into_iter().for_each(|setting| takers.entry(setting).or_default().push(program));
    }
    print_text(&told(&config.path.display().to_string(), &takers))
}

/// Where the file is, and a line a setting: its name, its value, and who takes it.
fn told(path: &str, takers: &BTreeMap<Setting, Vec<&str>>) -> String {
    let mut text = format!("{path}\n");
    let widest = takers.keys().map(|setting| setting.name.len()).max().unwrap_or_default();
    for (Setting { name, shown, .. }, programs) in takers {
        let takers = if programs.len() == 3 { "all programs".to_owned() } else { programs.join(", ") };
        writeln!(text, "  {name:<widest$} = {} ({takers})", Shown(shown.as_bytes()))
            .expect("a string takes everything");
    }
    text
}
