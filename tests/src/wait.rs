//! Waiting for a fact, with a bound.
//!
//! It does not sleep a guessed time and hope. What would surprise: the bound is generous, since a loaded machine is no bug; only a
//! failing test waits that long.

use std::time::Duration;

/// How long a fact may take to come true.
const BOUND: Duration = Duration::from_secs(120);
/// Between two looks at something that cannot be awaited.
const LOOK: Duration = Duration::from_millis(10);

/// The result of `awaited`.
///
/// # Panics
/// If it does not come.
pub async fn within<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, awaited).await {
        Ok(result) => result,
        Err(_) => panic!("{what}: not within {} s", BOUND.as_secs()),
    }
}

/// Looks again and again until `look` finds something.
///
/// # Panics
/// If it finds nothing.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(LOOK);
    within(what, async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    })
    .await
}
