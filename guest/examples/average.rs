//! The average of the values of each key, from lines `key value`: values are combined on the way, and divided in the end.

use rabbit_reduce_guest::{export, number, put_number, Combine, Map, Out, Record, Reduce, Refused, Values};

#[derive(Default)]
struct Average;

/// A sum, and of how many.
fn parts(value: &[u8]) -> Result<(u64, u64), Refused> {
    let mut parts = value.splitn(2, |byte| *byte == b'/');
    let mut part = || number(parts.next().unwrap_or_default());
    Ok((part()?, part()?))
}

impl Map for Average {
    fn map(&self, record: Record<'_>, out: &mut Out) -> Result<(), Refused> {
        let line = record.text()?;
        let (key, value) = line.split_once(' ').ok_or_else(|| Refused::new("a line is a key and a number"))?;
        out.pair(key, format!("{}/1", number(value.as_bytes())?));
        Ok(())
    }
}

impl Combine for Average {
    fn combine(&self, total: &[u8], other: &[u8], sum: &mut Vec<u8>) -> Result<(), Refused> {
        let ((total, times), (other, more)) = (parts(total)?, parts(other)?);
        put_number(total + other, sum);
        sum.push(b'/');
        put_number(times + more, sum);
        Ok(())
    }
}

impl Reduce for Average {
    fn reduce(&self, key: &[u8], values: &mut Values, out: &mut Out) -> Result<(), Refused> {
        // All of them were combined to one.
        let (sum, times) = parts(values.next().ok_or_else(|| Refused::new("a key has a value"))?)?;
        let hundredths = 100 * sum / times;
        out.pair(key, format!("{}.{:02}", hundredths / 100, hundredths % 100));
        Ok(())
    }
}

export!(Average: Map + Combine + Reduce);
