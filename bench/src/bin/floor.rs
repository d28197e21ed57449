//! The floor: counts the lower-case words of a file of ASCII with two threads, and does nothing else.
//!
//! `floor FILE`. What any word count on this machine is measured by: no partitions, no messages, no store, no order, no
//! Unicode, one table a thread for the whole input. What counts here is no code of what it measures. What would surprise: it reads the
//! file for itself too, in blocks, so that the page cache costs both the same.

use rabbit_reduce_runtime::process::tell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of which a thread takes words at a time.
const BLOCK: usize = 1 << 20;
/// Bytes behind a block in which its last word has to end.
const TAIL: usize = 1 << 16;
/// Bytes that are compared at once; the buffer has as many more, of white space.
const STEP: usize = 64;
/// Places of a table: more than natural text has words. An input with more is no work for this.
const PLACES: usize = 1 << 16;

#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Place {
    word: u128,
    count: u64,
}

struct Table {
    places: Vec<Place>,
    taken: usize,
    long: HashMap<Vec<u8>, u64>,
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn spaces(step: &[u8; STEP]) -> u64 {
    // SAFETY: SSE2 is a part of x86-64; there is no such processor without it.
    unsafe { sixteen_at_once(step) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn sixteen_at_once(step: &[u8; STEP]) -> u64 {
    use std::arch::x86_64::{
        _mm_and_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let mut bits = 0;
    for (place, some) in step.as_chunks::<16>().0.iter().enumerate() {
        let words = u128::from_le_bytes(*some);
        let bytes = _mm_set_epi64x((words >> 64) as i64, words as i64);
        let beyond_backspace = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(8));
        let before_shift_out = _mm_cmpgt_epi8(_mm_set1_epi8(14), bytes);
        let control = _mm_and_si128(beyond_backspace, before_shift_out);
        let blank = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b' ' as i8));
        bits |= u64::from(_mm_movemask_epi8(_mm_or_si128(control, blank)).cast_unsigned()) << (16 * place);
    }
    bits
}

#[cfg(not(target_arch = "x86_64"))]
use plain as spaces;

#[cfg(any(test, not(target_arch = "x86_64")))]
fn plain(step: &[u8; STEP]) -> u64 {
    (0..).zip(step).fold(0, |bits, (place, byte)| bits | u64::from(is_space(*byte)) << place)
}

impl Table {
    fn new() -> Self {
        Self { places: vec![Place::default(); PLACES], taken: 0, long: HashMap::new() }
    }

    #[inline]
    fn count(&mut self, buffer: &[u8], start: usize, end: usize) {
        let length = end - start;
        if length > 16 {
            let word = &buffer[start..end];
            match self.long.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(self.long.insert(word.to_vec(), 1)),
            }
            return;
        }
        let bytes = buffer[start..start + 16].try_into().expect("sixteen bytes");
        let word = u128::from_le_bytes(bytes) & (u128::MAX >> (8 * (16 - length)));
        let product =
            u128::from(word as u64 ^ 0x9e37_79b9_7f4a_7c15) * u128::from((word >> 64) as u64 ^ 0xd6e8_feb8_6659_fd93);
        let mut place = (product as u64 ^ (product >> 64) as u64) as usize % PLACES;
        loop {
            let found = &mut self.places[place];
            if found.word == word {
                found.count += 1;
                return;
            }
            if found.count == 0 {
                *found = Place { word, count: 1 };
                self.taken += 1;
                assert!(self.taken < PLACES, "the input has more than {PLACES} words: the floor is for natural text");
                return;
            }
            place = (place + 1) % PLACES;
        }
    }

    /// Counts the words of a buffer that begins and ends with white space.
    fn block(&mut self, buffer: &[u8], length: usize) {
        let (mut last, mut start) = (1, None);
        for at in (0..length).step_by(STEP) {
            let bits = spaces(buffer[at..at + STEP].try_into().expect("the buffer goes on for a step"));
            let mut edges = bits ^ (bits << 1 | last);
            last = bits >> 63;
            while edges != 0 {
                let place = at + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                match start.take() {
                    None => start = Some(place),
                    Some(start) => self.count(buffer, start, place),
                }
            }
        }
    }
}

fn count(file: &File, size: u64, next: &AtomicU64) -> io::Result<Table> {
    let mut table = Table::new();
    let mut buffer = vec![b' '; BLOCK + TAIL + STEP + 16];
    loop {
        let at = next.fetch_add(BLOCK as u64, Ordering::Relaxed);
        if at >= size {
            return Ok(table);
        }
        // The byte before tells whether a word began there: whoever has its beginning counts it.
        let from = at.saturating_sub(1);
        let mut filled = 0;
        while filled < BLOCK + TAIL {
            match file.read_at(&mut buffer[filled..BLOCK + TAIL], from + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        let first =
            if at == 0 { 0 } else { buffer[..filled].iter().position(|byte| is_space(*byte)).unwrap_or(filled) };
        let own = ((at - from) as usize + BLOCK - 1).min(filled);
        let end = buffer[own..filled].iter().position(|byte| is_space(*byte)).map_or(filled, |more| own + more);
        buffer[..first].fill(b' ');
        buffer[end..].fill(b' ');
        buffer[..end].make_ascii_lowercase();
        table.block(&buffer, end + 1);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: floor FILE")?;
    let file = File::open(path)?;
    let (size, next) = (file.metadata()?.len(), AtomicU64::new(0));
    let tables: Vec<io::Result<Table>> = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| count(&file, size, &next)));
        threads.into_iter().map(|thread| thread.join().expect("counting does not panic")).collect()
    });
    let (mut words, mut distinct) = (0, 0);
    for table in tables {
        let table = table?;
        let counts = table.places.iter().map(|place| place.count).chain(table.long.into_values());
        for count in counts.filter(|count| *count > 0) {
            (words, distinct) = (words + count, distinct + 1);
        }
    }
    tell(&format!("{words} words, {distinct} distinct ones in two tables"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_twins_find_the_same_in_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..STEP {
                let mut step = [b'a'; STEP];
                step[place] = byte;
                assert_eq!(spaces(&step), plain(&step), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn words_are_counted_wherever_a_block_ends() {
        let text = b"one two  three\nseventeen-letters one ".repeat(70_000);
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), &text).unwrap();
        let file = File::open(path.path()).unwrap();
        let table = count(&file, text.len() as u64, &AtomicU64::new(0)).unwrap();
        let words: u64 = table.places.iter().map(|place| place.count).chain(table.long.into_values()).sum();
        assert_eq!((words, table.taken), (5 * 70_000, 3));
    }
}
