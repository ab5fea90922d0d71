//! Waiting, always to a deadline and for something that has a name.
//!
//! The only place in the tests where time passes: a test that wants to wait says here what for.

use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(20);

/// What a probe answers: `bool` (done or not) or `Option` (done with a value or not).
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

/// Asks `probe` again and again until it answers; panics with `what` after `deadline`.
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

/// Lets a window of time pass in which something is measured; nothing may depend on what happens at its end.
pub async fn pass(window: Duration) {
    tokio::time::sleep(window).await;
}

/// Waits for `work`; panics with `what` after `deadline`.
pub async fn within<T>(deadline: Duration, what: &str, work: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(deadline, work).await;
    outcome.unwrap_or_else(|_| panic!("{what}: not within {deadline:?}"))
}
