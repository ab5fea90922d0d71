//! When RabbitMQ is asked again for an exchange that it refused: after a pause, once for all callers that wait.
//!
//! A refusal closes the channel, which costs RabbitMQ as much as ten messages. So a caller that publishes to such an
//! exchange again and again would slow all others down. An answer is never told from memory: each caller that is told
//! one had come before RabbitMQ was asked.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::error::Error;

/// Least time between two questions for one exchange.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// The answer that all callers of one question are told, once it is known.
pub(super) type Answer = Option<Error>;

/// The callers that wait for the answer to a publish; `None` where RabbitMQ does not refuse the exchange.
pub(in crate::broker::publish) type Waiters = Option<watch::Sender<Answer>>;

/// The next question for an exchange, or the last one: it is asked for all callers that come before `at`.
#[derive(Debug)]
pub(super) struct Question {
    at: Instant,
    answer: watch::Receiver<Answer>,
}

/// What a publish is to do.
#[derive(Debug)]
pub(super) enum Turn {
    /// Publish at once: the exchange is not refused, or the deadline leaves no time for a pause.
    Free,
    /// Publish at this instant, for all callers that come until then.
    Ask { at: Instant, waiters: watch::Sender<Answer> },
    /// Wait for the answer to another caller's publish.
    Wait(watch::Receiver<Answer>),
}

impl Question {
    /// RabbitMQ refused the exchange just now.
    pub(super) fn refused_at(at: Instant) -> Self {
        Self { at, answer: watch::channel(None).1 }
    }

    /// RabbitMQ refused the exchange again. A question that is to come stays as it is.
    pub(super) fn refused_again(&mut self, now: Instant) {
        self.at = self.at.max(now);
    }

    /// The turn of a publish that comes now.
    pub(super) fn turn(&mut self, deadline: Instant) -> Turn {
        let now = Instant::now();
        let is_to_come = self.at > now;
        let at = if is_to_come { self.at } else { now.max(self.at + PAUSE) };
        if deadline <= at + PAUSE {
            return Turn::Free;
        }
        // A question without a sender was given up, and the next caller asks in its place.
        if is_to_come && self.answer.has_changed().is_ok() {
            return Turn::Wait(self.answer.clone());
        }
        let (waiters, answer) = watch::channel(None);
        *self = Self { at, answer };
        Turn::Ask { at, waiters }
    }
}
