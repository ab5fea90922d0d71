//! Requests to lapin that may get no answer, or the answer to another one.
//!
//! A request that is made while the connection is being lost never ends. A channel that is dropped while RabbitMQ closes it is
//! closed from both sides, and lapin (4.12) takes that for an error of the whole connection: each operation on it would get the error
//! of that one channel.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::broker::error::Error;

/// How long lapin may take to answer the users of a connection that is gone.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// Whether a connection is gone. Clones are the same.
#[derive(Clone, Default)]
pub(in crate::broker) struct Gone(CancellationToken);

impl Gone {
    /// It is, from now on.
    pub(in crate::broker) fn set(&self) {
        self.0.cancel();
    }

    /// Ends when the connection is gone and lapin will answer no request on it any more.
    pub(in crate::broker) async fn until_silent(&self) {
        self.0.cancelled().await;
        sleep(LAST_ANSWERS).await;
    }

    /// The answer of `work`, which is done on the connection.
    ///
    /// # Errors
    /// Those of `work`; [`Error::gone`] when the connection is.
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

/// Does `work` with a channel in a task, which comes to its end although the caller leaves. `is_connected` tells whether the
/// connection is up afterwards.
///
/// # Errors
/// Those of `work`, but for refusals that RabbitMQ answers by closing the channel: where the connection is gone, such an error
/// may be that of another channel.
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
