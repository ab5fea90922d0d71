//! Replies by direct reply-to. They go one after the other, and the gateway remembers the clients over which RabbitMQ has closed the
//! connection: each further reply to such an address would cost all others another connection.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::not_copied::{NotCopied, not_sent};
use crate::broker::consume::settle::NoReplyTo;
use crate::broker::error::{Cause, Error, Unavailable};
use crate::broker::publish::{PublishFailure, Receipt};

/// How long a client is remembered.
const MEMORY: Duration = Duration::from_mins(5);
/// The most clients that are remembered.
const MAX_REMEMBERED: usize = 1_000;
/// RabbitMQ's word for a frame that it cannot process, in the reason for the end of a connection.
const CANNOT_DECODE: &str = "INTERNAL_ERROR";

/// The replies by direct reply-to. The lock is taken while one of them has no answer.
#[derive(Default)]
pub(super) struct DirectReplies(Mutex<Unreachable>);

impl DirectReplies {
    /// Sends a reply to a client, when the earlier ones have their answers.
    pub(super) async fn send(
        &self,
        client: &str,
        deadline: Instant,
        send: impl Future<Output = Result<Receipt, PublishFailure>>,
    ) -> Result<Receipt, NotCopied> {
        let locked = timeout_at(deadline, self.0.lock()).await;
        let mut unreachable = locked.map_err(|_| not_sent(Error::NotSent(Unavailable::Busy)))?;
        if unreachable.has(client, Instant::now()) {
            return Err(NotCopied::NoReplyTo(NoReplyTo::Unreachable));
        }
        let answer = send.await;
        if answer.as_ref().is_err_and(|failure| has_closed_the_connection(&failure.error)) {
            unreachable.add(client, Instant::now());
        }
        Ok(answer?)
    }
}

/// Whether RabbitMQ closed the connection over the reply. A connection that is lost for another reason says nothing about the client.
fn has_closed_the_connection(error: &Error) -> bool {
    matches!(error, Error::Unknown(Cause::Lost { reason, .. }) if reason.contains(CANNOT_DECODE))
}

/// The clients over which RabbitMQ has closed the connection, with the times.
#[derive(Default)]
struct Unreachable(HashMap<String, Instant>);

impl Unreachable {
    fn has(&self, client: &str, now: Instant) -> bool {
        self.0.get(client).is_some_and(|since| now < *since + MEMORY)
    }

    fn add(&mut self, client: &str, now: Instant) {
        self.0.retain(|_, since| now < *since + MEMORY);
        if self.0.len() >= MAX_REMEMBERED
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, since)| **since).map(|(client, _)| client.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(client.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_remembered_for_a_time_and_the_oldest_is_forgotten_first() {
        let (mut unreachable, start) = (Unreachable::default(), Instant::now());
        for n in 0..=MAX_REMEMBERED {
            unreachable.add(&n.to_string(), start + Duration::from_micros(n as u64));
        }
        assert_eq!(unreachable.0.len(), MAX_REMEMBERED);
        assert!(!unreachable.has("0", start) && unreachable.has("1", start));
        let later = start + MEMORY + Duration::from_secs(1);
        assert!(!unreachable.has("1", later));
        unreachable.add("new", later);
        assert_eq!(unreachable.0.len(), 1);
    }

    #[test]
    fn only_a_close_by_rabbitmq_over_a_frame_blames_the_client() {
        assert!(has_closed_the_connection(&Error::of_connection_close(541, "INTERNAL_ERROR")));
        assert!(!has_closed_the_connection(&Error::of_connection_close(320, "CONNECTION_FORCED")));
        assert!(!has_closed_the_connection(&Error::gone()));
    }
}
