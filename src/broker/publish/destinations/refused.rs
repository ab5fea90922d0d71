//! Decides when the gateway asks RabbitMQ again about an exchange that it refused: after a pause, once for all waiting
//! callers.
//!
//! A refusal closes the channel, which costs RabbitMQ as much as ten messages. So a caller that publishes to such an
//! exchange again and again would slow down all others. The gateway never answers from memory: RabbitMQ gives each answer
//! after the call of the caller that gets it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::error::Error;

/// Shortest time between two questions about one exchange.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// The answer for all callers of one question, once it is known.
pub(super) type Answer = Option<Error>;

/// The callers that wait for the answer to a publish; `None` if RabbitMQ does not refuse the exchange.
pub(in crate::broker::publish) type Waiters = Option<watch::Sender<Answer>>;

/// The next question about an exchange, or the last one. It is asked for all callers that come before `at`.
#[derive(Debug)]
pub(super) struct Question {
    at: Instant,
    answer: watch::Receiver<Answer>,
}

/// The next step of a publish.
#[derive(Debug)]
pub(super) enum Turn {
    /// Publish at once: RabbitMQ does not refuse the exchange, or the deadline leaves no time for a pause.
    Free,
    /// Publish at this instant, for all callers that come before it.
    Ask { at: Instant, waiters: watch::Sender<Answer> },
    /// Wait for the answer to another caller's publish.
    Wait(watch::Receiver<Answer>),
}

impl Question {
    /// The state after RabbitMQ refused the exchange for the first time.
    pub(super) fn refused_at(at: Instant) -> Self {
        Self { at, answer: watch::channel(None).1 }
    }

    /// Records that RabbitMQ refused the exchange again. A question in the future stays as it is.
    pub(super) fn refused_again(&mut self, now: Instant) {
        self.at = self.at.max(now);
    }

    /// The step of a publish that comes now.
    pub(super) fn turn(&mut self, deadline: Instant) -> Turn {
        let now = Instant::now();
        let is_to_come = self.at > now;
        let at = if is_to_come { self.at } else { now.max(self.at + PAUSE) };
        if deadline <= at + PAUSE {
            return Turn::Free;
        }
        // A question without a sender was given up, so the next caller asks instead.
        if is_to_come && self.answer.has_changed().is_ok() {
            return Turn::Wait(self.answer.clone());
        }
        let (waiters, answer) = watch::channel(None);
        *self = Self { at, answer };
        Turn::Ask { at, waiters }
    }
}
