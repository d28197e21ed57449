//! Rows for a terminal: whatever a key holds, it commands nothing.
//!
//! It knows lines and tabs, and no format. What would surprise: this is for eyes; what goes to a file or through a pipe keeps its
//! bytes.

use rabbit_reduce_runtime::shown::Shown;
use std::io::{self, Write};

/// The longest line that is held; of a longer one, a part is shown after the other.
const HELD_BYTES: usize = 64 << 10;

/// A writer that spells out what a terminal would obey.
#[derive(Debug)]
pub(super) struct Harmless<W: Write> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Harmless<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    /// Writes what is held, without its end.
    fn write_line(&mut self) -> io::Result<()> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        for (number, field) in line.split(|byte| *byte == b'\t').enumerate() {
            if number > 0 {
                self.out.write_all(b"\t")?;
            }
            write!(self.out, "{}", Shown(field))?;
        }
        self.line.clear();
        Ok(())
    }
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.line.extend_from_slice(end);
                    self.write_line()?;
                    self.out.write_all(b"\n")?;
                }
                None => self.line.extend_from_slice(piece),
            }
            if self.line.len() > HELD_BYTES {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_tabs_stay_and_commands_are_spelt_out_wherever_they_are_cut() {
        let text = "a\u{1b}]0;x\u{7}\t1\r\nü\u{9b}2J\t\u{202e}\nend";
        let expected = "a\\u{1b}]0;x\\u{7}\t1\nü\\u{9b}2J\t\\u{202e}\nend";
        for size in 1..text.len() {
            let mut shown = Vec::new();
            let mut out = Harmless::new(&mut shown);
            text.as_bytes().chunks(size).for_each(|some| out.write_all(some).unwrap());
            out.flush().unwrap();
            assert_eq!(String::from_utf8(shown).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_held_without_end() {
        let mut shown = Vec::new();
        let mut out = Harmless::new(&mut shown);
        for _ in 0..100 {
            out.write_all(&[b'x'; 10_000]).unwrap();
            assert!(out.line.len() <= HELD_BYTES);
        }
        out.flush().unwrap();
        assert_eq!(shown.len(), 1_000_000);
    }
}
