//! What processes have used so far, by what the system tells of them.

use std::io;
use std::ops::{Add, Sub};

/// Clock ticks of a second, the same on every Linux.
const TICKS: f64 = 100.0;

/// Since they began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu_s: f64,
    /// Bytes that went to disks, or will.
    pub(crate) written_bytes: f64,
}

impl Add for Used {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { cpu_s: self.cpu_s + other.cpu_s, written_bytes: self.written_bytes + other.written_bytes }
    }
}

impl Sub for Used {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self { cpu_s: self.cpu_s - before.cpu_s, written_bytes: self.written_bytes - before.written_bytes }
    }
}

/// Of one process.
pub(crate) fn used_by(process: u32) -> io::Result<Used> {
    let fields = stat(process)?;
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let written = std::fs::read_to_string(format!("/proc/{process}/io"))?;
    let written = written.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    Ok(Used { cpu_s: (ticks(USER) + ticks(SYSTEM)) / TICKS, written_bytes: written.unwrap_or(0.0) })
}

/// Of all processes of a group.
pub(crate) fn used_by_group(group: u32) -> io::Result<Used> {
    let mut all = Used::default();
    for entry in std::fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that is gone by now has no figures.
        let Ok(fields) = stat(process) else { continue };
        if fields.get(GROUP).is_some_and(|field| *field == group.to_string()) {
            all = all + used_by(process).unwrap_or_default();
        }
    }
    Ok(all)
}

/// Bytes that went through the loopback device.
pub(crate) fn looped_bytes() -> io::Result<f64> {
    let bytes = std::fs::read_to_string("/sys/class/net/lo/statistics/tx_bytes")?;
    bytes.trim().parse().map_err(io::Error::other)
}

/// Places among what [`stat`] gives.
const GROUP: usize = 2;
const USER: usize = 11;
const SYSTEM: usize = 12;

/// The fields of `/proc/PID/stat` behind the program's name, which may hold anything.
fn stat(process: u32) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = text.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_something_and_its_group_no_less() {
        let busy = (0..200_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
        std::hint::black_box(busy);
        let me = std::process::id();
        let group = u32::try_from(nix::unistd::getpgrp().as_raw()).unwrap();
        let mine = used_by(me).unwrap().cpu_s;
        assert!(mine > 0.0 && used_by_group(group).unwrap().cpu_s >= mine);
    }
}
