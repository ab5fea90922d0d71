//! Waits, which always have a deadline and a name for the event.
//!
//! The only place in the tests where time passes. A test that waits says here which event it waits for.

use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(20);

/// The answer of a probe: `bool` (done or not) or `Option` (done with a value or not).
pub trait Answer {
    type Value;

    fn value(self) -> Option<Self::Value>;
}

impl Answer for bool {
    type Value = ();

    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Answer for Option<T> {
    type Value = T;

    fn value(self) -> Self {
        self
    }
}

/// Calls `probe` again and again until it is done; panics with `what` after `deadline`.
pub async fn eventually<F, A>(deadline: Duration, what: &str, mut probe: impl FnMut() -> F) -> A::Value
where
    F: Future<Output = A>,
    A: Answer,
{
    let ask = async {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            if let Some(value) = probe().await.value() {
                return value;
            }
        }
    };
    within(deadline, what, ask).await
}

/// Lets a window of time pass in which the test measures; no check may depend on the exact end of the window.
pub async fn pass(window: Duration) {
    tokio::time::sleep(window).await;
}

/// Waits for `work`; panics with `what` after `deadline`.
pub async fn within<T>(deadline: Duration, what: &str, work: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(deadline, work).await;
    outcome.unwrap_or_else(|_| panic!("{what}: not within {deadline:?}"))
}
