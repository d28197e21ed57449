//! One process: what it reads on one side, what it writes on the other, and the limits within which it does.
//!
//! It knows no lines and no pairs. One thread does both sides, and waits for whichever is ready. What would surprise: time is
//! counted while a process neither reads nor writes, as long work is no fault; and when it ends, so does everything that it has
//! started, as far as that is still in its group.

use super::at_work::{self, Begun};
use super::descendants;
use crate::process::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Bytes read or written at once, and held on each side.
const BUFFER_BYTES: usize = 64 << 10;
/// The size of its pipes, if the system gives it: fewer changes between two processes.
const PIPE_BYTES: usize = 1 << 20;
/// How often it is looked at whether to stop, and what it takes.
const LOOK: Duration = Duration::from_millis(200);
/// How long a pipe may stay open behind the process that it was made for.
const GRACE: Duration = Duration::from_secs(1);
/// Of what it says on stderr, the last bytes that are kept.
const TAIL_BYTES: usize = 2 << 10;
/// The longest line of stderr that may be a report.
const REPORT_BYTES: usize = 8 << 10;

/// What a process may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may neither read nor write.
    pub silence: Duration,
    /// All of its processes together, in bytes.
    pub memory_bytes: u64,
    /// How many processes it may be.
    pub processes: usize,
}

/// Which process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invocation<'i> {
    /// The program and its arguments.
    pub words: &'i [String],
    /// Where it works.
    pub folder: &'i Path,
    /// Its whole environment.
    pub variables: &'i [(String, String)],
    /// What it may take.
    pub limits: Limits,
    /// What it may write, in bytes.
    pub output_bytes: u64,
}

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError<E: Debug> {
    /// It ended otherwise than with 0, or was ended.
    #[error("{how}{}", Said(said))]
    Failed {
        /// How it ended.
        how: String,
        /// The end of what it said.
        said: String,
    },
    /// It could not be started.
    #[error(
        "cannot start `{program}`: it must be in PATH, or named by an absolute path, on every machine that runs it"
    )]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A pipe to it, or what it was to be given.
    #[error("cannot talk to the command")]
    Pipe(#[from] io::Error),
    /// Who takes what it writes wants no more.
    #[error("what it writes cannot be taken: {0:?}")]
    Taker(E),
    /// Nobody wants it any more.
    #[error("nobody wants it any more")]
    Stopped,
}

struct Said<'s>(&'s str);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, ": {}", self.0) }
    }
}

/// Both sides of a process.
pub(super) trait Sides {
    /// Why no more is taken.
    type Error: Debug;

    /// Appends what it is to read next; nothing at the end.
    ///
    /// # Errors
    /// If that cannot be had.
    fn give(&mut self, input: &mut Vec<u8>) -> io::Result<()>;

    /// Takes what it writes.
    ///
    /// # Errors
    /// If no more of it is taken.
    fn take(&mut self, output: &[u8]) -> Result<(), Self::Error>;

    /// Hears a line of stderr. `true` if it was a report, and is not to be shown.
    fn hear(&mut self, line: &[u8]) -> bool;

    /// Whether nobody wants it any more.
    fn stops(&mut self) -> bool;
}

/// Runs a process to its end.
///
/// # Errors
/// If it does not end well.
pub(super) fn exchange<S: Sides>(invocation: &Invocation<'_>, sides: &mut S) -> Result<(), ExchangeError<S::Error>> {
    let mut running = Running::start(invocation)?;
    let talked = running.talk(invocation, sides);
    let ended = running.end();
    let said = || running.tail.text();
    match talked {
        Ok(()) => match ended? {
            status if status.success() => Ok(()),
            status => Err(ExchangeError::Failed { how: how(status), said: said() }),
        },
        Err(Ended::Broken(how)) => Err(ExchangeError::Failed { how, said: said() }),
        Err(Ended::Error(error)) => Err(error),
    }
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("it ended with exit status {code}"),
        None => format!("it was killed ({status})"),
    }
}

/// Why a talk ended early.
enum Ended<E: Debug> {
    /// A limit was broken.
    Broken(String),
    Error(ExchangeError<E>),
}

impl<E: Debug> From<io::Error> for Ended<E> {
    fn from(error: io::Error) -> Self {
        Self::Error(error.into())
    }
}

struct Running {
    child: Child,
    group: Pid,
    /// Until it is ended, who leaves knows of it.
    at_work: Option<Begun>,
    ended: bool,
    tail: Tail,
}

impl Running {
    fn start<E: Debug>(invocation: &Invocation<'_>) -> Result<Self, ExchangeError<E>> {
        let Invocation { words, folder, variables, limits, .. } = invocation;
        let (program, arguments) = words.split_first().expect("a command has a word");
        // Roles have done so at their start; a process that runs commands for one person alone has not.
        super::keep_from_commands()?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env_clear().envs(variables.iter().cloned()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let child = started.map_err(|source| match source.kind() {
            // A machine that is out of processes or memory may have some later.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
                ExchangeError::Start { program: program.clone(), source }
            }
            _ => ExchangeError::Pipe(source),
        })?;
        let group = Pid::from_child(&child);
        // What it maps beyond that fails; all of its processes together are looked at now and then.
        let limit = Rlimit { current: Some(limits.memory_bytes), maximum: Some(limits.memory_bytes) };
        let _gone_already = prlimit(Some(group), Resource::Data, limit);
        let at_work = Some(at_work::begin(group));
        Ok(Self { child, group, at_work, ended: false, tail: Tail::default() })
    }

    fn talk<S: Sides>(&mut self, invocation: &Invocation<'_>, sides: &mut S) -> Result<(), Ended<S::Error>> {
        let mut stdin = Some(pipe(self.child.stdin.take().expect("it was piped").into())?);
        let mut stdout = Some(pipe(self.child.stdout.take().expect("it was piped").into())?);
        let mut stderr = Some(pipe(self.child.stderr.take().expect("it was piped").into())?);
        let (mut input, mut given, mut buffer) = (Vec::new(), 0, vec![0; BUFFER_BYTES]);
        let (mut heard, mut looked) = (clock::instant(), clock::instant());
        let mut gone: Option<Instant> = None;
        let (limits, mut left) = (invocation.limits, invocation.output_bytes);
        while stdout.is_some() || stderr.is_some() {
            if stdin.is_some() && given == input.len() {
                input.clear();
                given = 0;
                sides.give(&mut input)?;
                // Whatever that took was not its fault.
                heard = clock::instant();
                if input.is_empty() {
                    stdin = None;
                }
            }
            let [writable, readable, complains] = ready(stdin.as_ref(), stdout.as_ref(), stderr.as_ref())?;
            if writable && let Some(to) = &mut stdin {
                match to.write(&input[given..]) {
                    Ok(written) => {
                        given += written;
                        heard = clock::instant();
                    }
                    // It has read enough; how it ends says whether that is well.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => stdin = None,
                    Err(error) if is_nothing(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if readable && let Some(read) = read_from(&mut stdout, &mut buffer)? {
                left = left.checked_sub(read as u64).ok_or_else(|| {
                    Ended::Broken(format!(
                        "it wrote more than {} bytes and was killed (see --max-output)",
                        invocation.output_bytes
                    ))
                })?;
                sides.take(&buffer[..read]).map_err(|error| Ended::Error(ExchangeError::Taker(error)))?;
                heard = clock::instant();
            }
            if complains && let Some(read) = read_from(&mut stderr, &mut buffer)? {
                // A report is a sign of life; any other noise is none.
                let mut reported = false;
                self.tail.take(&buffer[..read], &mut |line| {
                    let report = sides.hear(line);
                    reported |= report;
                    report
                });
                if reported {
                    heard = clock::instant();
                }
            }
            if clock::since(looked) >= LOOK {
                looked = clock::instant();
                self.look(limits, heard, sides)?;
                // Somebody else holds its pipes: what it has started and left behind.
                if gone.is_none() && self.has_ended()? {
                    gone = Some(looked);
                }
            }
            if gone.is_some_and(|gone| clock::since(gone.max(heard)) >= GRACE) {
                if stdout.is_some() {
                    let how = "it ended, and what it had started still holds its output";
                    return Err(Ended::Broken(how.to_owned()));
                }
                break;
            }
        }
        self.tail.finish(&mut |line| sides.hear(line));
        // It has closed its pipes, and may go on without them.
        while !self.has_ended()? {
            if clock::since(looked) >= LOOK {
                looked = clock::instant();
                self.look(limits, heard, sides)?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Looks whether it takes too much, or is wanted at all.
    fn look<S: Sides>(&self, limits: Limits, heard: Instant, sides: &mut S) -> Result<(), Ended<S::Error>> {
        if sides.stops() {
            return Err(Ended::Error(ExchangeError::Stopped));
        }
        let silence = clock::since(heard);
        if silence >= limits.silence {
            let silence = limits.silence.as_secs_f32();
            return Err(Ended::Broken(format!(
                "it neither read nor wrote for {silence} s and was killed (see --command-silence)"
            )));
        }
        let found = descendants::of(self.group);
        if found.count > limits.processes {
            return Err(Ended::Broken(format!("it started more than {} processes and was killed", limits.processes)));
        }
        if found.resident_bytes > limits.memory_bytes {
            return Err(Ended::Broken(format!(
                "it took more than {} bytes of memory and was killed (see --command-memory)",
                limits.memory_bytes
            )));
        }
        Ok(())
    }

    /// Whether it has ended; it stays a zombie, so that its number stays its own.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.group), options)?.is_some())
    }

    /// Ends whatever of it is left.
    fn end(&mut self) -> io::Result<ExitStatus> {
        drop(self.at_work.take());
        let _nobody_is_left = kill_process_group(self.group, Signal::KILL);
        self.ended = true;
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // Who panics or fails in between leaves nothing behind either.
            drop(self.end());
        }
    }
}

fn pipe(end: OwnedFd) -> io::Result<File> {
    fcntl_setfl(&end, fcntl_getfl(&end)? | OFlags::NONBLOCK)?;
    let _as_it_is = rustix::pipe::fcntl_setpipe_size(&end, PIPE_BYTES);
    Ok(end.into())
}

/// Which of them are ready; waits a while for any to be.
fn ready(stdin: Option<&File>, stdout: Option<&File>, stderr: Option<&File>) -> io::Result<[bool; 3]> {
    let wanted = [(stdin, PollFlags::OUT), (stdout, PollFlags::IN), (stderr, PollFlags::IN)];
    let open: Vec<(usize, &File, PollFlags)> =
        wanted.into_iter().enumerate().filter_map(|(place, (file, flags))| Some((place, file?, flags))).collect();
    let mut polled: Vec<PollFd<'_>> =
        open.iter().map(|(_, file, flags)| PollFd::from_borrowed_fd(file.as_fd(), *flags)).collect();
    let wait = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    match poll(&mut polled, Some(&wait)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = [false; 3];
    for ((place, ..), polled) in open.iter().zip(&polled) {
        ready[*place] = !polled.revents().is_empty();
    }
    Ok(ready)
}

/// Reads what is there; at the end, the pipe goes.
fn read_from(pipe: &mut Option<File>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let Some(from) = pipe else { return Ok(None) };
    match from.read(buffer) {
        Ok(0) => {
            *pipe = None;
            Ok(None)
        }
        Ok(read) => Ok(Some(read)),
        Err(error) if is_nothing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The end of what a process says on stderr.
#[derive(Default)]
struct Tail {
    /// The line that has not ended.
    line: Vec<u8>,
    last: VecDeque<u8>,
}

impl Tail {
    fn take(&mut self, mut bytes: &[u8], hear: &mut dyn FnMut(&[u8]) -> bool) {
        while let Some(at) = bytes.iter().position(|&byte| byte == b'\n') {
            self.add(&bytes[..at]);
            self.finish(hear);
            bytes = &bytes[at + 1..];
        }
        self.add(bytes);
    }

    /// Of a line that is too long to be a report, the end is kept.
    fn add(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        if self.line.len() > REPORT_BYTES {
            let cut = self.line.len() - REPORT_BYTES / 2;
            self.line.drain(..cut);
        }
    }

    fn finish(&mut self, hear: &mut dyn FnMut(&[u8]) -> bool) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() && !hear(&line) {
            self.last.extend(line.into_iter().chain([b'\n']));
            let more = self.last.len().saturating_sub(TAIL_BYTES);
            self.last.drain(..more);
        }
    }

    /// On one line.
    fn text(&self) -> String {
        let last: Vec<u8> = self.last.iter().copied().collect();
        let text = String::from_utf8_lossy(&last);
        text.trim().replace('\n', " | ").chars().filter(|character| !character.is_control()).collect()
    }
}
