//! Flags out of a file: what a person would otherwise give each time, in TOML.
//!
//! What is read is what the flags are called. Shared flags may stand at the top, all others in the table of their program, or of
//! a command of it. A flag given, or its variable, comes before the file; the file before the default. What would surprise: a
//! setting is put into the command line, where nobody has said otherwise, so that the flag's own parser judges it.

use super::exit::Exit;
use super::{args, complain};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use rabbit_reduce_core::nearest::{DidYouMean, nearest};
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, io};
use toml::{Table, Value};

/// The flag that names the file.
const FLAG: &str = "config";
/// The file where the process stands.
const HERE: &str = "rabbit-reduce.toml";
/// The file beneath the folder of a person's configuration.
const OF_PERSON: &str = "rabbit-reduce/config.toml";
/// Bytes of such a file, at the most.
const MAX_BYTES: u64 = 1 << 20;
/// The programs: each may have a table.
const PROGRAMS: [&str; 3] = ["producer", "worker", "aggregator"];
/// Flags that a file cannot give: what they do is meant once.
const NOT_IN_FILES: [&str; 5] = [FLAG, "yes", "help", "version", "then"];
/// Flags that run something, open something up, write or delete files, or say where passwords and input go to: not from a file
/// that only happened to lie in the current folder.
const NOT_IN_FOUND_FILES: [&str; 28] = [
    "namespace",
    "mapper",
    "combiner",
    "reducer",
    "program",
    "file",
    "allow-commands",
    "broker-url",
    "broker-password-file",
    "broker-ca",
    "broker-cert",
    "broker-key",
    "management-url",
    "passwords",
    "http",
    "http-host",
    "http-token-file",
    "http-cert",
    "http-key",
    "store",
    "temporary",
    "input-root",
    "files-from",
    "output",
    "parts",
    "keep",
    "all",
    "unknown",
];
/// Flags of which one at most is meant: who gives one takes back what the file says of the others.
const EXCLUSIVE: [&[&str]; 4] =
    [&["output", "parts"], &["tokens", "token-regex"], &["sort", "top", "parts"], &["verbose", "quiet"]];
/// Commands that have no use for a file, and are asked by shells as they start.
const NO_FILE: [&str; 1] = ["completions"];
/// Flags that may tell what is not for everybody, beside those whose variables are not shown.
const SECRET: [&str; 1] = ["set"];

/// A file with settings.
#[derive(Debug)]
pub struct Config {
    /// Where it is.
    pub path: PathBuf,
    /// Nobody named it: it lies in the current folder.
    found_here: bool,
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
    #[error("{}, line {line}: {reason}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Why; without what stands there, which may be a password.
        reason: String,
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

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// Its name, with its tables.
    pub name: String,
    /// What it is set to; not what may hold a password.
    pub shown: String,
    flag: String,
    values: Vec<String>,
    /// The commands that it is for, from the program's on: all beneath these.
    commands: Vec<String>,
}

impl Config {
    /// The file of this name, or else the one that is found.
    ///
    /// # Errors
    /// If one that is named cannot be read, or any is no TOML.
    pub fn find(named: Option<PathBuf>) -> Result<Option<Self>, ConfigError> {
        if let Some(path) = named {
            return Self::read(path).map(Some);
        }
        let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
        let folder = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let of_person = folder.or_else(home).map(|folder| (folder.join(OF_PERSON), false));
        for (path, found_here) in [Some((PathBuf::from(HERE), true)), of_person].into_iter().flatten() {
            match Self::read_as(path, found_here) {
                // A folder that we may not look into has nothing for us: a service has no home.
                Err(ConfigError::Unreadable { cause, .. })
                    if matches!(
                        cause.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
                    ) => {}
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
        Self::read_as(path, false)
    }

    fn read_as(path: PathBuf, found_here: bool) -> Result<Self, ConfigError> {
        let text = match text_of(&path, found_here) {
            Ok(text) => text,
            Err(cause) => return Err(ConfigError::Unreadable { path, cause }),
        };
        text.parse::<Table>().map(|table| Self { path: path.clone(), found_here, table }).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
            ConfigError::Malformed { path, line, reason: error.message().lines().collect::<Vec<_>>().join(" ") }
        })
    }

    /// What it sets for a program.
    ///
    /// # Errors
    /// Names a setting that is no flag, or has no form of one.
    pub fn settings(&self, program: &str, command: &Command) -> Result<Vec<Setting>, ConfigError> {
        let shared = args::shared_flags();
        let (mut top, mut own) = (Table::new(), None);
        for (key, value) in &self.table {
            match value {
                Value::Table(table) if PROGRAMS.contains(&key.as_str()) => {
                    own = own.or_else(|| (key == program).then_some(table));
                }
                _ if shared.contains(key) => drop(top.insert(key.clone(), value.clone())),
                _ => {
                    let known = shared.iter().map(String::as_str).chain(PROGRAMS);
                    let reason = format!(
                        "what not all programs take stands in the table of one: [producer], [worker] or [aggregator]{}",
                        DidYouMean(nearest(key, known))
                    );
                    return Err(self.wrong(key, reason));
                }
            }
        }
        let mut settings = Vec::new();
        self.take("", &top, command, &[], &mut settings)?;
        if let Some(own) = own {
            self.take(program, own, command, &[], &mut settings)?;
        }
        Ok(settings)
    }

    fn wrong(&self, setting: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Setting { path: self.path.clone(), setting: setting.to_owned(), reason: reason.into() }
    }

    /// Takes a table, and the tables of commands in it.
    fn take(
        &self,
        name: &str,
        table: &Table,
        command: &Command,
        commands: &[String],
        settings: &mut Vec<Setting>,
    ) -> Result<(), ConfigError> {
        // What is set for one command comes after what is set for all.
        let (tables, flags): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
        let whole = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        for (key, value) in flags {
            let wrong = |reason: String| self.wrong(&whole(key), reason);
            let mut known = Vec::new();
            collect_flags(command, &mut known);
            known.retain(|flag| !NOT_IN_FILES.contains(&flag.get_long().unwrap_or_default()));
            let Some(flag) = known.iter().find(|flag| flag.get_long() == Some(key)) else {
                let names = known.iter().filter_map(|flag| flag.get_long());
                return Err(wrong(format!("there is no such flag{}", DidYouMean(nearest(key, names)))));
            };
            if self.found_here && NOT_IN_FOUND_FILES.contains(&key.as_str()) {
                let reason =
                    "it is not taken from a file that only lies in the current folder: name that with --config";
                return Err(wrong(reason.to_owned()));
            }
            let values = values(value, flag).map_err(wrong)?;
            let secret = flag.is_hide_env_values_set() || SECRET.contains(&key.as_str());
            let shown = if secret { "…".to_owned() } else { values.join(", ") };
            let (name, flag, commands) = (whole(key), key.clone(), commands.to_vec());
            settings.push(Setting { name, shown, flag, values, commands });
        }
        for (key, value) in tables {
            let Some(sub) = command.find_subcommand(key) else {
                let known = command.get_subcommands().map(Command::get_name);
                return Err(
                    self.wrong(&whole(key), format!("there is no such command{}", DidYouMean(nearest(key, known))))
                );
            };
            let commands = [commands, std::slice::from_ref(key)].concat();
            self.take(&whole(key), value.as_table().expect("it is one"), sub, &commands, settings)?;
        }
        Ok(())
    }

    /// Tries what it sets with the parsers of a program's flags, command by command, whatever the environment says.
    ///
    /// # Errors
    /// The first thing that a parser says, in a line.
    pub fn check(&self, command: &Command, settings: &[Setting]) -> Result<(), String> {
        let mut leaves = Vec::new();
        collect_leaves(command, &[], &mut leaves);
        for (path, leaf) in leaves {
            let given = given(settings, &path, leaf, |_| false);
            let alone = leaf.clone().mut_args(|flag| flag.env(None));
            let line = std::iter::once(OsString::from(leaf.get_name())).chain(given);
            if let Err(error) = alone.try_get_matches_from(line)
                && error.kind() != ErrorKind::MissingRequiredArgument
                && error.use_stderr()
            {
                let text = error.render().to_string();
                let first = text.lines().next().unwrap_or_default();
                return Err(first.strip_prefix("error: ").unwrap_or(first).to_owned());
            }
        }
        Ok(())
    }
}

/// The text of a file that is no longer than any such file is. One that was only found has to be a file; what somebody has named
/// may be anything that has an end.
fn text_of(path: &Path, found_here: bool) -> io::Result<String> {
    let mut options = File::options();
    if found_here {
        // Else a pipe would have us wait for somebody who writes to it.
        options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    }
    let file = options.read(true).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if found_here && !found.is_file() {
        return Err(io::Error::other("it is no regular file: name it with --config"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// The flags of a command, and of those beneath it.
fn collect_flags<'c>(command: &'c Command, flags: &mut Vec<&'c Arg>) {
    flags.extend(command.get_arguments().filter(|flag| !flag.is_hide_set() && flag.get_long().is_some()));
    command.get_subcommands().for_each(|sub| collect_flags(sub, flags));
}

/// The commands that do something, each with its way from the program's.
fn collect_leaves<'c>(command: &'c Command, path: &[String], leaves: &mut Vec<(Vec<String>, &'c Command)>) {
    if !command.has_subcommands() {
        leaves.push((path.to_vec(), command));
    }
    for sub in command.get_subcommands() {
        collect_leaves(sub, &[path, &[sub.get_name().to_owned()]].concat(), leaves);
    }
}

/// A value as a command line would have it: several only where a flag may be given again, or takes a list.
fn values(value: &Value, flag: &Arg) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err("it is text, a number, true, false, or a list of these".to_owned()),
    };
    let is_switch = !flag.get_action().takes_values();
    match value {
        Value::Array(items) if items.is_empty() => Err("it is empty: leave it out".to_owned()),
        Value::Array(_) if !matches!(flag.get_action(), ArgAction::Append) => Err("it takes one value".to_owned()),
        Value::Array(items) => items.iter().map(one).collect(),
        Value::Boolean(_) if is_switch => Ok(vec![one(value)?]),
        _ if is_switch => Err("it is true or false".to_owned()),
        value => Ok(vec![one(value)?]),
    }
}

/// The flags that settings give a command, but for those that are `said` otherwise; the last setting of a flag counts.
fn given(settings: &[Setting], path: &[String], leaf: &Command, said: impl Fn(&Arg) -> bool) -> Vec<OsString> {
    let mut given = Vec::new();
    let is_said = |name: &str| leaf.get_arguments().any(|flag| flag.get_long() == Some(name) && said(flag));
    for flag in leaf.get_arguments() {
        let Some(name) = flag.get_long() else { continue };
        let of_flag = |setting: &&Setting| setting.flag == name && path.starts_with(&setting.commands);
        let Some(setting) = settings.iter().rfind(of_flag) else { continue };
        let others = EXCLUSIVE.iter().filter(|group| group.contains(&name)).copied().flatten();
        if is_said(name) || others.into_iter().any(|other| is_said(other)) {
            continue;
        }
        for value in &setting.values {
            match (flag.get_action().takes_values(), value.as_str()) {
                (true, value) => given.push(format!("--{name}={value}").into()),
                (false, "true") => given.push(format!("--{name}").into()),
                (false, _) => {}
            }
        }
    }
    given
}

/// The command line with what the file gives, and that file; as it is, if it gives nothing.
fn filled(
    program: &str,
    command: &Command,
    line: Vec<OsString>,
) -> Result<(Vec<OsString>, Option<PathBuf>), ConfigError> {
    // Once over it, whatever is wrong with it: which command it is, which file it names, what it says.
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(&line) else { return Ok((line, None)) };
    let (mut leaf, mut found, mut path) = (command, &matches, Vec::new());
    while let Some((name, sub)) = found.subcommand()
        && let Some(next) = leaf.find_subcommand(name)
    {
        (leaf, found) = (next, sub);
        path.push(name.to_owned());
    }
    if path.last().is_some_and(|command| NO_FILE.contains(&command.as_str())) {
        return Ok((line, None));
    }
    // A variable that is set to nothing names nothing.
    let named = |found: &ArgMatches| {
        let named = found.try_get_one::<OsString>(FLAG).ok().flatten();
        named.filter(|path| !path.is_empty()).map(PathBuf::from)
    };
    let Some(config) = Config::find(named(found))? else { return Ok((line, None)) };
    let settings = config.settings(program, command)?;
    let said = |flag: &Arg| {
        let source = found.value_source(flag.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let given = given(&settings, &path, leaf, said);
    if given.is_empty() {
        return Ok((line, None));
    }
    // Behind the names of the commands, which come first: no flag stands before them.
    let before = (1 + path.len()).min(line.len());
    let filled = [&line[..before], &given, &line[before..]].concat();
    Ok((filled, Some(config.path)))
}

/// Flags, and the file that gave some of them.
#[derive(Debug)]
pub struct Parsed<C> {
    /// All of them.
    pub flags: C,
    /// Where some come from.
    pub from: Option<PathBuf>,
}

/// Tells whoever gave flags that do not go together that some come from a file.
pub fn tell_of(file: Option<&Path>) {
    if let Some(path) = file {
        complain(&format!("flags also come from {}", path.display()));
    }
}

/// A program's flags: of its command line, its environment, and the file.
///
/// # Errors
/// The exit code, once it is told why there are none: what is wrong with them, or that somebody asked for help.
pub fn parse<C: CommandFactory + FromArgMatches>(
    program: &str,
    line: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<C>, ExitCode> {
    let command = C::command();
    let (line, from) = filled(program, &command, line.into_iter().collect()).map_err(|error| {
        complain(&error.to_string());
        ExitCode::from(Exit::Usage)
    })?;
    let matches = command.try_get_matches_from(line);
    let parsed = matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.map(|flags| Parsed { flags, from: from.clone() }).map_err(|error| {
        // Who closed what it is written to has read enough.
        drop(error.print());
        if error.use_stderr() {
            tell_of(from.as_deref());
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
    pub config: Option<OsString>,
}

#[cfg(test)]
mod tests;
