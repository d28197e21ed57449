//! Where a result goes: a file that is whole or not there, or stdout.
//!
//! It knows no rows. What would surprise: a reader of stdout that leaves (`| head`) is no failure, and a broken pipe from
//! anywhere else (the broker, where parts come from) is not taken for it.

use super::terminal::Harmless;
use rabbit_reduce_runtime::process::files::{OutputError, OutputFile, OutputFolder};
use rabbit_reduce_runtime::process::shutdown::reader_left;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 64 << 10;

/// A place that can be written to. Open it before the work begins: dropping it leaves what was there before.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file on its way.
    File {
        /// As it was asked for.
        path: PathBuf,
        /// Nothing is seen under its name yet.
        file: OutputFile,
    },
    /// A folder on its way, with a file for every partition.
    Folder(OutputFolder),
}

/// How printing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Printed {
    /// All of it is there.
    Whole,
    /// The reader of stdout had enough.
    ReaderLeft,
}

/// Why a result is not printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The file.
    #[error(transparent)]
    File(#[from] OutputError),
    /// Standard output.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    /// What was to be printed; the destination is fine.
    #[error("the result cannot be read")]
    Result(#[source] io::Error),
}

impl Destination {
    /// A file, or stdout without one.
    ///
    /// # Errors
    /// Fails if there can be no such file.
    pub fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        Ok(Self::File { path: path.to_owned(), file: OutputFile::create(path)? })
    }

    /// A folder for a file of every partition.
    ///
    /// # Errors
    /// Fails if there can be no such folder, or it has files in it.
    pub fn open_folder(path: &Path) -> Result<Self, OutputError> {
        OutputFolder::create(path).map(Self::Folder)
    }

    /// Whether nothing stays behind if it is forgotten half written.
    #[must_use]
    pub const fn leaves_nothing(&self) -> bool {
        match self {
            Self::Stdout => true,
            Self::File { file, .. } => file.is_direct(),
            Self::Folder(_) => false,
        }
    }

    /// Has `print` write all parts together, or each into a file of its own, called `part-00000` and so on with this ending.
    ///
    /// # Errors
    /// Tells the destination's failures from those of `print` itself.
    pub fn print_parts<P>(
        self,
        ending: &str,
        parts: Vec<P>,
        mut print: impl FnMut(Vec<P>, &mut dyn Write) -> io::Result<()>,
    ) -> Result<Printed, PrintError> {
        let Self::Folder(folder) = self else { return self.print(|out| print(parts, out)) };
        for (number, part) in parts.into_iter().enumerate() {
            let name = format!("part-{number:05}.{ending}");
            let file = Self::File { file: folder.file(&name)?, path: PathBuf::from(name) };
            match file.print(|out| print(vec![part], out))? {
                Printed::Whole | Printed::ReaderLeft => {}
            }
        }
        Ok(folder.finish().map(|()| Printed::Whole)?)
    }

    fn print(self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Printed, PrintError> {
        match self {
            Self::Folder(_) => unreachable!("its files are written one by one"),
            Self::Stdout => {
                let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
                if io::stdout().is_terminal() { to_stream(Harmless::new(out), print) } else { to_stream(out, print) }
            }
            Self::File { path, mut file } => match noted(&mut file, print) {
                Ok(()) => file.finish().map(|()| Printed::Whole).map_err(PrintError::File),
                Err(Failure::Output(source)) => Err(PrintError::File(OutputError { path, source })),
                Err(Failure::Print(error)) => Err(PrintError::Result(error)),
            },
        }
    }
}

fn to_stream(mut out: impl Write, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Printed, PrintError> {
    let outcome = noted(&mut out, print).and_then(|()| out.flush().map_err(Failure::Output));
    match outcome {
        Ok(()) => Ok(Printed::Whole),
        Err(Failure::Output(error)) if reader_left(&error) => Ok(Printed::ReaderLeft),
        Err(Failure::Output(error)) => Err(PrintError::Stdout(error)),
        Err(Failure::Print(error)) => Err(PrintError::Result(error)),
    }
}

/// Whose failure it was.
enum Failure {
    Output(io::Error),
    Print(io::Error),
}

fn noted(out: &mut dyn Write, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut noting = Noting { out, failed: false };
    print(&mut noting).map_err(|error| if noting.failed { Failure::Output(error) } else { Failure::Print(error) })
}

/// Notes that writing failed.
struct Noting<'o> {
    out: &'o mut dyn Write,
    failed: bool,
}

impl Noting<'_> {
    fn note<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        self.failed |= outcome.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        outcome
    }
}

impl Write for Noting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.out.write(bytes);
        self.note(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.out.flush();
        self.note(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_leaves_is_a_quiet_end_and_a_broken_source_is_not() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let left = to_stream(BufWriter::new(&writer), |out| out.write_all(&[b'x'; 1 << 20]));
        assert_eq!(left.unwrap(), Printed::ReaderLeft);
        let at_the_end = to_stream(BufWriter::new(&writer), |out| out.write_all(b"x"));
        assert_eq!(at_the_end.unwrap(), Printed::ReaderLeft);
        let broken = to_stream(Vec::new(), |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert!(matches!(broken, Err(PrintError::Result(_))));
    }

    #[test]
    fn a_full_disk_is_the_outputs_failure() {
        let full = Destination::open(Some(Path::new("/dev/full"))).unwrap().print(|out| out.write_all(&[0; 1 << 20]));
        assert!(matches!(&full, Err(PrintError::File(error)) if error.to_string().contains("/dev/full")), "{full:?}");
    }

    #[test]
    fn a_folder_has_all_its_parts_or_is_not_there() {
        let within = tempfile::TempDir::new().unwrap();
        let path = within.path().join("parts");
        let write = |fails: bool| {
            Destination::open_folder(&path).unwrap().print_parts("tsv", vec!["a", "b"], |part, out| {
                out.write_all(part[0].as_bytes())?;
                if fails && part == ["b"] { Err(io::Error::other("the rest is gone")) } else { Ok(()) }
            })
        };
        assert!(matches!(write(true), Err(PrintError::Result(_))));
        assert_eq!(std::fs::read_dir(within.path()).unwrap().count(), 0, "nothing is left of it");
        assert_eq!(write(false).unwrap(), Printed::Whole);
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
        assert_eq!((read("part-00000.tsv"), read("part-00001.tsv")), ("a".to_owned(), "b".to_owned()));
        let again = Destination::open_folder(&path).unwrap_err().to_string();
        assert!(again.contains("parts: it has files in it already"), "{again}");
        std::fs::create_dir(within.path().join("empty")).unwrap();
        assert!(Destination::open_folder(&within.path().join("empty")).is_ok());
    }

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "before").unwrap();
        let failed = Destination::open(Some(&path)).unwrap().print(|out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the rest is gone"))
        });
        assert!(matches!(failed, Err(PrintError::Result(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        let whole = Destination::open(Some(&path)).unwrap().print(|out| out.write_all(b"whole"));
        assert_eq!((whole.unwrap(), std::fs::read(&path).unwrap()), (Printed::Whole, b"whole".to_vec()));
    }
}
