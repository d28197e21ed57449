//! What the reader must hold to: the splitter's chunks, byte for byte, from files and streams alike, in bounded memory.

use super::*;
use crate::stamp::stamp_of;
use rabbit_reduce_core::boundary::Boundary;
use rabbit_reduce_core::spec::ByteText;
use rabbit_reduce_core::split::Splitter;
use std::fs;
use tempfile::TempDir;

fn stream(name: &str) -> Source {
    Source::stream(name.as_bytes().to_vec())
}

fn file(path: &Path) -> Source {
    let (size, modified_ns) = stamp_of(&fs::metadata(path).unwrap());
    let path = ByteText(path.as_os_str().as_bytes().to_vec());
    Source { file: Some(FileStamp { path: path.clone(), size, modified_ns }), ..Source::stream(path.0) }
}

fn standard_input(input: impl Read + Send + 'static) -> Reader {
    Reader::of_streams([stream("-")].into(), once(input))
}

fn read(reader: &mut Reader, piece: PieceRange) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; piece.length as usize];
    reader.read_piece(piece, &mut bytes).map(|()| bytes)
}

/// The pieces of all chunks, by source, and the most bytes that were held of streams.
fn split(reader: &mut Reader, boundary: Boundary, chunk_bytes: u64) -> (Vec<(u32, Vec<u8>)>, usize) {
    let (mut splitter, mut pieces, mut most) = (Splitter::new(boundary, chunk_bytes), Vec::new(), 0);
    while let Some(plan) = splitter.next(reader).unwrap() {
        most = most.max(reader.streams.iter().map(|stream| stream.held.capacity()).sum());
        for piece in plan.pieces {
            pieces.push((piece.source.0, read(reader, piece).unwrap()));
        }
    }
    (pieces, most)
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
}

/// Opens as `input`, once.
fn once(input: impl Read + Send + 'static) -> impl FnMut(&Source) -> io::Result<Stream> + Send {
    let mut input = Some(input);
    move |_| Ok(Box::new(input.take().expect("it is opened once")) as Stream)
}

/// Gives few bytes at a time, as a pipe may.
struct Trickle(io::Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(7);
        self.0.read(&mut into[..length])
    }
}

#[test]
fn a_stream_gives_the_chunks_that_a_file_gives() {
    let folder = TempDir::new().unwrap();
    let text = lines(5000);
    for name in ["a", "b", "c"] {
        fs::write(folder.path().join(name), if name == "b" { b"" } else { text.as_slice() }).unwrap();
    }
    let mut files = Reader::new(["a", "b", "c"].map(|name| file(&folder.path().join(name))).into());
    let (from_files, _) = split(&mut files, Boundary::Line, 1000);
    assert!(files.files.len() <= OPEN_FILES);

    let names = [stream(folder.path().join("a").to_str().unwrap()), stream("/dev/null"), stream("-")];
    let (mut trickle, mut open) = (once(Trickle(io::Cursor::new(text.clone()))), opener(plain));
    let open = move |source: &Source| if source.name.0 == b"-" { trickle(source) } else { open(source) };
    let mut streams = Reader::of_streams(names.into(), open);
    let (from_streams, most) = split(&mut streams, Boundary::Line, 1000);
    assert_eq!(from_files, from_streams);
    assert_eq!(from_files.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<_>>(), [text.clone(), text].concat());
    assert!(most < 16 << 10, "{most} bytes held");
}

#[test]
fn a_record_too_long_to_travel_is_not_held() {
    let long = io::repeat(b'x').take(64 << 20).chain(&b"\nshort\n"[..]);
    let (pieces, most) = split(&mut standard_input(long), Boundary::Line, 1 << 20);
    assert_eq!(pieces, [(0, b"short\n".to_vec())]);
    assert!(most <= 32 << 20, "{most} bytes held");
}

#[test]
fn the_longest_record_that_travels_is_held_whole() {
    let longest = usize::try_from(MAX_RECORD_BYTES).unwrap();
    let text = [vec![b'x'; longest - 1], b"\n".to_vec()].concat();
    let (pieces, _) =
        split(&mut standard_input(io::Cursor::new([b"a\n", text.as_slice(), b"b"].concat())), Boundary::Line, 100);
    assert_eq!(pieces, [(0, b"a\n".to_vec()), (0, text), (0, b"b".to_vec())]);
}

#[test]
fn what_a_stream_let_go_cannot_be_read_again() {
    let mut reader = standard_input(&b"0123456789"[..]);
    let piece = |offset, length| PieceRange { source: SourceNumber(0), offset, length, continues: false, ends: false };
    assert_eq!(reader.window(SourceNumber(0), 0, 4).unwrap(), b"0123");
    assert_eq!(read(&mut reader, piece(0, 4)).unwrap(), b"0123");
    assert_eq!(reader.window(SourceNumber(0), 6, 9).unwrap(), b"6789");
    assert_eq!(read(&mut reader, piece(4, 6)).unwrap(), b"456789");
    assert_eq!(reader.window(SourceNumber(0), 10, 9).unwrap(), b"");
    assert!(read(&mut reader, piece(0, 4)).unwrap_err().to_string().contains("gone"));
    assert!(read(&mut reader, piece(10, 1)).is_err());
}

#[test]
fn a_file_that_changes_is_refused_by_its_path_before_and_while_it_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a\tb");
    fs::write(&path, lines(100)).unwrap();
    let sources: Arc<[Source]> = [file(&path)].into();
    let number = SourceNumber(0);

    let mut reading = Reader::new(Arc::clone(&sources));
    assert_eq!(reading.window(number, 0, 6).unwrap(), b"line 0");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    for (offset, length) in [(0, 6), (8, 6)] {
        let error = reading.window(number, offset, length).unwrap_err();
        assert!(error.to_string().contains("a\\tb changed since the job was made"), "{error}");
    }
    let late = Reader::new(Arc::clone(&sources)).window(number, 0, 6).unwrap_err();
    assert!(late.to_string().contains("changed"), "{late}");

    fs::remove_file(&path).unwrap();
    let gone = Reader::new(sources).window(number, 0, 6).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    assert!(gone.to_string().contains("a\\tb cannot be read"), "{gone}");
}
