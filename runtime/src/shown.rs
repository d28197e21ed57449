//! Names and reasons as a terminal may show them: whatever they hold, on one line and without commands to the terminal.
//!
//! It shortens nothing. What would surprise: this form is for eyes only and does not read back; a result's formats escape
//! by their own rules.

use std::error::Error;
use std::fmt::{self, Write};

/// Bytes for eyes: control characters, and those that turn the direction of text, as `\u{…}`; bytes that are not UTF-8 as
/// `\x…`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.utf8_chunks() {
            for character in piece.valid().chars() {
                if misleads(character) {
                    write!(out, "{}", character.escape_default())?;
                } else {
                    out.write_char(character)?;
                }
            }
            for byte in piece.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Text of several lines for eyes, of which each is shown so.
#[must_use]
pub fn lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| Shown(line.as_bytes()).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// JSON for eyes and for programs: what would command a terminal is written as an escape, which reads back.
#[must_use]
pub fn json_for_eyes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if misleads(character) && character != '\n' {
            // Inside a string, as nothing else of JSON is such a character.
            text.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            text.push(character);
        }
    }
    text
}

fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error and all that caused it, on one line. Lines that only point at something above them are left out.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        let lines = message.lines().map(str::trim).filter(|line| line.chars().any(|sign| !"^- ".contains(sign)));
        let message = lines.collect::<Vec<_>>().join(" ");
        next = error.source();
        // Some libraries say their cause in their own words too.
        if text.ends_with(&message) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&message);
    }
    Shown(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_spelt_out() {
        let shown = Shown(b"\x1b[31mred\n\xff\xc3\xa9 \xe2\x80\xae").to_string();
        assert_eq!(shown, "\\u{1b}[31mred\\n\\xff\u{e9} \\u{202e}");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\r\n\x1b[2Jb\n\u{61c}"), "a\\r\n\\u{1b}[2Jb\n\\u{61c}");
    }

    #[test]
    fn json_reads_back_and_commands_nothing() {
        let json = "{\n  \"a\": \"\u{9b}2J\u{7f}\u{202e}\u{e9}\"\n}\n";
        assert_eq!(json_for_eyes(json), "{\n  \"a\": \"\\u009b2J\\u007f\\u202e\u{e9}\"\n}\n");
    }

    #[test]
    fn an_error_and_its_causes_take_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("the outer")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("first:\n    (a\n    ^\nsecond"));
        assert_eq!(one_line(&error), "the outer: first: (a second");
    }
}
