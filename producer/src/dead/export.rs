//! Dead letters as files in a folder of their own: what a person can look at, correct, and push again.
//!
//! It asks nobody. What would surprise: nothing is ever overwritten and nothing is written outside the folder, whatever sources
//! are called: of their names only harmless characters are kept, and who comes second gets a number.

use super::opened::{Contents, Opened, Record};
use crate::report::letters_json::opened_value;
use bytes::Bytes;
use rabbit_reduce_core::message::TaskPiece;
use rabbit_reduce_core::skip::Skip;
use rabbit_reduce_runtime::private;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The file that tells of all others, a letter a line.
const INDEX: &str = "index.ndjson";
/// Bytes that are kept of a source's name, its end: with a number and an offset it is still a file's name everywhere.
const NAME_BYTES: usize = 100;
/// Files that may want the same name; only letters made to annoy are more.
const SAME_NAMES: u32 = 10_000;

/// Why letters are not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is something in the way.
    #[error("{} is not empty: name a new folder, or an empty one", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The system says no.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder that letters go into.
#[derive(Debug)]
pub struct Export {
    folder: PathBuf,
    index: BufWriter<File>,
}

/// Checks that a folder is new or empty, before anything is asked for.
///
/// # Errors
/// If it is not, or is no folder.
pub fn check(folder: &Path) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { path: folder.to_owned(), source };
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(ExportError::Taken { path: folder.to_owned() }),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

impl Export {
    /// Makes the folder, or takes one that is empty.
    ///
    /// # Errors
    /// See [`check`]; or if there can be no such folder.
    pub fn begin(folder: PathBuf) -> Result<Self, ExportError> {
        check(&folder)?;
        match private::new_folder(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(ExportError::Write { path: folder, source }),
        }
        let path = folder.join(INDEX);
        let index = private::new_file(&path);
        let index = BufWriter::new(index.map_err(|source| ExportError::Write { path, source })?);
        Ok(Self { folder, index })
    }

    /// Writes one letter: the records of it that `fits` wants, the pieces of its chunk, or what else it is.
    ///
    /// # Errors
    /// If the system does not take it.
    pub fn add(
        &mut self,
        opened: &Opened,
        sources: &[Vec<u8>],
        fits: impl Fn(&Skip) -> bool,
    ) -> Result<(), ExportError> {
        let mut value = opened_value(opened, sources, &fits);
        match &opened.contents {
            Contents::Chunk(chunk) => {
                let pieces = self.pieces(chunk.task.chunk.0, &chunk.pieces)?;
                for (at, file) in pieces.into_iter().enumerate() {
                    value["task"]["pieces"][at]["exported"] = file;
                }
            }
            Contents::Records(records) => {
                for (at, record) in records.iter().filter(|record| fits(&record.skip)).enumerate() {
                    value["records"][at]["exported"] = self.record(record, sources)?;
                }
            }
            Contents::Partial(_, body) => value["exported"] = self.whole("partials", opened, body)?,
            Contents::Unknown(bytes) => value["exported"] = self.whole("unknown", opened, bytes)?,
        }
        self.note(&value)
    }

    /// The files are complete.
    ///
    /// # Errors
    /// If the system does not take the end of the index.
    pub fn finish(mut self) -> Result<(), ExportError> {
        let path = self.folder.join(INDEX);
        self.index.flush().map_err(|source| ExportError::Write { path, source })
    }

    /// The bytes of a chunk's pieces, in a folder of the chunk's own; nothing for those that are in files.
    fn pieces(&self, chunk: u32, pieces: &[(TaskPiece, Option<Bytes>)]) -> Result<Vec<Value>, ExportError> {
        if pieces.iter().all(|(_, bytes)| bytes.is_none()) {
            return Ok(vec![Value::Null; pieces.len()]);
        }
        let folder = self.new_folder("chunks", &chunk.to_string())?;
        let write = |(piece, bytes): &(TaskPiece, Option<Bytes>)| match bytes {
            Some(bytes) => self.new_file(&folder, &file_name(Some(&piece.name.0), piece.offset), bytes),
            None => Ok(Value::Null),
        };
        pieces.iter().map(write).collect()
    }

    fn record(&self, record: &Record, sources: &[Vec<u8>]) -> Result<Value, ExportError> {
        let Some(bytes) = &record.bytes else { return Ok(Value::Null) };
        let source = sources.get(record.skip.source.index());
        self.new_file(&self.folder_of("records")?, &file_name(source.map(Vec::as_slice), record.skip.offset), bytes)
    }

    fn whole(&self, kind: &str, opened: &Opened, bytes: &[u8]) -> Result<Value, ExportError> {
        self.new_file(&self.folder_of(kind)?, &harmless(opened.listed.letter.name.as_bytes()), bytes)
    }

    fn folder_of(&self, kind: &str) -> Result<PathBuf, ExportError> {
        let path = self.folder.join(kind);
        match private::new_folder(&path) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => Err(ExportError::Write { path, source }),
            _ => Ok(path),
        }
    }

    fn new_folder(&self, kind: &str, name: &str) -> Result<PathBuf, ExportError> {
        let above = self.folder_of(kind)?;
        first_free(&above, name, private::new_folder).map(|(path, ())| path)
    }

    /// Writes a file that was not there; its path beneath the folder.
    fn new_file(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<Value, ExportError> {
        let (path, mut file) = first_free(folder, name, private::new_file)?;
        match file.write_all(bytes) {
            Ok(()) => {
                let beneath = path.strip_prefix(&self.folder).unwrap_or(&path);
                Ok(json!(beneath.to_string_lossy()))
            }
            Err(source) => Err(ExportError::Write { path, source }),
        }
    }

    fn note(&mut self, value: &Value) -> Result<(), ExportError> {
        let path = self.folder.join(INDEX);
        writeln!(self.index, "{value}").map_err(|source| ExportError::Write { path, source })
    }
}

/// Makes what is not there yet, with a number behind its name where the name is taken.
fn first_free<T>(
    folder: &Path,
    name: &str,
    make: impl Fn(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), ExportError> {
    let mut path = folder.join(name);
    for number in 2..SAME_NAMES {
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => path = folder.join(format!("{name}.{number}")),
            Err(source) => return Err(ExportError::Write { path, source }),
        }
    }
    Err(ExportError::Write { path, source: ErrorKind::AlreadyExists.into() })
}

/// `SOURCE-OFFSET`, as a file may be called.
fn file_name(source: Option<&[u8]>, offset: u64) -> String {
    let source = match source {
        Some(b"-") => "stdin".to_owned(),
        Some(name) => harmless(name),
        None => "source".to_owned(),
    };
    format!("{source}-{offset}")
}

/// Letters and digits of ASCII, `.`, `-` and `_`; the rest becomes `_`. Neither hidden, nor an option, nor a way up.
fn harmless(name: &[u8]) -> String {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() || b".-_".contains(byte) { char::from(*byte) } else { '_' };
    let end = &name[name.len().saturating_sub(NAME_BYTES)..];
    let text: String = end.iter().map(plain).collect();
    if text.is_empty() || text.starts_with(['.', '-']) { format!("_{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::opened::tests::{failed_chunk, opened, refused_records};
    use tempfile::TempDir;

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(path) = open.pop() {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn letters_become_files_and_an_index_that_names_them() {
        let room = TempDir::new().unwrap();
        let folder = room.path().join("new");
        let mut export = Export::begin(folder.clone()).unwrap();
        let sources = [b"../etc/n".to_vec(), b"-".to_vec()];
        for letter in [failed_chunk(), failed_chunk()] {
            export.add(&opened("0000000017-abcdef", &letter), &sources, |_| true).unwrap();
        }
        export.add(&opened("0000000003-abcdef", &refused_records()), &sources, |_| true).unwrap();
        export.add(&opened("abcdef", &Bytes::from("what?")), &[], |_| true).unwrap();
        export.finish().unwrap();
        let expected = [
            "chunks/17.2/logs_a.txt-4",
            "chunks/17.2/logs_b.txt-0",
            "chunks/17/logs_a.txt-4",
            "chunks/17/logs_b.txt-0",
            "index.ndjson",
            "records/_.._etc_n-20",
            "records/stdin-0",
            "unknown/abcdef",
        ];
        assert_eq!(files(&folder), expected);
        assert_eq!(files(room.path()).len(), expected.len(), "nothing is written elsewhere");
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        assert_eq!(read("chunks/17/logs_a.txt-4"), b"abc");
        assert_eq!((read("records/_.._etc_n-20"), read("records/stdin-0")), (b"n/a".to_vec(), b"\x1b[".to_vec()));
        let index = String::from_utf8(read("index.ndjson")).unwrap();
        let lines: Vec<Value> = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[1]["task"]["pieces"][0]["exported"], "chunks/17.2/logs_a.txt-4");
        assert!(lines[1]["task"]["pieces"][2]["exported"].is_null(), "it is in a file already");
        assert_eq!(
            (&lines[2]["records"][0]["exported"], &lines[2]["records"][1]["exported"]),
            (&"records/_.._etc_n-20".into(), &Value::Null)
        );
        assert_eq!(lines[3]["exported"], "unknown/abcdef");
    }

    #[test]
    fn a_folder_that_is_not_empty_or_no_folder_is_refused_as_it_is() {
        let room = TempDir::new().unwrap();
        fs::write(room.path().join("mine"), "mine").unwrap();
        assert!(matches!(Export::begin(room.path().to_owned()), Err(ExportError::Taken { .. })));
        assert!(matches!(Export::begin(room.path().join("mine")), Err(ExportError::Write { .. })));
        assert!(matches!(Export::begin(room.path().join("no/such")), Err(ExportError::Write { .. })));
        assert_eq!(files(room.path()), ["mine"]);
        let empty = room.path().join("empty");
        fs::create_dir(&empty).unwrap();
        Export::begin(empty).unwrap().finish().unwrap();
    }

    #[test]
    fn names_of_sources_lose_their_power() {
        let names = ["a/b.txt", "..", "-rf", "", "\u{e9}\n", "/etc/passwd"].map(|name| harmless(name.as_bytes()));
        assert_eq!(names, ["a_b.txt", "_..", "_-rf", "_", "___", "_etc_passwd"]);
        assert_eq!(harmless(&[b'x'; 500]).len(), NAME_BYTES);
        assert_eq!((file_name(Some(b"-"), 3), file_name(None, 4)), ("stdin-3".to_owned(), "source-4".to_owned()));
    }

    #[test]
    fn records_of_the_same_place_do_not_overwrite_each_other() {
        let room = TempDir::new().unwrap();
        let mut export = Export::begin(room.path().to_owned()).unwrap();
        for _ in 0..3 {
            export.add(&opened("0000000003-abcdef", &refused_records()), &[], |skip| skip.offset == 20).unwrap();
        }
        export.finish().unwrap();
        assert_eq!(
            files(room.path()),
            ["index.ndjson", "records/source-20", "records/source-20.2", "records/source-20.3"]
        );
    }
}
