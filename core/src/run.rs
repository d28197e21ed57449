//! A run: combined pairs sorted by key, in a file that tells when it is damaged.
//!
//! `magic`, then frames `length u32 | XXH3 u64 | pairs`, then a frame of length 0 whose eight bytes count the pairs. All
//! numbers are little-endian; front coding begins anew in every frame. What would surprise: a part of a result is a run too.

use crate::pairs::{Cursor, PairReader, PairWriter};
use std::io::{self, Read, Write};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"RRrun\x00\x00\x01";
/// A frame is written when it holds this many bytes.
const FRAME_BYTES: usize = 128 << 10;
/// The longest frame that is read: a full one, and the longest pair.
const MAX_FRAME_BYTES: usize = FRAME_BYTES + 2 * crate::pairs::MAX_FIELD_BYTES;

/// What a run holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunSize {
    /// Pairs in it.
    pub pairs: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a run.
#[derive(Debug)]
pub struct RunWriter<W> {
    output: W,
    frame: Vec<u8>,
    pairs: PairWriter,
    size: RunSize,
}

impl<W: Write> RunWriter<W> {
    /// Begins a run.
    ///
    /// # Errors
    /// Fails if the output does.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(MAGIC)?;
        let size = RunSize { pairs: 0, bytes: MAGIC.len() as u64 };
        Ok(Self { output, frame: Vec::new(), pairs: PairWriter::default(), size })
    }

    /// Appends a pair; keys ascend.
    ///
    /// # Errors
    /// Fails if the output does.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.pairs.put(&mut self.frame, key, value);
        self.size.pairs += 1;
        if self.frame.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    /// Ends the run.
    ///
    /// # Errors
    /// Fails if the output does.
    pub fn finish(mut self) -> io::Result<(W, RunSize)> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        self.output.write_all(&0u32.to_le_bytes())?;
        self.output.write_all(&self.size.pairs.to_le_bytes())?;
        self.size.bytes += 12;
        Ok((self.output, self.size))
    }

    fn flush(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.frame.len()).expect("a frame is far below 4 GiB");
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(&xxh3_64(&self.frame).to_le_bytes())?;
        self.output.write_all(&self.frame)?;
        self.size.bytes += 12 + self.frame.len() as u64;
        self.frame.clear();
        self.pairs = PairWriter::default();
        Ok(())
    }
}

/// Reads a run, holding one frame.
#[derive(Debug)]
pub struct RunReader<R> {
    input: R,
    frame: PairReader<Vec<u8>>,
    seen: u64,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Begins,
    Inside,
    Ended,
}

impl<R: Read> RunReader<R> {
    /// Reads from the beginning of a run.
    pub fn new(input: R) -> Self {
        let frame = PairReader::new(Vec::new());
        Self { input, frame, seen: 0, state: State::Begins }
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let length = u32::from_le_bytes(read_array(&mut self.input)?) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(damaged("a frame's length lies"));
        }
        let number = u64::from_le_bytes(read_array(&mut self.input)?);
        if length == 0 {
            self.state = State::Ended;
            return if number == self.seen { Ok(()) } else { Err(damaged("pairs are missing")) };
        }
        let mut frame = Vec::new();
        (&mut self.input).take(length as u64).read_to_end(&mut frame)?;
        if frame.len() != length || xxh3_64(&frame) != number {
            return Err(damaged("a frame's checksum is wrong"));
        }
        self.frame = PairReader::new(frame);
        Ok(())
    }
}

impl<R: Read> Cursor for RunReader<R> {
    fn advance(&mut self) -> io::Result<bool> {
        if self.state == State::Begins {
            if read_array(&mut self.input)? != *MAGIC {
                return Err(damaged("it does not begin as a run does"));
            }
            self.state = State::Inside;
        }
        while self.state == State::Inside {
            if self.frame.advance()? {
                self.seen += 1;
                return Ok(true);
            }
            self.next_frame()?;
        }
        Ok(false)
    }

    fn key(&self) -> &[u8] {
        self.frame.key()
    }

    fn value(&self) -> &[u8] {
        self.frame.value()
    }
}

fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut short"),
        _ => error,
    })?;
    Ok(bytes)
}

fn damaged(how: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the run is damaged: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::PairSource;

    fn sample(pairs: u32) -> Vec<u8> {
        let mut writer = RunWriter::new(Vec::new()).unwrap();
        for number in 0..pairs {
            writer.put(&number.to_be_bytes(), b"some value").unwrap();
        }
        let (bytes, size) = writer.finish().unwrap();
        assert_eq!(size, RunSize { pairs: u64::from(pairs), bytes: bytes.len() as u64 });
        bytes
    }

    #[test]
    fn a_run_of_many_frames_reads_back() {
        let bytes = sample(50_000);
        let mut reader = RunReader::new(bytes.as_slice());
        for number in 0u32..50_000 {
            assert_eq!(reader.next().unwrap(), Some((number.to_be_bytes().as_slice(), b"some value".as_slice())));
        }
        assert_eq!(reader.next().unwrap(), None);
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let bytes = sample(100);
        let all = |bytes: &[u8]| -> io::Result<()> {
            let mut reader = RunReader::new(bytes);
            while reader.next()?.is_some() {}
            Ok(())
        };
        all(&bytes).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(all(&changed).is_err(), "byte {place} changed");
            assert!(all(&bytes[..place]).is_err(), "cut at {place}");
        }
    }
}
