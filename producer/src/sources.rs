//! The sources of a job, collected from what was typed: files, folders, streams.
//!
//! It reads no input, but opens every file once, so that an unreadable one is told of before the job begins, and all of them
//! at once. Symbolic links to files are followed; one to a folder is followed where it was typed and nowhere inside a folder,
//! so that there can be no loop. Hidden files count. What would surprise: what the kernel makes up (`/proc`, `/dev/stdin`)
//! is read as a stream even where it looks like a file, since its size lies or its path means another file elsewhere.

mod choice;

use self::choice::PathPattern;
pub use self::choice::{Choice, Pattern, PatternError};
use rabbit_reduce_core::spec::{ByteText, FileStamp, Source};
use rabbit_reduce_runtime::packed::{BEGINNING_BYTES, Form};
use rabbit_reduce_runtime::reader::STANDARD_INPUT;
use rabbit_reduce_runtime::shown::{Shown, one_line};
use rabbit_reduce_runtime::stamp::{is_as_stamped, stamp_of};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Problems that are listed one by one; the rest are counted.
const LISTED_PROBLEMS: usize = 20;
/// The most sources of a job: their list is kept in memory, here and by the aggregators.
pub const MAX_SOURCES: usize = 4 << 20;
/// Where files are not what their size and path say.
const MADE_UP: [&str; 4] = ["/dev/fd", "/dev/stdin", "/proc", "/sys"];

/// What a job reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// In the job's order. One without a file is a stream: [`STANDARD_INPUT`], or else its name is the path to open.
    pub sources: Vec<Source>,
    /// What lay in folders and is no input.
    pub skipped: Skipped,
}

/// Entries of folders that are neither files nor folders: links to folders or to nothing, pipes, sockets, devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Option<PathBuf>,
}

/// Inputs that cannot be used, all of them.
#[derive(Debug, Default, thiserror::Error)]
pub struct InputsError {
    problems: Vec<Problem>,
    more: usize,
}

/// Why one input cannot be used.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("there is no file or folder {}: check the spelling and the current folder", shown(path))]
    Missing { path: PathBuf },
    #[error("{} may not be read by this user: change its permissions, or leave it out", shown(path))]
    Forbidden { path: PathBuf },
    #[error("{} cannot be read ({}): repair it, or leave it out", shown(path), one_line(cause))]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{} changed since the job was made (it had {size} bytes): push it again", shown(path))]
    Changed { path: PathBuf, size: u64 },
    #[error("{} is a stream, which cannot be read twice: push it again", shown(path))]
    Stream { path: PathBuf },
    #[error("there are more than {MAX_SOURCES} files: join some of them, or make several jobs")]
    TooMany,
    #[error("there is no file {}, and it is no pattern of files either ({reason})", shown(path))]
    Pattern { path: PathBuf, reason: String },
    #[error(
        "no file fits {} (patterns are for files, not for folders): check the spelling and the current folder",
        shown(path)
    )]
    NoneFits { path: PathBuf },
}

/// Collects the sources of inputs as typed, in their order; the files of a folder in byte order of their names.
///
/// # Errors
/// Tells of every input that cannot be used, not only of the first.
pub fn collect(inputs: &[PathBuf]) -> Result<Collected, InputsError> {
    collect_chosen(inputs, &Choice::default())
}

/// The same, of folders only what is chosen.
///
/// # Errors
/// As [`collect`].
pub fn collect_chosen(inputs: &[PathBuf], choice: &Choice) -> Result<Collected, InputsError> {
    let mut collecting = Collecting { choice, collected: Collected::default(), error: InputsError::default() };
    for input in inputs {
        collecting.input(input);
    }
    let Collecting { collected, error, .. } = collecting;
    if error.problems.is_empty() { Ok(collected) } else { Err(error) }
}

/// Whether sources of a job made before can be read again: they are files, and still what they were.
///
/// # Errors
/// Tells of every source that cannot, not only of the first.
pub fn check_again(sources: &[Source]) -> Result<(), InputsError> {
    let mut error = InputsError::default();
    for source in sources {
        let Some(stamp) = source.file.as_ref().or(source.packed.as_ref()) else {
            error.list(Problem::Stream { path: path_of(&source.name).to_owned() });
            continue;
        };
        let path = path_of(&stamp.path);
        match File::open(path).and_then(|file| file.metadata()) {
            Ok(found) if is_as_stamped(&found, stamp) => {}
            Ok(_) => error.list(Problem::Changed { path: path.to_owned(), size: stamp.size }),
            Err(cause) => error.add(path, cause),
        }
    }
    if error.problems.is_empty() { Ok(()) } else { Err(error) }
}

/// The inputs that a list names, one a line, as they would be typed.
///
/// # Errors
/// If it cannot be read.
pub fn listed(list: impl BufRead) -> io::Result<Vec<PathBuf>> {
    let lines = list.split(b'\n').map(|line| {
        let line = line?;
        let line = line.strip_suffix(b"\r").map_or(&*line, |line| line);
        Ok(PathBuf::from(OsStr::from_bytes(line)))
    });
    let lines: io::Result<Vec<PathBuf>> = lines.collect();
    Ok(lines?.into_iter().filter(|line| !line.as_os_str().is_empty()).collect())
}

struct Collecting<'c> {
    choice: &'c Choice,
    collected: Collected,
    error: InputsError,
}

impl Collecting<'_> {
    fn input(&mut self, input: &Path) {
        if input.as_os_str() == STANDARD_INPUT {
            return self.add(stream(input));
        }
        let kind = match fs::metadata(input) {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_pattern(input) => return self.pattern(input),
            Err(error) => return self.error.add(input, error),
        };
        if kind.is_dir() {
            self.folder(input);
        } else if kind.is_file() {
            self.file(input);
        } else {
            self.add(stream(input));
        }
    }

    /// All files that a pattern is about, where no shell has looked: those beneath the folder before its first wild card, in byte
    /// order, as of any folder.
    fn pattern(&mut self, input: &Path) {
        let whole: PathBuf = input.components().collect();
        let wild = whole.components().take_while(|part| !is_pattern(Path::new(part.as_os_str()))).count();
        let (root, rest): (PathBuf, PathBuf) =
            (whole.components().take(wild).collect(), whole.components().skip(wild).collect());
        let pattern = match rest.to_str().map(PathPattern::new) {
            Some(Ok(pattern)) => pattern,
            Some(Err(reason)) => return self.error.list(Problem::Pattern { path: input.to_owned(), reason }),
            None => return self.error.add(input, io::ErrorKind::NotFound.into()),
        };
        let here = if wild == 0 { Path::new(".") } else { &root };
        let (before, mut files) = (self.collected.sources.len(), Vec::new());
        self.beneath(here, pattern.deepest(), &mut files);
        for file in files {
            let beneath = file.strip_prefix(here).unwrap_or(&file);
            if pattern.fits(beneath) {
                self.file(&root.join(beneath));
            }
        }
        if self.collected.sources.len() == before && self.error.problems.is_empty() {
            self.error.list(Problem::NoneFits { path: input.to_owned() });
        }
    }

    /// All files beneath a folder. The sum of their names is sorted at once: the order of folders beside files is that of
    /// their joined names (`a-b` before `a/c` before `ab`).
    fn folder(&mut self, input: &Path) {
        let mut files = Vec::new();
        self.beneath(input, usize::MAX, &mut files);
        for file in files {
            self.file(&file);
        }
    }

    /// The files beneath a folder, so many folders down at the most, sorted.
    fn beneath(&mut self, input: &Path, deepest: usize, files: &mut Vec<PathBuf>) {
        let mut folders = vec![(0, input.to_owned())];
        while let Some((depth, folder)) = folders.pop() {
            let mut deeper = Vec::new();
            if let Err(error) = self.entries(input, &folder, files, &mut deeper) {
                self.error.add(&folder, error);
            }
            if depth < deepest {
                folders.extend(deeper.into_iter().map(|folder| (depth + 1, folder)));
            }
        }
        files.sort_unstable_by(|left, right| left.as_os_str().as_bytes().cmp(right.as_os_str().as_bytes()));
    }

    fn entries(
        &mut self,
        input: &Path,
        folder: &Path,
        files: &mut Vec<PathBuf>,
        folders: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            let beneath = path.strip_prefix(input).unwrap_or(&path);
            if kind.is_dir() {
                if self.choice.wants_folder(beneath) {
                    folders.push(path);
                }
            } else if !self.choice.wants_file(beneath) {
                // Somebody said so.
            } else if kind.is_file() {
                files.push(path);
            } else if kind.is_symlink() {
                match fs::metadata(&path) {
                    Ok(target) if target.is_file() => files.push(path),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => self.error.add(&path, error),
                    Ok(_) | Err(_) => self.collected.skipped.add(path),
                }
            } else {
                self.collected.skipped.add(path);
            }
            if files.len() > MAX_SOURCES {
                return Ok(());
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) {
        match source_of(path, self.choice.as_is) {
            Ok(source) => self.add(source),
            Err(error) => self.error.add(path, error),
        }
    }

    fn add(&mut self, source: Source) {
        if self.collected.sources.len() < MAX_SOURCES {
            self.collected.sources.push(source);
        } else if self.error.problems.is_empty() {
            self.error.problems.push(Problem::TooMany);
        }
    }
}

/// A regular file as a source.
fn source_of(path: &Path, as_is: bool) -> io::Result<Source> {
    let absolute = without_detours(std::path::absolute(path)?)?;
    if MADE_UP.iter().any(|place| absolute.starts_with(place)) {
        return Ok(stream(path));
    }
    let file = File::open(path)?;
    let (size, modified_ns) = stamp_of(&file.metadata()?);
    let mut beginning = Vec::new();
    if !as_is {
        file.take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    }
    let stamp = FileStamp { path: ByteText(absolute.into_os_string().into_encoded_bytes()), size, modified_ns };
    Ok(match Form::of(&beginning) {
        None => Source { file: Some(stamp), ..stream(path) },
        Some(_) => Source { packed: Some(stamp), ..stream(path) },
    })
}

/// The same file at a path without `..`, which a worker with roots refuses unseen. A link that it is itself stays.
fn without_detours(absolute: PathBuf) -> io::Result<PathBuf> {
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) if absolute.components().any(|part| part == Component::ParentDir) => {
            Ok(folder.canonicalize()?.join(name))
        }
        _ => Ok(absolute),
    }
}

fn stream(path: &Path) -> Source {
    Source::stream(path.as_os_str().as_bytes().to_vec())
}

/// Whether somebody may have meant several files.
fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

fn path_of(bytes: &ByteText) -> &Path {
    Path::new(OsStr::from_bytes(&bytes.0))
}

fn shown(path: &Path) -> Shown<'_> {
    Shown(path.as_os_str().as_bytes())
}

impl Skipped {
    fn add(&mut self, path: PathBuf) {
        self.count += 1;
        self.first.get_or_insert(path);
    }
}

impl fmt::Display for Skipped {
    /// What a person should hear of them.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = &self.first else { return out.write_str("nothing is left out") };
        write!(out, "{} is left out", shown(first))?;
        match self.count {
            1 => out.write_str(": it is neither a file nor a folder"),
            count => write!(out, ", and {} more: they are neither files nor folders", count - 1),
        }
    }
}

impl InputsError {
    fn add(&mut self, path: &Path, cause: io::Error) {
        let path = path.to_owned();
        self.list(match cause.kind() {
            io::ErrorKind::NotFound => Problem::Missing { path },
            io::ErrorKind::PermissionDenied => Problem::Forbidden { path },
            _ => Problem::Unreadable { path, cause },
        });
    }

    fn list(&mut self, problem: Problem) {
        if self.problems.len() < LISTED_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for InputsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            write!(out, "{}{problem}", if number == 0 { "" } else { "; " })?;
        }
        if self.more > 0 { write!(out, "; and {} more", self.more) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
