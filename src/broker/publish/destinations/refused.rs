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

/// An exchange that RabbitMQ refuses. The gateway asks RabbitMQ again, or has asked it last, at the instant `at`, for all
/// callers that come before.
#[derive(Debug)]
pub(super) struct RefusedExchange {
    at: Instant,
    answer: watch::Receiver<Option<Error>>,
}

/// The next step of a publish.
#[derive(Debug)]
pub(super) enum NextStep {
    /// Publish at once: RabbitMQ does not refuse the exchange, or the deadline leaves no time for a pause.
    Publish,
    /// Publish at this instant, for all callers that come before it. The waiters receive the answer once it is known.
    Ask { at: Instant, waiters: watch::Sender<Option<Error>> },
    /// Wait for the answer to another caller's publish.
    Wait(watch::Receiver<Option<Error>>),
}

impl RefusedExchange {
    /// The state after RabbitMQ refused the exchange for the first time.
    pub(super) fn refused_at(at: Instant) -> Self {
        Self { at, answer: watch::channel(None).1 }
    }

    /// Records that RabbitMQ refused the exchange again. A question in the future stays as it is.
    pub(super) fn refused_again(&mut self, now: Instant) {
        self.at = self.at.max(now);
    }

    /// The step of a publish that comes now.
    pub(super) fn next_step(&mut self, deadline: Instant) -> NextStep {
        let now = Instant::now();
        let is_to_come = self.at > now;
        let at = if is_to_come { self.at } else { now.max(self.at + PAUSE) };
        if deadline <= at + PAUSE {
            return NextStep::Publish;
        }
        // A question without a sender was given up, so the next caller asks instead.
        if is_to_come && self.answer.has_changed().is_ok() {
            return NextStep::Wait(self.answer.clone());
        }
        let (waiters, answer) = watch::channel(None);
        *self = Self { at, answer };
        NextStep::Ask { at, waiters }
    }
}
