//! Sizes, spans of time and counts as people read them at a glance.
//!
//! Rounded, and so for eyes only: what must be exact is printed as a number. What would surprise: nothing is rounded up, so
//! that what is not complete never looks complete.

use std::time::Duration;

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Bytes, with one digit behind the point from a KiB on: `1.5 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths of a unit, so that it is cut and never rounded up.
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Minutes and seconds, with hours and days where there are some: `0:07`, `1:02:03`, `2d 0:00:00`.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}d {hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A part of a whole in percent; 100 only if it is all of it.
#[must_use]
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 100;
    }
    u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(100).min(100)
}

/// A number and its noun: `1 chunk`, `2 chunks`, `0 losses`.
#[must_use]
pub fn count(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_cut_to_a_tenth() {
        let sizes = [0, 1023, 1024, 1536, (1 << 20) - 1, 1 << 20, 10 << 30, u64::MAX].map(size);
        let texts = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1023.9 KiB", "1.0 MiB", "10.0 GiB", "16383.9 PiB"];
        assert_eq!(sizes, texts);
    }

    #[test]
    fn spans_show_hours_only_where_there_are_some() {
        let spans = [7, 62, 3723, 172_800].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0:07", "1:02", "1:02:03", "2d 0:00:00"]);
    }

    #[test]
    fn only_the_whole_is_a_hundred_percent() {
        assert_eq!(
            [(0, 9), (999, 1000), (9, 9), (10, 9), (0, 0)].map(|(part, whole)| percent(part, whole)),
            [0, 99, 100, 100, 100]
        );
        assert_eq!([0, 1, 2].map(|number| count(number, "loss", "losses")), ["0 losses", "1 loss", "2 losses"]);
    }
}
