//! Requests to lapin that may get no answer, or the answer to another request.
//!
//! A request that is made while the connection is being lost never ends. When a channel is dropped while RabbitMQ closes
//! it, both sides close it. lapin (4.12) treats that as an error of the whole connection: each operation on the
//! connection would get the error of that one channel.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::broker::error::Error;

/// How long lapin may take to answer the users of a connection that is gone.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// A flag that a connection is gone. Clones share the flag.
#[derive(Clone, Default)]
pub(in crate::broker) struct Gone(CancellationToken);

impl Gone {
    /// Records that the connection is gone.
    pub(in crate::broker) fn set(&self) {
        self.0.cancel();
    }

    /// Resolves when the connection is gone and lapin answers no request on it any more.
    pub(in crate::broker) async fn until_silent(&self) {
        self.0.cancelled().await;
        sleep(LAST_ANSWERS).await;
    }

    /// The result of `work`, which runs on the connection.
    ///
    /// # Errors
    /// The errors of `work`; [`Error::gone`] when the connection is gone.
    pub(in crate::broker) async fn unless<T, E: Into<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = work => answer.map_err(Into::into),
            () = self.until_silent() => Err(Error::gone()),
        }
    }
}

/// Does `work` with a channel in a task, which runs to its end even if the caller leaves. `is_connected` tells whether
/// the connection is up afterwards.
///
/// # Errors
/// The errors of `work`, with one exception: if the connection is gone, a refusal that RabbitMQ answers by closing the
/// channel may belong to another channel, so it becomes a lost answer.
pub(in crate::broker) async fn finish<T: Send + 'static>(
    gone: Gone,
    is_connected: impl FnOnce() -> bool,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let answer = tokio::spawn(async move { gone.unless(work).await }).await;
    match answer.unwrap_or_else(|_| Err(Error::gone())) {
        Err(Error::Refused(refusal)) if refusal.is_of_a_channel() && !is_connected() => Err(Error::gone()),
        answer => answer,
    }
}
