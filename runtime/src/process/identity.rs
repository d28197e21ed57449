//! Who this process is, for people who read logs, ledgers and losses.

/// The longest part of a host's name that is used, in bytes.
const HOST_BYTES: usize = 32;

/// `host-pid-xxxx`: unique enough to tell two workers apart, also in two containers.
#[must_use]
pub fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    let host: String = host.trim().chars().filter(plain).take(HOST_BYTES).collect();
    let host = if host.is_empty() { "host" } else { &host };
    let random = super::chance::id().as_u128() & 0xffff;
    format!("{host}-{}-{random:04x}", std::process::id())
}
