//! A suspect, mapped in a process of its own: what kills that process kills nothing else.
//!
//! Both ends of the pipe between them, and no broker. The parent writes the task's message; the child answers with the messages
//! to publish, each in a frame (`frame.rs`), and then with its verdict. What would surprise: a child that ends without a
//! verdict has died of its task; it notes in a file at which
//! record it is, so that its parent can tell of which it died; and a child whose parent is gone ends at once.

use crate::Config;
use crate::frame;
pub(crate) use crate::frame::Verdict;
use crate::mapping::{Kept, map_task};
use crate::partials::{self, Addressed};
use bytes::Bytes;
use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::map::Watch;
use rabbit_reduce_core::message::{self, Task};
use rabbit_reduce_core::skip::Place;
use rabbit_reduce_runtime::crash_point;
use rabbit_reduce_runtime::scratch::ScratchFolder;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use tempfile::NamedTempFile;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// The flag that makes a worker's program map one task, for the parent that it names, and end.
pub(crate) const FLAG: &str = "--map-apart";
/// The flag that tells it where to note its progress.
const NOTES_FLAG: &str = "--notes";

/// What comes out of a child.
pub(crate) enum Said {
    /// A message to publish.
    Message(Addressed),
    /// The last thing.
    Verdict(Verdict),
    /// It died: how, and at which record if anybody knows.
    Died(String, Option<Place>),
}

/// A child at work.
pub(crate) struct Apart {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Where the child notes its progress.
    notes: NamedTempFile,
}

impl Apart {
    /// Starts a child on a task's message.
    ///
    /// # Errors
    /// Fails if there can be no process.
    pub(crate) async fn start(program: &Path, config: &Config, task: &Bytes) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg0("worker").arg(FLAG).arg(&config.name).arg("--memory").arg(config.budget_bytes().to_string());
        command.arg("--temporary").arg(&config.scratch);
        let notes = NamedTempFile::new_in(&config.scratch)?;
        command.arg(NOTES_FLAG).arg(notes.path());
        for root in config.roots.folders() {
            command.arg("--input-root").arg(root);
        }
        command.arg("--module-silence").arg(format!("{}ms", config.module_silence.as_millis()));
        if let Some(limits) = config.commands {
            command.arg("--allow-commands");
            command.arg("--command-silence").arg(format!("{}ms", limits.silence.as_millis()));
            command.arg("--command-memory").arg(limits.memory_bytes.to_string());
        }
        // It talks to no broker: until it has shut others out, commands of other jobs could read what it was started with.
        hide_secrets(&mut command, std::env::vars_os().map(|(name, _)| name));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut input = child.stdin.take().expect("it was piped");
        let length = u32::try_from(task.len()).expect("messages are bounded");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        // A child that dies before it has read everything says more by how it dies.
        drop(input.write_all(&length.to_le_bytes()).await);
        drop(input.write_all(task).await);
        drop(input.flush().await);
        // The pipe stays open: its end tells the child that we are gone.
        child.stdin = Some(input);
        Ok(Self { child, output, notes })
    }

    /// What the child says next; after a verdict or a death nothing more.
    ///
    /// # Errors
    /// Fails if nobody can tell how it ended.
    pub(crate) async fn next(&mut self) -> io::Result<Said> {
        match frame::read(&mut self.output).await {
            Ok((name, body)) if name.is_empty() => match serde_json::from_slice(&body) {
                Ok(verdict) => Ok(Said::Verdict(verdict)),
                Err(error) => Ok(Said::Died(format!("its last word makes no sense: {error}"), None)),
            },
            Ok(message) => Ok(Said::Message(message)),
            Err(error) => {
                // What writes nonsense is as good as dead.
                self.child.start_kill().or_else(gone_already)?;
                let status = self.child.wait().await?;
                let how =
                    if error.kind() == io::ErrorKind::UnexpectedEof { status.to_string() } else { error.to_string() };
                let place = Notes::read(&mut self.notes.reopen()?)?;
                Ok(Said::Died(format!("the process that mapped it died ({how})"), place))
            }
        }
    }
}

/// Takes away those of our variables that may hold a password.
fn hide_secrets(command: &mut Command, names: impl Iterator<Item = OsString>) {
    let is_secret = |name: &OsString| {
        name == "AMQP_URL" || name == "RABBIT_REDUCE_BROKER_URL" || name.as_encoded_bytes().starts_with(b"AWS_")
    };
    for name in names.filter(is_secret) {
        command.env_remove(name);
    }
}

/// Nobody is left to be killed.
fn gone_already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) }
}

/// The child's side: maps the one task that comes in, and writes what is to be published.
///
/// # Errors
/// Fails if the parent is gone.
pub(crate) fn map_for_parent(config: &Config, notes: &Path) -> io::Result<()> {
    let mut notes = Notes(File::options().write(true).open(notes)?);
    let mut length = [0; 4];
    io::stdin().read_exact(&mut length)?;
    let mut task = vec![0; (u32::from_le_bytes(length) as usize).min(frame::MAX_BYTES)];
    io::stdin().read_exact(&mut task)?;
    std::thread::spawn(leave_with_parent);
    let mut output = BufWriter::new(io::stdout().lock());
    let verdict = map_into(&task.into(), config, &mut notes, &mut output)?;
    frame::write(&mut output, "", &serde_json::to_vec(&verdict).expect("a verdict is plain data"))?;
    output.flush()
}

/// Nothing more comes in: the parent holds the pipe as long as it lives.
#[expect(clippy::disallowed_methods, reason = "nobody is left to hear an exit code")]
fn leave_with_parent() {
    drop(io::stdin().read(&mut [0]));
    rabbit_reduce_runtime::command::leave();
    std::process::exit(0);
}

fn map_into(task: &Bytes, config: &Config, notes: &mut Notes, output: &mut impl Write) -> io::Result<Verdict> {
    let failed = |reason: String, may_pass| Ok(Verdict::Failed { reason, may_pass, record: None });
    let (task, input) = match message::decode::<Task>(task) {
        Ok(decoded) => decoded,
        Err(error) => return failed(error.to_string(), false),
    };
    let scratch = ScratchFolder(config.scratch.clone());
    let memory = usize::try_from(config.memory_bytes).unwrap_or(usize::MAX);
    let mapped =
        match map_task(&task, &input, &Kept::new(config.programs.clone()), &config.roots, &scratch, memory, notes) {
            Ok(mapped) => mapped,
            Err(error) => {
                let (may_pass, record) = (error.may_pass(), error.record());
                return Ok(Verdict::Failed { reason: error.to_string(), may_pass, record });
            }
        };
    // From here on no record is to blame.
    notes.clear()?;
    for message in partials::messages(task, mapped, config.name.clone()) {
        match message {
            Ok((name, message)) => frame::write(output, &name, &message)?,
            Err(error) => return failed(error.to_string(), true),
        }
    }
    Ok(Verdict::Mapped)
}

/// At which record a child is: twelve bytes of a file, which outlive it.
struct Notes(File);

impl Notes {
    const BYTES: usize = 12;

    /// What a child noted last.
    fn read(from: &mut File) -> io::Result<Option<Place>> {
        let mut noted = Vec::new();
        from.take(Self::BYTES as u64).read_to_end(&mut noted)?;
        let Ok(noted) = <[u8; Self::BYTES]>::try_from(noted) else { return Ok(None) };
        let (source, offset) = noted.split_at(4);
        let source = SourceNumber(u32::from_le_bytes(source.try_into().expect("four bytes")));
        Ok(Some(Place { source, offset: u64::from_le_bytes(offset.try_into().expect("eight bytes")) }))
    }

    fn clear(&self) -> io::Result<()> {
        self.0.set_len(0)
    }
}

impl Watch for Notes {
    fn record(&mut self, place: Option<Place>, bytes: &[u8]) {
        if let Some(place) = place {
            let mut noted = [0; Self::BYTES];
            noted[..4].copy_from_slice(&place.source.0.to_le_bytes());
            noted[4..].copy_from_slice(&place.offset.to_le_bytes());
            // Without a note the chunk is lost, and not the record alone.
            drop(self.0.write_all_at(&noted, 0));
        }
        crash_point::tasted(bytes);
    }

    fn needs_each(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_with_a_password_goes_with_a_child() {
        let mut command = Command::new("worker");
        let names = ["PATH", "AMQP_URL", "RABBIT_REDUCE_LOG", "AWS_SECRET_ACCESS_KEY", "RABBIT_REDUCE_BROKER_URL"];
        hide_secrets(&mut command, names.into_iter().map(OsString::from));
        let hidden: Vec<_> =
            command.as_std().get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert_eq!(hidden, ["AMQP_URL", "AWS_SECRET_ACCESS_KEY", "RABBIT_REDUCE_BROKER_URL"]);
    }
}
