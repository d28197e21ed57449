//! The clocks, read at the rim only.
//!
//! What would surprise: the monotonic one is tokio's, so that a test which holds tokio's clock holds every timer of the roles.

/// Milliseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the rim")]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A monotonic instant.
#[must_use]
pub fn instant() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
