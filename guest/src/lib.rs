//! Programs for rabbit-reduce as WebAssembly modules.
//!
//! A module is given one record after the other, and puts out pairs; it may combine two values of a key, and reduce a key with
//! all its values. It travels with its job to whoever runs it, and can reach nothing but what it is given: no files, no
//! network, no clock, no randomness. So it gives the same bytes everywhere.
//!
//! ```
//! use rabbit_reduce_guest::{export, Combine, Map, Out, Record, Refused};
//!
//! #[derive(Default)]
//! struct WordCount;
//!
//! impl Map for WordCount {
//!     fn map(&self, record: Record<'_>, out: &mut Out) -> Result<(), Refused> {
//!         for word in record.text()?.split_whitespace() {
//!             out.pair(word, "1");
//!         }
//!         Ok(())
//!     }
//! }
//!
//! impl Combine for WordCount {
//!     fn combine(&self, total: &[u8], other: &[u8], sum: &mut Vec<u8>) -> Result<(), Refused> {
//!         rabbit_reduce_guest::put_number(rabbit_reduce_guest::number(total)? + rabbit_reduce_guest::number(other)?, sum);
//!         Ok(())
//!     }
//! }
//!
//! export!(WordCount: Map + Combine);
//! # fn main() {}
//! ```
//!
//! Build it with `crate-type = ["cdylib"]` and `cargo build --release --target wasm32-unknown-unknown`. What would surprise: a
//! module has a state of its own while it maps a chunk, and it must not matter; a record that makes it panic is not counted,
//! and the next begins with a new instance.
#![warn(missing_docs)]

#[doc(hidden)]
pub mod border;
mod words;

pub use words::Words;

use std::fmt;

/// A record: a line without its end.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    bytes: &'r [u8],
}

impl<'r> Record<'r> {
    /// Its bytes.
    pub fn bytes(&self) -> &'r [u8] {
        self.bytes
    }

    /// Its text.
    ///
    /// # Errors
    /// If it is not UTF-8; pass that on, and the record is not counted.
    pub fn text(&self) -> Result<&'r str, Refused> {
        std::str::from_utf8(self.bytes).map_err(|error| Refused::new(error.to_string()))
    }

    /// Its words: runs of bytes of which none is white space of ASCII. Quicker than to split it by a closure.
    pub fn words(&self) -> Words<'r> {
        Words::of(self.bytes)
    }

    /// The name of the source that it is in.
    pub fn source(&self) -> Vec<u8> {
        border::asked(border::host::source).unwrap_or_default()
    }

    /// Where it begins there, in bytes.
    pub fn offset(&self) -> u64 {
        border::host::offset()
    }
}

/// Where pairs, and rows of a reduce, are put out.
#[derive(Debug)]
pub struct Out(border::Block);

impl Out {
    /// Puts out a pair. Some thousand bytes of them are handed over together, so no long list is held here.
    #[inline]
    pub fn pair(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.0.put(key.as_ref(), value.as_ref());
    }
}

/// The values of a key, in the order of the input, or the one that all of them were combined to.
#[derive(Debug)]
pub struct Values {
    buffer: Vec<u8>,
}

impl Values {
    /// The next one, until all have been given. It need not be asked to the end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<&[u8]> {
        border::next(&mut self.buffer)
    }
}

/// Why a record or a key is not counted: one line for people.
#[derive(Clone, Debug)]
pub struct Refused(String);

impl Refused {
    /// For this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What every module does. It is made once for an instance, with [`Default`].
pub trait Map: Default + 'static {
    /// Maps a record to pairs.
    ///
    /// # Errors
    /// If the record is not to be counted: then none of its pairs is.
    fn map(&self, record: Record<'_>, out: &mut Out) -> Result<(), Refused>;
}

/// What a module does whose values can be merged two by two, wherever they meet.
pub trait Combine: Map {
    /// Puts into `sum` what two values of a key make together. Associative and commutative.
    ///
    /// # Errors
    /// If they are no values of this program: then the job fails.
    fn combine(&self, total: &[u8], other: &[u8], sum: &mut Vec<u8>) -> Result<(), Refused>;
}

/// What a module does that needs all values of a key.
pub trait Reduce: Map {
    /// Reduces a key to any number of rows, each a key and a value.
    ///
    /// # Errors
    /// If the key is not to be counted: then it has no row, and is reported as lost.
    fn reduce(&self, key: &[u8], values: &mut Values, out: &mut Out) -> Result<(), Refused>;
}

/// What the job was told with `--set NAME=VALUE`.
pub fn setting(name: &str) -> Option<String> {
    let value = border::asked(|at, room| border::host::setting(name, at, room))?;
    String::from_utf8(value).ok()
}

/// Counts something; with the job's own counters it is told as `program.NAME`. What a record counts is only added if it is
/// counted itself.
pub fn count(name: &str, more: u64) {
    border::host::count(name, more);
}

/// Says something in the log of whoever runs the module; only the first hundred lines of an instance are kept.
pub fn log(text: &str) {
    border::host::log(text);
}

/// A value that is a number in decimal digits.
///
/// # Errors
/// If it is none, or greater than 18446744073709551615.
pub fn number(value: &[u8]) -> Result<u64, Refused> {
    let no_number = || Refused(format!("`{}` is no number", String::from_utf8_lossy(value)));
    if value.is_empty() {
        return Err(no_number());
    }
    value.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        let number = if digit < 10 { number.checked_mul(10) } else { None };
        number.and_then(|number| number.checked_add(digit.into())).ok_or_else(no_number)
    })
}

/// Appends a number in decimal digits.
pub fn put_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[begin..]);
}

/// Makes a type the program of this module: `export!(Type: Map)`, or with `+ Combine`, `+ Reduce`, or both in this order.
#[macro_export]
macro_rules! export {
    ($program:ty: Map) => {
        $crate::export!(@begin $program);
    };
    ($program:ty: Map + Combine) => {
        $crate::export!(@begin $program);
        $crate::export!(@combine $program);
    };
    ($program:ty: Map + Reduce) => {
        $crate::export!(@begin $program);
        $crate::export!(@reduce $program);
    };
    ($program:ty: Map + Combine + Reduce) => {
        $crate::export!(@begin $program);
        $crate::export!(@combine $program);
        $crate::export!(@reduce $program);
    };
    (@begin $program:ty) => {
        std::thread_local! {
            static RABBIT_REDUCE_PROGRAM: $program = $crate::border::begin::<$program>();
        }

        /// Where the next call takes what it is about.
        #[cfg_attr(target_arch = "wasm32", no_mangle)]
        pub extern "C" fn reserve(bytes: u32) -> u32 {
            $crate::border::reserve(bytes)
        }

        /// Maps a record.
        #[cfg_attr(target_arch = "wasm32", no_mangle)]
        pub extern "C" fn map(at: u32, length: u32) {
            RABBIT_REDUCE_PROGRAM.with(|program| $crate::border::map(program, at, length));
        }
    };
    (@combine $program:ty) => {
        /// Maps many records, whose pairs may meet.
        #[cfg_attr(target_arch = "wasm32", no_mangle)]
        pub extern "C" fn map_all(at: u32, length: u32) {
            RABBIT_REDUCE_PROGRAM.with(|program| $crate::border::map_all(program, at, length));
        }

        /// Combines values.
        #[cfg_attr(target_arch = "wasm32", no_mangle)]
        pub extern "C" fn combine(at: u32, length: u32) -> u64 {
            RABBIT_REDUCE_PROGRAM.with(|program| $crate::border::combine(program, at, length))
        }
    };
    (@reduce $program:ty) => {
        /// Reduces a key.
        #[cfg_attr(target_arch = "wasm32", no_mangle)]
        pub extern "C" fn reduce(at: u32, length: u32) {
            RABBIT_REDUCE_PROGRAM.with(|program| $crate::border::reduce(program, at, length));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_digits() {
        for number in [0, 7, 10, 1999, u64::MAX] {
            let mut digits = Vec::new();
            put_number(number, &mut digits);
            assert_eq!(digits, number.to_string().into_bytes());
            assert_eq!(super::number(&digits).unwrap(), number);
        }
        for wrong in ["", "-1", "1.5", "18446744073709551616", "99999999999999999999", "x"] {
            assert!(number(wrong.as_bytes()).is_err(), "{}", wrong);
        }
    }
}
