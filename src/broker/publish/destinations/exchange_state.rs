//! The state of an exchange, and how RabbitMQ's answers change it.

use std::time::Duration;

use tokio::time::Instant;

use super::refused::RefusedExchange;

/// How long an exchange stays good without a new success, and key-restricted without a new refusal.
const MEMORY: Duration = Duration::from_mins(1);

/// The state of an exchange.
#[derive(Debug)]
pub(super) enum ExchangeState {
    /// It may be missing or forbidden.
    Unknown,
    /// It accepted a message at this instant.
    Good { at: Instant },
    /// RabbitMQ refused a message because of its routing key, as with topic permissions. RabbitMQ may refuse
    /// the next message after a success with another key.
    KeyRestricted { since: Instant },
    /// RabbitMQ refuses every message: the exchange is missing, internal or forbidden.
    Refused(RefusedExchange),
}

impl ExchangeState {
    /// Whether a message to the exchange may share a channel with others.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        matches!(self, Self::Good { at } if now < *at + MEMORY)
    }

    /// Records that the exchange accepted a message.
    pub(super) fn took_a_message(&mut self, now: Instant) {
        match self {
            Self::KeyRestricted { since } if now < *since + MEMORY => {}
            state => *state = Self::Good { at: now },
        }
    }

    /// Records that RabbitMQ refused the exchange.
    pub(super) fn was_refused(&mut self, now: Instant) {
        match self {
            Self::Refused(refused) => refused.refused_again(now),
            state => *state = Self::Refused(RefusedExchange::refused_at(now)),
        }
    }

    /// Records that a message to the exchange was lost and may be the reason for the loss.
    pub(super) fn may_be_refused(&mut self) {
        if matches!(self, Self::Good { .. }) {
            *self = Self::Unknown;
        }
    }
}
