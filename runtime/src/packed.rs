//! Input that is not plain: compressed, with a byte-order mark, or in UTF-16; read as the plain bytes that it stands for.
//!
//! It is recognised by how it begins, never by a name. What would surprise: such input is a stream, for nobody knows where a
//! place in it is without all that comes before; and what is compressed twice is unpacked once.

use crate::reader::is_told;
use bzip2::read::MultiBzDecoder;
use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream as Xz};
use std::io::{self, BufReader, Cursor, Read};

/// What a beginning has to be to tell all forms apart.
pub const BEGINNING_BYTES: usize = 512;
/// Read from a compressed file at once.
const READ_BYTES: usize = 256 << 10;
/// What unpacking may hold, in bytes: what the tools themselves need with their default settings, and more.
const MEMORY_BYTES: u64 = 256 << 20;
/// The window that zstd may ask for, as a power of two.
const WINDOW_LOG: u32 = 27;

/// How input is not plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// As bzip2 makes it.
    Bzip2,
    /// As xz makes it.
    Xz,
    /// UTF-8 behind a byte-order mark, or UTF-16 behind one.
    Marked,
}

impl Form {
    /// What begins like this; none if it is plain.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let begins = |with: &[u8]| beginning.starts_with(with);
        // A level, and then the mark of a block or of the end.
        let bzip2 = || {
            matches!(beginning, [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
                if rest.starts_with(b"1AY&SY") || rest.starts_with(b"\x17\x72\x45\x38\x50\x90"))
        };
        match beginning {
            _ if begins(b"\x1f\x8b\x08") => Some(Self::Gzip),
            _ if begins(b"\x28\xb5\x2f\xfd") => Some(Self::Zstd),
            _ if begins(b"\xfd7zXZ\0") => Some(Self::Xz),
            _ if begins(b"\xef\xbb\xbf") => Some(Self::Marked),
            [0xff, 0xfe, rest @ ..] if is_utf16(rest, u16::from_le_bytes) => Some(Self::Marked),
            [0xfe, 0xff, rest @ ..] if is_utf16(rest, u16::from_be_bytes) => Some(Self::Marked),
            _ if bzip2() => Some(Self::Bzip2),
            _ => None,
        }
    }
}

/// Whether what follows the mark is text in UTF-16, and not bytes of something else that happen to begin so: all of it are
/// characters, and some of them are of the kind that text in any language has.
fn is_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> bool {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let characters: Vec<Result<char, _>> = char::decode_utf16(units).collect();
    // The last one may be cut in two.
    let whole = characters.len().saturating_sub(usize::from(bytes.len() + 2 >= BEGINNING_BYTES));
    let sound = |character: &Result<char, _>| matches!(character, Ok(character) if !is_none(*character));
    let common = |character: &Result<char, _>| matches!(character, Ok(character) if is_common(*character));
    (bytes.is_empty() || characters.iter().any(common)) && characters[..whole].iter().all(sound)
}

/// ASCII, and what stands between ideographs and syllables.
const fn is_common(character: char) -> bool {
    matches!(character, '\u{1}'..='\u{7f}' | '\u{3000}'..='\u{30ff}')
}

/// No text has such characters.
const fn is_none(character: char) -> bool {
    matches!(character, '\0' | '\u{fffe}' | '\u{ffff}')
}

/// The plain bytes of an input, whatever its form.
///
/// # Errors
/// If it cannot be read, or cannot be unpacked. So does the reader that comes back, where it is cut short or damaged.
pub fn plain(input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let (form, input) = begun(input)?;
    match form {
        None => Ok(Box::new(input)),
        Some(Form::Marked) => Ok(unmarked(input)),
        Some(form) => unpacked(form, input).map_err(unpackable).map(|plain| Box::new(Unpacking(plain)) as Box<_>),
    }
}

fn unpacked(form: Form, input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    match form {
        Form::Marked => Ok(unmarked(input)),
        Form::Gzip => plain_text(MultiGzDecoder::new(large(input))),
        Form::Bzip2 => plain_text(MultiBzDecoder::new(large(input))),
        Form::Xz => {
            let stream = Xz::new_stream_decoder(MEMORY_BYTES, CONCATENATED).map_err(io::Error::other)?;
            plain_text(XzDecoder::new_stream(large(input), stream))
        }
        Form::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(large(input))?;
            decoder.window_log_max(WINDOW_LOG)?;
            plain_text(decoder)
        }
    }
}

/// What is unpacked, and says so where it cannot be.
struct Unpacking(Box<dyn Read + Send>);

impl Read for Unpacking {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(unpackable)
    }
}

fn unpackable(error: io::Error) -> io::Error {
    if is_told(&error) {
        return error;
    }
    let reason = format!("it looks compressed, and cannot be unpacked ({error}); get it anew, or read it --as-is");
    io::Error::new(error.kind(), reason)
}

/// What was unpacked may have a mark.
fn plain_text(input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let (form, input) = begun(input)?;
    Ok(if form == Some(Form::Marked) { unmarked(input) } else { Box::new(input) })
}

fn unmarked(input: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    let mut builder = DecodeReaderBytesBuilder::new();
    Box::new(builder.bom_sniffing(true).strip_bom(true).utf8_passthru(true).build(input))
}

fn large<R: Read>(input: R) -> BufReader<R> {
    BufReader::with_capacity(READ_BYTES, input)
}

/// The form of an input, and all of it.
fn begun<R: Read>(mut input: R) -> io::Result<(Option<Form>, impl Read + use<R>)> {
    let mut beginning = Vec::with_capacity(BEGINNING_BYTES);
    input.by_ref().take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    Ok((Form::of(&beginning), Cursor::new(beginning).chain(input)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = b"one two\none\n";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).unwrap()
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(text: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn utf16(text: &str, mark: &[u8], bytes: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.iter().copied().chain(text.encode_utf16().flat_map(bytes)).collect()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        plain(Cursor::new(bytes.to_vec()))?.read_to_end(&mut text)?;
        Ok(text)
    }

    type Packer = fn(&[u8]) -> Vec<u8>;

    const PACKERS: [Packer; 4] = [gzip, zstd, bzip2, xz];

    #[test]
    fn what_is_compressed_is_unpacked_with_all_of_its_members() {
        for (number, pack) in PACKERS.iter().enumerate() {
            assert_eq!(read(&pack(TEXT)).unwrap(), TEXT, "packer {number}");
            assert_eq!(read(&pack(b"")).unwrap(), b"", "packer {number}, nothing in it");
            let members = [pack(TEXT), pack(b"three "), pack(TEXT)].concat();
            assert_eq!(read(&members).unwrap(), [TEXT, b"three ", TEXT].concat(), "packer {number}, members");
        }
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_an_error() {
        let long: Vec<u8> =
            (0..200_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
        for (number, pack) in PACKERS.iter().enumerate() {
            let whole = pack(&long);
            assert!(read(&whole[..whole.len() / 2]).is_err(), "packer {number}, half of it");
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 0x55;
            assert!(read(&damaged).map_or(true, |text| text != long), "packer {number}, damaged");
        }
        // These have checksums of their own accord.
        for pack in [gzip, bzip2, xz] {
            let mut damaged = pack(&long);
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            assert!(read(&damaged).is_err());
        }
    }

    #[test]
    fn marks_go_and_utf_16_becomes_utf_8() {
        let text = "süß 🐇\r\n";
        let little = utf16(text, b"\xff\xfe", u16::to_le_bytes);
        let big = utf16(text, b"\xfe\xff", u16::to_be_bytes);
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for bytes in [&little, &big, &marked, &gzip(&little), &xz(&marked)] {
            assert_eq!(read(bytes).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let plain: [&[u8]; 12] = [
            b"",
            b"\x1f",
            b"\x1f\x8b",
            b"BZh9 is a word",
            b"BZh",
            b"\xef\xbb",
            b"a\xef\xbb\xbf",
            b"7zXZ",
            // A mark, and then no text in UTF-16: no common character, half a pair, nothing at all.
            b"\xff\xfe a\\b\n",
            b"\xff\xfea\0\0\xd8b\0",
            b"\xff\xfea\0\0\0",
            b"\xff",
        ];
        for bytes in plain {
            assert_eq!(Form::of(bytes), None, "{bytes:?}");
            assert_eq!(read(bytes).unwrap(), bytes);
        }
        // Ill-formed text behind a mark is passed on, as all text is.
        assert_eq!(read(b"\xef\xbb\xbfa\xffb").unwrap(), b"a\xffb");
        // Unpacked once.
        assert_eq!(read(&gzip(&gzip(TEXT))).unwrap(), gzip(TEXT));
    }
}
