//! The clocks, read at the rim only.
//!
//! What would surprise: the monotonic one is tokio's, so that a test which holds tokio's clock holds every timer of the roles;
//! and a thread can be told to derive the other from it too.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// When a simulation began, by the monotonic clock.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// When simulations begin, in milliseconds since 1970.
const SIMULATED_BEGIN_MS: u64 = 1_700_000_000_000;

/// Milliseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the rim")]
pub fn now_ms() -> u64 {
    if let Some(began) = BEGAN.get() {
        return SIMULATED_BEGIN_MS + millis(instant().saturating_duration_since(began));
    }
    millis(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A monotonic instant.
#[must_use]
pub fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago a monotonic instant was.
#[must_use]
pub fn since(instant: Instant) -> Duration {
    self::instant().saturating_duration_since(instant)
}

/// From now on this thread tells a simulation's date, which moves with tokio's clock; or the system's again.
pub fn simulate(simulated: bool) {
    BEGAN.set(simulated.then(instant));
}
