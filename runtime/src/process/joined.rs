//! What became of a task that somebody waits for.

use tokio::task::JoinError;

/// Its output; its panic goes on here. Nobody aborts our tasks: where one is cancelled, the asynchronous runtime is ending, and
/// whoever waits here ends with it.
pub async fn joined<T>(outcome: Result<T, JoinError>) -> T {
    match outcome.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_cancelled)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_cancelled_task_is_no_panic() {
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        let waited = tokio::time::timeout(Duration::from_millis(20), async { joined(task.await).await }).await;
        assert!(waited.is_err(), "there is nothing to come back with");
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_goes_on() {
        joined(tokio::spawn(async { panic!("as it was") }).await).await;
    }
}
