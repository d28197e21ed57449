//! Flags out of a file: what a person would otherwise give each time, in TOML.
//!
//! What is read is what the flags are called. Shared flags may stand at the top, all others in the table of their program, or of
//! a command of it. A flag given, or its variable, comes before the file; the file before the default. What would surprise: a
//! setting becomes the default of its flag, so the flag's own parser judges it.

use super::exit::Exit;
use super::{args, complain};
use clap::builder::OsStr;
use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory, FromArgMatches};
use rabbit_reduce_core::jobs::nearest;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};
use toml::{Table, Value};

/// The flag that names the file.
const FLAG: &str = "config";
/// Its variable.
const VARIABLE: &str = "RABBIT_REDUCE_CONFIG";
/// The file where the process stands.
const HERE: &str = "rabbit-reduce.toml";
/// The file beneath the folder of a person's configuration.
const OF_PERSON: &str = "rabbit-reduce/config.toml";
/// The programs: each may have a table.
pub const PROGRAMS: [&str; 3] = ["producer", "worker", "aggregator"];
/// Flags that a file cannot give: what they do is meant once.
const NOT_IN_FILES: [&str; 5] = [FLAG, "yes", "help", "version", "then"];
/// Flags that mean nothing without each other.
const PAIRS: [(&str, &str); 2] = [("broker-cert", "broker-key"), ("http-cert", "http-key")];

/// A file with settings.
#[derive(Debug)]
pub struct Config {
    /// Where it is.
    pub path: PathBuf,
    table: Table,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("{} cannot be read: {cause}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Its form.
    #[error("{}: {}", .path.display(), said(.cause))]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
    /// A setting.
    #[error("{}: {setting}: {reason}", .path.display())]
    Setting {
        /// Where.
        path: PathBuf,
        /// Its name, with its tables.
        setting: String,
        /// What is wrong.
        reason: String,
    },
}

/// The library's message, in one line.
fn said(error: &toml::de::Error) -> String {
    error.to_string().lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// Its name, with its tables.
    pub name: String,
    /// What it is set to; not what may hold a password.
    pub value: String,
}

impl Config {
    /// The file that the command line names, or else the environment, or else the one that is found.
    ///
    /// # Errors
    /// If one that is named cannot be read, or any is no TOML.
    pub fn find(line: &[OsString]) -> Result<Option<Self>, ConfigError> {
        let named = named(line).or_else(|| env::var_os(VARIABLE).filter(|name| !name.is_empty()));
        if let Some(path) = named {
            return Self::read(path.into()).map(Some);
        }
        let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
        let folder = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let of_person = folder.or_else(home).map(|folder| folder.join(OF_PERSON));
        for path in [Some(PathBuf::from(HERE)), of_person].into_iter().flatten() {
            match Self::read(path) {
                Err(ConfigError::Unreadable { cause, .. })
                    if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    /// The file at a path.
    ///
    /// # Errors
    /// If it cannot be read, or is no TOML.
    pub fn read(path: PathBuf) -> Result<Self, ConfigError> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) => return Err(ConfigError::Unreadable { path, cause }),
        };
        match text.parse::<Table>() {
            Ok(table) => Ok(Self { path, table }),
            Err(cause) => Err(ConfigError::Malformed { path, cause: Box::new(cause) }),
        }
    }

    /// Makes what is set the defaults of a program's flags, and tells what that is.
    ///
    /// # Errors
    /// Names a setting that is no flag, or has no form of one.
    pub fn apply(&self, program: &str, command: Command) -> Result<(Command, Vec<Setting>), ConfigError> {
        let (mut top, mut own) = (Table::new(), Table::new());
        for (key, value) in &self.table {
            match value {
                Value::Table(table) if PROGRAMS.contains(&key.as_str()) => {
                    if key == program {
                        own = table.clone();
                    }
                }
                _ => drop(top.insert(key.clone(), value.clone())),
            }
        }
        let mut applied = Applied { path: &self.path, settings: Vec::new() };
        let shared = args::shared_flags();
        for key in top.keys().filter(|key| !shared.contains(key)) {
            let known = shared.iter().map(String::as_str).chain(PROGRAMS);
            let reason = format!(
                "what not all programs take stands in the table of one: [producer], [worker] or [aggregator]{}",
                DidYouMean(nearest(key, known))
            );
            return Err(applied.wrong(key, reason));
        }
        let command = applied.table("", &top, command)?;
        let command = applied.table(program, &own, command)?;
        Ok((command, applied.settings))
    }
}

struct DidYouMean<'n>(Option<&'n str>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(out, "; did you mean `{name}`?"))
    }
}

struct Applied<'c> {
    path: &'c Path,
    settings: Vec<Setting>,
}

impl Applied<'_> {
    fn wrong(&self, setting: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Setting { path: self.path.to_owned(), setting: setting.to_owned(), reason: reason.into() }
    }

    /// A table, and the tables of commands in it.
    fn table(&mut self, name: &str, table: &Table, mut command: Command) -> Result<Command, ConfigError> {
        // What is set for one command comes after what is set for all.
        let (tables, flags): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
        for (key, value) in flags.into_iter().chain(tables) {
            let setting = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            if let Value::Table(inner) = value {
                let Some(named) = command.find_subcommand(key).map(|found| found.get_name().to_owned()) else {
                    let commands = command.get_subcommands().map(Command::get_name);
                    return Err(
                        self.wrong(&setting, format!("there is no such command{}", DidYouMean(nearest(key, commands))))
                    );
                };
                let mut failed = None;
                command = command.mut_subcommand(named, |sub| match self.table(&setting, inner, sub.clone()) {
                    Ok(sub) => sub,
                    Err(error) => {
                        failed = Some(error);
                        sub
                    }
                });
                if let Some(error) = failed {
                    return Err(error);
                }
                continue;
            }
            let values = values(value).map_err(|reason| self.wrong(&setting, reason))?;
            let mut flags = BTreeMap::new();
            collect_flags(&command, &mut flags);
            let Some(&secret) = flags.get(key).filter(|_| !NOT_IN_FILES.contains(&key.as_str())) else {
                let known = flags.keys().map(String::as_str).filter(|flag| !NOT_IN_FILES.contains(flag));
                return Err(self.wrong(&setting, format!("there is no such flag{}", DidYouMean(nearest(key, known)))));
            };
            command = with_default(command, key, &values);
            let value = if secret { "…".to_owned() } else { values.join(", ") };
            self.settings.push(Setting { name: setting, value });
        }
        for (one, other) in PAIRS {
            if table.contains_key(one) != table.contains_key(other) {
                let (there, missing) = if table.contains_key(one) { (one, other) } else { (other, one) };
                return Err(self.wrong(there, format!("it means nothing without {missing}")));
            }
        }
        Ok(command)
    }
}

/// The long names of a command's flags, and of those of its commands, each with whether its value is not for everybody's eyes.
fn collect_flags(command: &Command, flags: &mut BTreeMap<String, bool>) {
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        if let Some(name) = flag.get_long() {
            flags.insert(name.to_owned(), flag.is_hide_env_values_set());
        }
    }
    command.get_subcommands().for_each(|sub| collect_flags(sub, flags));
}

/// Wherever the flag is.
fn with_default(command: Command, name: &str, values: &[String]) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = command.mut_args(|flag| {
        if flag.get_long() != Some(name) {
            return flag;
        }
        flag.default_values(values.iter().cloned().map(OsStr::from))
    });
    names.into_iter().fold(command, |command, sub| command.mut_subcommand(sub, |sub| with_default(sub, name, values)))
}

/// A value as a command line would have it.
fn values(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Integer(number) => Ok(vec![number.to_string()]),
        Value::Float(number) => Ok(vec![number.to_string()]),
        Value::Boolean(truth) => Ok(vec![truth.to_string()]),
        Value::Array(items) if !items.is_empty() => {
            let items: Vec<Vec<String>> = items.iter().map(values).collect::<Result<_, _>>()?;
            Ok(items.concat())
        }
        Value::Array(_) => Err("it is empty: leave it out".to_owned()),
        Value::Datetime(_) | Value::Table(_) => Err("it is text, a number, true, false, or a list of these".to_owned()),
    }
}

/// What `--config` says on a command line.
fn named(line: &[OsString]) -> Option<OsString> {
    let mut words = line.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().cloned();
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    None
}

/// What a setting is wrong in, by the parsers of the flags, if it is.
///
/// # Errors
/// The first thing that a parser says.
pub fn check_values(command: &Command) -> Result<(), String> {
    let all = command.get_subcommands().next().is_none();
    let tried = command.clone().try_get_matches_from([command.get_name()]);
    match tried {
        Err(error) if all && matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) => {
            Err(error.render().to_string())
        }
        _ => command.get_subcommands().try_for_each(check_values),
    }
}

/// A program's flags: of its command line, its environment, and the file.
///
/// # Errors
/// The exit code, once it is told why there are none: what is wrong with them, or that somebody asked for help.
pub fn parse<C: CommandFactory + FromArgMatches>(
    program: &str,
    line: impl IntoIterator<Item = OsString>,
) -> Result<C, ExitCode> {
    let line: Vec<OsString> = line.into_iter().collect();
    let applied = Config::find(&line).and_then(|config| match config {
        None => Ok((C::command(), None)),
        Some(config) => {
            let (command, settings) = config.apply(program, C::command())?;
            Ok((command, (!settings.is_empty()).then_some(config.path)))
        }
    });
    let (command, from) = applied.map_err(|error| {
        complain(&error.to_string());
        ExitCode::from(Exit::Usage)
    })?;
    let matches = command.try_get_matches_from(line);
    matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches)).map_err(|error| {
        // Who closed what it is written to has read enough.
        drop(error.print());
        if let Some(path) = from.filter(|_| error.use_stderr()) {
            complain(&format!("flags also come from {}", path.display()));
        }
        if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
    })
}

/// The flag that names the file; it was read before.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// File with flags, in TOML [default: ./rabbit-reduce.toml, or rabbit-reduce/config.toml beneath XDG_CONFIG_HOME]
    #[arg(long, env = "RABBIT_REDUCE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
