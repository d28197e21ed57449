//! Reads the sources of a job for the splitter, and the pieces of its chunks, with bounded memory.
//!
//! It knows no chunks. Files are read in place; a stream is kept from behind the last piece taken on, since it cannot be read
//! twice, so a chunk's pieces must be taken before the next chunk is asked for. What would surprise: what lies more than a
//! longest record behind a window is let go too, because only a record too long to be a piece reaches that far.

use crate::shown::Shown;

use crate::packed::plain;
use crate::stamp::is_as_stamped;
use rabbit_reduce_core::id::SourceNumber;
use rabbit_reduce_core::spec::{FileStamp, Source};
use rabbit_reduce_core::split::{MAX_RECORD_BYTES, PieceRange, Sources};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Files that stay open: a window at the end of one is followed by one at the beginning of the next, and a chunk's last piece
/// is read after both.
const OPEN_FILES: usize = 2;
/// The name of standard input.
pub const STANDARD_INPUT: &str = "-";
/// What a stream lets go is first passed over; so many bytes of it are moved out of memory together.
const RELEASE_BYTES: usize = 2 << 20;

/// Why input cannot be read, or not be used.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{} cannot be read: {cause}", Shown(.path))]
    Unreadable { path: Vec<u8>, cause: io::Error },
    #[error("{} changed since the job was made (it had {size} bytes): push it again", Shown(.path))]
    Changed { path: Vec<u8>, size: u64 },
    #[error("{} is a stream, and its bytes from {offset} are gone: they cannot be read twice", Shown(.path))]
    Passed { path: Vec<u8>, offset: u64 },
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Unreadable { cause, .. } => cause.kind(),
            ReadError::Changed { .. } => io::ErrorKind::InvalidData,
            ReadError::Passed { .. } => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

/// Reads sources.
pub struct Reader {
    sources: Arc<[Source]>,
    /// The one used last stands last.
    files: Vec<(SourceNumber, File)>,
    streams: Vec<Held>,
    open: Box<Open>,
    window: Vec<u8>,
}

/// Bytes that come once.
pub type Stream = Box<dyn Read + Send>;
/// Opens what is no file.
type Open = dyn FnMut(&Source) -> io::Result<Stream> + Send;

/// What is held of a stream.
struct Held {
    source: SourceNumber,
    input: Stream,
    /// From `passed` on, the bytes of the stream from `start` on.
    held: Vec<u8>,
    passed: usize,
    start: u64,
    ended: bool,
}

impl Reader {
    /// Nothing is opened until it is read; what is no file is unpacked from one, or standard input, or else its name is the path to
    /// open. What is not plain is unpacked.
    #[must_use]
    pub fn new(sources: Arc<[Source]>) -> Self {
        Self::of_streams(sources, opener(plain))
    }

    /// The same, and streams are not unpacked.
    #[must_use]
    pub fn as_is(sources: Arc<[Source]>) -> Self {
        Self::of_streams(sources, opener(Ok))
    }

    /// The same with something else for what is no file.
    #[must_use]
    pub fn of_streams(
        sources: Arc<[Source]>,
        open: impl FnMut(&Source) -> io::Result<Stream> + Send + 'static,
    ) -> Self {
        Self { sources, files: Vec::new(), streams: Vec::new(), open: Box::new(open), window: Vec::new() }
    }

    /// Fills `into` with the bytes of a piece. A stream forgets what lies before the piece's end, and streams before this one are
    /// closed.
    ///
    /// # Errors
    /// Names the source and what is wrong: it cannot be read, or a file is not what it was when the job was made.
    ///
    /// # Panics
    /// If `into` is not as long as the piece.
    pub fn read_piece(&mut self, piece: PieceRange, into: &mut [u8]) -> io::Result<()> {
        self.streams.retain(|stream| stream.source >= piece.source);
        if let Some(stamp) = self.sources[piece.source.index()].file.clone() {
            return Ok(self.read_file(piece.source, &stamp, piece.offset, into)?);
        }
        let place = self.stream(piece.source)?;
        let stream = &mut self.streams[place];
        let name = &self.sources[piece.source.index()].name.0;
        let bytes = stream.range(name, piece.offset, into.len())?;
        if bytes.len() != into.len() {
            let cause = io::ErrorKind::UnexpectedEof.into();
            return Err(ReadError::Unreadable { path: name.clone(), cause }.into());
        }
        into.copy_from_slice(bytes);
        stream.release(piece.offset + piece.length);
        Ok(())
    }

    /// Passes over pieces that nobody wants to read: streams forget what lies before their ends.
    pub fn pass(&mut self, pieces: &[PieceRange]) {
        let Some(last) = pieces.last() else { return };
        self.streams.retain(|stream| stream.source >= last.source);
        for stream in &mut self.streams {
            if stream.source == last.source {
                stream.release(last.offset + last.length);
            }
        }
    }

    /// Fills `into` from an open file that is what it was, before and after.
    fn read_file(
        &mut self,
        source: SourceNumber,
        stamp: &FileStamp,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), ReadError> {
        let path = &stamp.path.0;
        let unreadable = |cause| ReadError::Unreadable { path: path.clone(), cause };
        let unchanged = |file: &File| match file.metadata() {
            Ok(found) if is_as_stamped(&found, stamp) => Ok(()),
            Ok(_) => Err(ReadError::Changed { path: path.clone(), size: stamp.size }),
            Err(cause) => Err(unreadable(cause)),
        };
        match self.files.iter().position(|(open, _)| *open == source) {
            Some(place) => self.files[place..].rotate_left(1),
            None => {
                let file = File::open(Path::new(OsStr::from_bytes(path))).map_err(unreadable)?;
                unchanged(&file)?;
                if self.files.len() == OPEN_FILES {
                    self.files.remove(0);
                }
                self.files.push((source, file));
            }
        }
        let (_, file) = self.files.last().expect("it was just put there");
        match file.read_exact_at(into, offset) {
            Ok(()) => unchanged(file),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ReadError::Changed { path: path.clone(), size: stamp.size })
            }
            Err(cause) => Err(unreadable(cause)),
        }
    }

    /// The place of an open stream; it is opened now if it was not before.
    fn stream(&mut self, source: SourceNumber) -> Result<usize, ReadError> {
        if let Some(place) = self.streams.iter().position(|stream| stream.source == source) {
            return Ok(place);
        }
        let stream = &self.sources[source.index()];
        let unreadable = |cause| ReadError::Unreadable { path: stream.name.0.clone(), cause };
        let input = (self.open)(stream).map_err(unreadable)?;
        self.streams.push(Held { source, input, held: Vec::new(), passed: 0, start: 0, ended: false });
        Ok(self.streams.len() - 1)
    }
}

/// Opens what is no file where a process stands.
fn opener(unpack: fn(Stream) -> io::Result<Stream>) -> impl FnMut(&Source) -> io::Result<Stream> + Send {
    let mut standard_input = Some(io::stdin());
    move |source| {
        if let Some(stamp) = &source.packed {
            return plain(Unchanged::open(stamp)?);
        }
        if source.name.0 == STANDARD_INPUT.as_bytes() {
            // Asked for again after its end was taken, it is as empty as a pipe would be.
            return standard_input
                .take()
                .map_or_else(|| Ok(Box::new(io::empty()) as Stream), |input| unpack(Box::new(input)));
        }
        unpack(Box::new(File::open(Path::new(OsStr::from_bytes(&source.name.0)))?))
    }
}

/// Whether an error is about what is read, rather than how.
pub(crate) fn is_told(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<ReadError>())
}

/// A file that is read from its beginning to its end, and stays what it was meanwhile.
struct Unchanged {
    file: File,
    stamp: FileStamp,
}

impl Unchanged {
    fn open(stamp: &FileStamp) -> io::Result<Self> {
        let file = File::open(Path::new(OsStr::from_bytes(&stamp.path.0)))?;
        let opened = Self { file, stamp: stamp.clone() };
        opened.check().map(|()| opened)
    }

    fn check(&self) -> io::Result<()> {
        if is_as_stamped(&self.file.metadata()?, &self.stamp) {
            return Ok(());
        }
        Err(ReadError::Changed { path: self.stamp.path.0.clone(), size: self.stamp.size }.into())
    }
}

impl Read for Unchanged {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        if read == 0 {
            self.check()?;
        }
        Ok(read)
    }
}

impl Sources for Reader {
    fn count(&self) -> u32 {
        u32::try_from(self.sources.len()).expect("sources are numbered in 32 bits")
    }

    fn size(&self, source: SourceNumber) -> Option<u64> {
        self.sources[source.index()].file.as_ref().map(|stamp| stamp.size)
    }

    fn name_bytes(&self, source: SourceNumber) -> usize {
        // Tasks by reference name the path too; counted for all, so that both kinds give the same chunks.
        let Source { name, file, .. } = &self.sources[source.index()];
        name.0.len() + file.as_ref().map_or(0, |file| file.path.0.len())
    }

    fn window(&mut self, source: SourceNumber, offset: u64, length: usize) -> io::Result<&[u8]> {
        if let Some(stamp) = self.sources[source.index()].file.clone() {
            let rest = usize::try_from(stamp.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut window = std::mem::take(&mut self.window);
            window.resize(length.min(rest), 0);
            let outcome = self.read_file(source, &stamp, offset, &mut window);
            self.window = window;
            outcome?;
            return Ok(&self.window);
        }
        let place = self.stream(source)?;
        let stream = &mut self.streams[place];
        stream.release(offset.saturating_sub(MAX_RECORD_BYTES));
        Ok(stream.range(&self.sources[source.index()].name.0, offset, length)?)
    }
}

impl Held {
    /// Bytes from `offset`, `length` of them; fewer only where the stream ends.
    fn range(&mut self, name: &[u8], offset: u64, length: usize) -> Result<&[u8], ReadError> {
        let path = || name.to_vec();
        let from = offset.checked_sub(self.start).ok_or_else(|| ReadError::Passed { path: path(), offset })?;
        let from = self.passed + usize::try_from(from).expect("windows lie near each other");
        let wanted = (from + length).saturating_sub(self.held.len());
        if wanted > 0 && !self.ended {
            self.held.reserve_exact(wanted);
            let taken = (&mut self.input).take(wanted as u64).read_to_end(&mut self.held);
            // Once a terminal said that it ends, it is not asked again.
            self.ended = taken.map_err(|cause| ReadError::Unreadable { path: path(), cause })? < wanted;
            if self.ended {
                // Many small streams may be in one chunk, and none needs its file any more.
                self.input = Box::new(io::empty());
            }
        }
        let end = self.held.len();
        Ok(&self.held[from.min(end)..(from + length).min(end)])
    }

    /// Lets go what lies before `offset`.
    fn release(&mut self, offset: u64) {
        let held = self.held.len() - self.passed;
        let gone = usize::try_from(offset.saturating_sub(self.start)).map_or(held, |gone| gone.min(held));
        self.passed += gone;
        self.start += gone as u64;
        // Moving what stays costs no more than what went, or comes once in a while.
        if self.passed >= RELEASE_BYTES.min(held - gone) {
            self.held.drain(..self.passed);
            self.passed = 0;
        }
    }
}

#[cfg(test)]
mod tests;
