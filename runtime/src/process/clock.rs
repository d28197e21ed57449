//! The wall clock, read at the rim only.

/// Milliseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the rim")]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A monotonic instant.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the rim")]
pub fn instant() -> std::time::Instant {
    std::time::Instant::now()
}
