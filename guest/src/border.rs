//! The border between a module and whoever runs it: bytes in one memory, named by where they are.
//!
//! The one file of this crate that is `unsafe`. What would surprise: outside a module there is nobody to talk to, so that everything
//! here panics there; a program's own functions can be tested without it.

use crate::{Combine, Map, Out, Record, Reduce, Refused, Values};
use std::cell::{Cell, RefCell};
use std::panic;

/// There is nothing more.
const NONE: u32 = u32::MAX;
/// Bytes of pairs that are handed over together, at the most.
const BLOCK_BYTES: usize = 8 << 10;
/// What the lengths of a pair may take in a block.
const LENGTHS_BYTES: usize = 4;
/// Few bytes are copied as if they were so many: behind what is reserved, and behind a block, there is as much room.
const COPIED_BYTES: usize = 16;
/// Room for what is asked for first.
const ROOM: usize = 256;

thread_local! {
    /// What a call is about is written here, by whoever calls.
    static RESERVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where that begins and ends, with the room behind it.
    static GIVEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// What waits to be handed over, between two calls its room.
    static BLOCK: Cell<Option<Block>> = const { Cell::new(None) };
    /// What a combination has made, and what it makes next.
    static SUM: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// What a module is offered.
#[cfg(target_arch = "wasm32")]
pub mod host {
    mod raw {
        #[link(wasm_import_module = "rabbit_reduce_1")]
        extern "C" {
            pub fn emit(key: *const u8, key_length: usize, value: *const u8, value_length: usize);
            pub fn emit_all(at: *const u8, length: usize);
            pub fn next(at: *mut u8, room: usize) -> u32;
            pub fn source(at: *mut u8, room: usize) -> u32;
            pub fn offset() -> u64;
            pub fn setting(name: *const u8, name_length: usize, at: *mut u8, room: usize) -> u32;
            pub fn refuse(at: *const u8, length: usize);
            pub fn count(name: *const u8, name_length: usize, more: u64);
            pub fn log(at: *const u8, length: usize);
        }
    }

    // SAFETY of all of these: the host reads what a shared slice names, writes at most `room` bytes to where it is told, and
    // keeps neither after it has returned. Both are memory that the caller has borrowed or owns until then.

    pub fn emit(key: &[u8], value: &[u8]) {
        unsafe { raw::emit(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
    }
    pub fn emit_all(pairs: &[u8]) {
        unsafe { raw::emit_all(pairs.as_ptr(), pairs.len()) }
    }
    pub fn next(at: *mut u8, room: usize) -> u32 {
        unsafe { raw::next(at, room) }
    }
    pub fn source(at: *mut u8, room: usize) -> u32 {
        unsafe { raw::source(at, room) }
    }
    pub fn offset() -> u64 {
        unsafe { raw::offset() }
    }
    pub fn setting(name: &str, at: *mut u8, room: usize) -> u32 {
        unsafe { raw::setting(name.as_ptr(), name.len(), at, room) }
    }
    pub fn refuse(reason: &str) {
        unsafe { raw::refuse(reason.as_ptr(), reason.len()) }
    }
    pub fn count(name: &str, more: u64) {
        unsafe { raw::count(name.as_ptr(), name.len(), more) }
    }
    pub fn log(text: &str) {
        unsafe { raw::log(text.as_ptr(), text.len()) }
    }
}

/// Nobody.
#[cfg(not(target_arch = "wasm32"))]
#[allow(missing_docs, unused_variables)]
pub mod host {
    fn nobody() -> ! {
        panic!("this is a module for rabbit-reduce: build it for wasm32-unknown-unknown")
    }

    pub fn emit(key: &[u8], value: &[u8]) {
        nobody()
    }
    pub fn emit_all(pairs: &[u8]) {
        nobody()
    }
    pub fn next(at: *mut u8, room: usize) -> u32 {
        nobody()
    }
    pub fn source(at: *mut u8, room: usize) -> u32 {
        nobody()
    }
    pub fn offset() -> u64 {
        nobody()
    }
    pub fn setting(name: &str, at: *mut u8, room: usize) -> u32 {
        nobody()
    }
    pub fn refuse(reason: &str) {
        nobody()
    }
    pub fn count(name: &str, more: u64) {
        nobody()
    }
    pub fn log(text: &str) {
        nobody()
    }
}

/// Makes the program. From now on a panic says why before it ends the call.
pub fn begin<P: Default>() -> P {
    panic::set_hook(Box::new(|panic| host::refuse(&panic.to_string())));
    P::default()
}

/// Where so many bytes can be written.
pub fn reserve(bytes: u32) -> u32 {
    RESERVED.with(|reserved| {
        let mut reserved = reserved.borrow_mut();
        reserved.resize(bytes as usize + COPIED_BYTES, 0);
        let begin = reserved.as_mut_ptr() as usize;
        GIVEN.with(|given| given.set((begin, begin + reserved.len())));
        begin as u32
    })
}

/// What the host has written.
///
/// It lies in what was reserved, which nothing changes before the host calls `reserve` again; and the host does not call while
/// it waits for this call.
fn given<'g>(at: u32, length: u32) -> &'g [u8] {
    // SAFETY: see above; without bytes, a pointer may be anything but null.
    if length == 0 {
        &[]
    } else {
        unsafe { std::slice::from_raw_parts(at as usize as *const u8, length as usize) }
    }
}

/// Pairs on their way: the lengths of a key and of its value in LEB128, and their bytes.
#[derive(Debug)]
pub struct Block {
    bytes: Box<[u8; BLOCK_BYTES + COPIED_BYTES]>,
    used: usize,
    given: (usize, usize),
}

impl Block {
    fn new() -> Self {
        Self { bytes: Box::new([0; BLOCK_BYTES + COPIED_BYTES]), used: 0, given: (0, 0) }
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        let bytes = LENGTHS_BYTES + key.len() + value.len();
        if bytes > BLOCK_BYTES - self.used {
            self.hand_over();
            if bytes > BLOCK_BYTES {
                return host::emit(key, value);
            }
        }
        let to = &mut self.bytes[self.used..][..bytes + COPIED_BYTES];
        let begin = put_length(to, key.len());
        let begin = begin + put_length(&mut to[begin..], value.len());
        match given_from(self.given, key) {
            Some(more) => to[begin..][..COPIED_BYTES].copy_from_slice(&more),
            None => copy(&mut to[begin..][..key.len()], key),
        }
        copy(&mut to[begin + key.len()..][..value.len()], value);
        self.used += begin + key.len() + value.len();
    }

    #[inline(never)]
    fn hand_over(&mut self) {
        if self.used > 0 {
            host::emit_all(&self.bytes[..self.used]);
            self.used = 0;
        }
    }
}

/// The bytes of a short key that lies in what the host has written, and those behind it: quicker to copy than to look how many
/// they are.
#[inline(always)]
fn given_from((begin, end): (usize, usize), key: &[u8]) -> Option<[u8; COPIED_BYTES]> {
    let at = key.as_ptr() as usize;
    if key.len() > COPIED_BYTES || at < begin || at + COPIED_BYTES > end {
        return None;
    }
    // SAFETY: from `begin` to `end` lies what was reserved, written at least with zeros, and nothing changes it before the host
    // calls `reserve` again. It was told to the host as a number, so that a number leads to any of its bytes.
    Some(unsafe { (at as *const [u8; COPIED_BYTES]).read_unaligned() })
}

/// Puts a length to where there is room, and tells how many bytes it has.
#[inline(always)]
fn put_length(to: &mut [u8], mut length: usize) -> usize {
    let mut bytes = 0;
    while length >= 0x80 {
        to[bytes] = length as u8 | 0x80;
        length >>= 7;
        bytes += 1;
    }
    to[bytes] = length as u8;
    bytes + 1
}

/// A copy of mostly few bytes, which a call would cost more than: what overlaps is written twice.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    let length = from.len();
    match length {
        0 => {}
        1..=3 => {
            to[0] = from[0];
            to[length / 2] = from[length / 2];
            to[length - 1] = from[length - 1];
        }
        4..=7 => {
            to[..4].copy_from_slice(&from[..4]);
            to[length - 4..].copy_from_slice(&from[length - 4..]);
        }
        8..=16 => {
            to[..8].copy_from_slice(&from[..8]);
            to[length - 8..].copy_from_slice(&from[length - 8..]);
        }
        _ => to.copy_from_slice(from),
    }
}

/// Has pairs put out, and hands over the last of them.
fn putting_out(work: impl FnOnce(&mut Out) -> Result<(), Refused>) {
    let mut out = Out(BLOCK.with(|block| block.take()).unwrap_or_else(Block::new));
    out.0.given = GIVEN.with(|given| given.get());
    match work(&mut out) {
        Ok(()) => out.0.hand_over(),
        // None of them counts.
        Err(refused) => {
            out.0.used = 0;
            host::refuse(&refused.0);
        }
    }
    BLOCK.with(|block| block.set(Some(out.0)));
}

/// Maps what the host has written.
pub fn map(program: &impl Map, at: u32, length: u32) {
    putting_out(|out| program.map(Record { bytes: given(at, length) }, out));
}

/// Maps the records that the host has written, up to the first that is refused: then they all come again, one by one.
pub fn map_all(program: &impl Map, at: u32, length: u32) {
    putting_out(|out| {
        let mut list = given(at, length);
        while let Some(bytes) = value(&mut list) {
            program.map(Record { bytes }, out)?;
        }
        Ok(())
    });
}

/// Combines the values that the host has written; tells where the sum is, and how long.
pub fn combine(program: &impl Combine, at: u32, length: u32) -> u64 {
    SUM.with(|sums| {
        let (total, sum) = &mut *sums.borrow_mut();
        let mut list = given(at, length);
        total.clear();
        total.extend_from_slice(value(&mut list).unwrap_or_default());
        while let Some(other) = value(&mut list) {
            sum.clear();
            if let Err(refused) = program.combine(total, other, sum) {
                host::refuse(&refused.0);
                break;
            }
            std::mem::swap(total, sum);
        }
        (total.as_ptr() as usize as u64) << 32 | total.len() as u64
    })
}

/// The next value or record of a list, behind its length in LEB128.
fn value<'l>(list: &mut &'l [u8]) -> Option<&'l [u8]> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let (byte, rest) = list.split_first()?;
        *list = rest;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            break;
        }
    }
    let (value, rest) = list.split_at(length);
    *list = rest;
    Some(value)
}

/// Reduces the key that the host has written.
pub fn reduce(program: &impl Reduce, at: u32, length: u32) {
    let mut values = Values { buffer: vec![0; ROOM] };
    putting_out(|out| program.reduce(given(at, length), &mut values, out));
}

/// The next value, in a buffer that grows as it has to.
pub(crate) fn next(buffer: &mut Vec<u8>) -> Option<&[u8]> {
    loop {
        match host::next(buffer.as_mut_ptr(), buffer.len()) {
            NONE => return None,
            length if length as usize <= buffer.len() => return Some(&buffer[..length as usize]),
            length => buffer.resize((length as usize).next_power_of_two(), 0),
        }
    }
}

/// Something that the host writes where there is room for it.
pub(crate) fn asked(mut ask: impl FnMut(*mut u8, usize) -> u32) -> Option<Vec<u8>> {
    let mut buffer = vec![0; ROOM];
    loop {
        match ask(buffer.as_mut_ptr(), buffer.len()) {
            NONE => return None,
            length if length as usize <= buffer.len() => {
                buffer.truncate(length as usize);
                return Some(buffer);
            }
            length => buffer.resize(length as usize, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where addresses have 32 bits, as in a module; `scripts/miri` runs it on such a machine.
    #[cfg(target_pointer_width = "32")]
    #[test]
    fn what_the_host_writes_is_what_a_program_is_given() {
        for text in [&b"a record"[..], b"", &[7; 1000]] {
            let length = text.len() as u32;
            let at = reserve(length);
            // SAFETY: so many bytes are reserved there.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), at as usize as *mut u8, text.len()) };
            let record = given(at, length);
            assert_eq!(record, text);
            let mut block = Block::new();
            block.given = GIVEN.with(|given| given.get());
            block.put(&record[..text.len().min(9)], b"v");
            assert_eq!(block.bytes[2..][..text.len().min(9)], text[..text.len().min(9)]);
        }
        assert_eq!(given(0, 0), b"");
    }

    #[test]
    fn pairs_lie_behind_both_lengths() {
        let mut block = Block::new();
        block.put(b"ab", b"");
        block.put(&[7; 300], b"c");
        assert_eq!(block.bytes[..block.used], [&[2, 0, b'a', b'b', 0xac, 2, 1][..], &[7; 300], b"c"].concat());
    }

    #[test]
    fn a_key_out_of_what_was_given_is_copied_with_what_lies_behind_it_and_then_written_over() {
        let mut block = Block::new();
        let given: Vec<u8> = (1..=40).collect();
        let begin = given.as_ptr() as usize;
        block.given = (begin, begin + given.len());
        let mut expected = Vec::new();
        for (from, to) in [(0, 5), (3, 3), (20, 36), (24, 40), (25, 40), (39, 40), (0, 40)] {
            block.put(&given[from..to], b"v");
            expected.extend_from_slice(&[(to - from) as u8, 1]);
            expected.extend_from_slice(&given[from..to]);
            expected.push(b'v');
        }
        assert_eq!(block.bytes[..block.used], expected);
        assert_eq!(given_from(block.given, &given[24..40]).map(|more| more[0]), Some(25));
        assert_eq!((given_from(block.given, &given[25..40]), given_from(block.given, b"elsewhere")), (None, None));
    }

    #[test]
    fn bytes_are_copied_whatever_their_number() {
        let from: Vec<u8> = (1..=40).collect();
        for length in 0..=from.len() {
            let mut to = vec![0; length];
            copy(&mut to, &from[..length]);
            assert_eq!(to, from[..length]);
        }
    }

    #[test]
    fn values_lie_behind_their_lengths() {
        let long = vec![7; 300];
        let bytes = [&[2, b'a', b'b', 0, 0xac, 2][..], &long].concat();
        let mut list = bytes.as_slice();
        assert_eq!(value(&mut list), Some(&b"ab"[..]));
        assert_eq!(value(&mut list), Some(&b""[..]));
        assert_eq!(value(&mut list), Some(&long[..]));
        assert_eq!(value(&mut list), None);
    }
}
