//! Which word follows each word, and in how many of a hundred cases: all values of a key come to one place.

use rabbit_reduce_guest::{count, export, Map, Out, Record, Reduce, Refused, Values};
use std::collections::BTreeMap;

#[derive(Default)]
struct NextWord;

impl Map for NextWord {
    fn map(&self, record: Record<'_>, out: &mut Out) -> Result<(), Refused> {
        let words: Vec<&str> = record.text()?.split_whitespace().collect();
        for pair in words.windows(2) {
            out.pair(pair[0], pair[1]);
        }
        count("words", words.len() as u64);
        Ok(())
    }
}

impl Reduce for NextWord {
    fn reduce(&self, word: &[u8], values: &mut Values, out: &mut Out) -> Result<(), Refused> {
        let (mut following, mut all) = (BTreeMap::<Vec<u8>, u64>::new(), 0);
        while let Some(next) = values.next() {
            all += 1;
            match following.get_mut(next) {
                Some(times) => *times += 1,
                None => {
                    following.insert(next.to_vec(), 1);
                }
            }
        }
        for (next, times) in following {
            let share = 100 * times / all;
            out.pair(word, [&next[..], format!(" {share}%").as_bytes()].concat());
        }
        Ok(())
    }
}

export!(NextWord: Map + Reduce);
