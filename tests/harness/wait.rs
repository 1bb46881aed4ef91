//! The one way to wait for something: look until it is there, or fail and say what did not come.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until there is something.
///
/// # Panics
/// When it does not come in time.
pub async fn eventually<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same where nothing is asynchronous.
///
/// # Panics
/// When it does not come in time.
pub fn eventually_blocking<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}
