//! How often each word occurs: `--set lowercase=true` to take `The` and `the` for one.

use rabbit_reduce_guest::{export, number, put_number, setting, Combine, Map, Out, Record, Refused};

struct WordCount {
    lowercase: bool,
}

impl Default for WordCount {
    fn default() -> Self {
        Self { lowercase: setting("lowercase").as_deref() == Some("true") }
    }
}

impl Map for WordCount {
    fn map(&self, record: Record<'_>, out: &mut Out) -> Result<(), Refused> {
        for word in record.words() {
            if self.lowercase {
                out.pair(String::from_utf8_lossy(word).to_lowercase(), "1");
            } else {
                out.pair(word, "1");
            }
        }
        Ok(())
    }
}

impl Combine for WordCount {
    fn combine(&self, total: &[u8], other: &[u8], sum: &mut Vec<u8>) -> Result<(), Refused> {
        put_number(number(total)? + number(other)?, sum);
        Ok(())
    }
}

export!(WordCount: Map + Combine);
