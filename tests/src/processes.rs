//! Processes of the real binaries: started in a room of their own, watched through what they write, ended with the test.
//!
//! It knows no command line. What would surprise: a process that is dropped is killed, by its id, so that a test that panics
//! leaves none behind; and whoever asks for an outcome waits within a bound, then sees what the process had to say.

use crate::binaries::binary;
use rabbit_reduce_runtime::process::clock;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

/// How long a fact may take to come true; only a failing test waits that long.
const BOUND: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Looks again and again until `look` finds something.
///
/// # Panics
/// If it finds nothing within the bound.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = clock::instant();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < BOUND, "{what}: not within {} s", BOUND.as_secs());
        thread::sleep(LOOK);
    }
}

/// A folder for one test, with places for input, temporary files and state.
#[derive(Debug)]
pub struct Room(TempDir);

impl Default for Room {
    fn default() -> Self {
        let folder = TempDir::with_prefix("rabbit-room-").expect("there is room for temporary files");
        std::fs::create_dir(folder.path().join("tmp")).expect("the folder is ours");
        Self(folder)
    }
}

impl Room {
    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, body: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the room")).expect("the folder is ours");
        std::fs::write(&path, body).expect("the folder is ours");
        path
    }

    /// Names in one of its folders, sorted.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).expect("the folder is there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("readable").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A command that works in the room and sees nothing of the environment's flags, homes and temporary folders.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        self.command_of(&binary(name))
    }

    /// The same for any program.
    #[must_use]
    pub fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("RABBIT_REDUCE_") || ["AMQP_URL", "NO_COLOR"].contains(&&*text) {
                command.env_remove(&variable);
            }
        }
        command.current_dir(self.0.path());
        command
            .env("TMPDIR", self.path("tmp"))
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Runs a binary to its end, with nothing on its standard input.
    pub fn run(&self, name: &str, args: &[&str]) -> Outcome {
        Running::start(self.command(name).args(args)).ended()
    }

    /// Whether nothing is left among the temporary files.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.names("tmp").is_empty()
    }
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it had to say.
    pub stderr: String,
}

impl Outcome {
    /// Its answer, as text, if it ended with this code.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn text(&self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "it said: {}", self.stderr);
        String::from_utf8(self.stdout.clone()).expect("the answer is text")
    }

    /// Whether it ended with this code, answered nothing, and said all of this on stderr.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn refused(&self, code: i32, said: &[&str]) {
        let Self { code: found, stderr, stdout } = self;
        assert_eq!((*found, stdout.len()), (Some(code), 0), "it said: {stderr}");
        for text in said {
            assert!(stderr.contains(text), "`{text}` is not in: {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<Collected>,
    stderr: Collected,
}

/// What comes out of a pipe, read on a thread.
#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reading = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                into.lock().expect("nobody panics with it").extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reading }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("nobody panics with it").clone()
    }

    fn all(self) -> Vec<u8> {
        self.reading.join().expect("reading does not panic");
        self.bytes.lock().expect("nobody panics with it").clone()
    }
}

impl Running {
    /// Starts it with nothing on its standard input, and collects what it writes.
    pub fn start(command: &mut Command) -> Self {
        Self::collecting(command.stdin(Stdio::null()).stdout(Stdio::piped()))
    }

    /// Starts it with standard input and output as the command says.
    ///
    /// # Panics
    /// If the system does not start it.
    pub fn collecting(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().map(Collected::from);
        let stderr = Collected::from(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// Starts it with `input` on its standard input, and writes it all.
    pub fn fed(command: &mut Command, input: &[u8]) -> Self {
        let mut running = Self::collecting(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        // Who leaves early is told by its outcome.
        running.input().write_all(input).ok();
        running
    }

    /// Its standard input, to be written to and closed.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is piped, and not taken yet")
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on stderr by now.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// What it has written to stdout by now.
    #[must_use]
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.stdout.as_ref().expect("it is collected").so_far()).into_owned()
    }

    /// Waits until it has said this on stderr.
    ///
    /// # Panics
    /// If it ends without, or does not say it within the bound.
    pub fn says(&mut self, text: &str) -> String {
        let began = clock::instant();
        loop {
            let ended = self.child.try_wait().expect("it is our child").is_some();
            let said = self.said();
            if said.contains(text) {
                return said;
            }
            assert!(!ended, "it ended without `{text}`: {said}");
            assert!(began.elapsed() < BOUND, "it does not say `{text}`: {said}");
            thread::sleep(LOOK);
        }
    }

    /// Whether it has not ended.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Sends it a signal, by its name without SIG. One that has ended stays addressable until its outcome is taken.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status();
        assert!(sent.expect("there is a shell").success(), "there is no process {}", self.id());
    }

    /// Kills it and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within the bound; it is killed then.
    #[must_use]
    pub fn ended(self) -> Outcome {
        self.ended_within(BOUND)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end in time; it is killed then.
    #[must_use]
    pub fn ended_within(mut self, bound: Duration) -> Outcome {
        drop(self.child.stdin.take());
        let began = clock::instant();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(began.elapsed() < bound, "it does not end within {bound:?}; it said: {}", self.said());
            thread::sleep(LOOK);
        };
        let stdout = self.stdout.take().map(Collected::all).unwrap_or_default();
        let stderr = std::mem::replace(&mut self.stderr, Collected::from(std::io::empty())).all();
        Outcome { code: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Text of so many lines of words, each from a few thousand: the same whenever it is made.
#[must_use]
pub fn words(lines: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::new();
    for _ in 0..lines {
        for place in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(if place == 0 { "" } else { " " });
            text.push_str(&format!("word{}", (state >> 33) % 5000));
        }
        text.push('\n');
    }
    text
}

/// What `word-count` says of a text, worked out in the plainest way.
#[must_use]
pub fn counted(text: &str) -> String {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    counts.iter().map(|(word, count)| format!("{word}\t{count}\n")).collect()
}

/// What a process has in memory, in bytes.
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn resident_bytes(process: impl std::fmt::Display) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    resident.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// A path as an argument.
///
/// # Panics
/// If it is not UTF-8, which a test's paths are.
#[must_use]
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a test's paths are UTF-8")
}
