//! The order to publish a copy of a leased message, or the reply to it, and its answer. Here a reply counts as a copy.

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::command::SettleResult;
use crate::broker::publish::WriteGate;
use crate::domain::message::Message;
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::retry_step::RetryStep;

/// A copy to publish. The number of copies is bounded by that of leases.
pub(in crate::broker) struct CopyOrder {
    /// The number of the lease.
    pub(super) serial: u64,
    pub(super) message: Message,
    pub(super) target: CopyTarget,
    /// Whether an earlier copy may be in a queue.
    pub(super) may_exist: bool,
    /// A copy that is not written by then is not sent.
    pub(super) deadline: Instant,
    /// The end of the wait for RabbitMQ's confirm.
    pub(super) longest: Instant,
    /// Shut when the lease is gone. A reply that has passed it is never sent again.
    pub(super) gate: WriteGate,
    /// Cancelled when the lease is gone. A copy that is not written yet is then not sent.
    pub(super) cancelled: CancellationToken,
    pub(super) answer: UnboundedSender<Copied>,
}

/// Where a copy goes.
pub(super) enum CopyTarget {
    /// Back to its queue, after this delay.
    Again { queue: QueueName, step: Option<RetryStep> },
    /// To an exchange for dead letters.
    DeadLetters { exchange: ExchangeName, routing_key: ShortText },
    /// A reply, to the queue with this name.
    Reply { queue: ShortText },
}

/// The answer to a copy.
pub(super) struct Copied {
    pub(super) serial: u64,
    /// The result of the action, once the original is acked.
    pub(super) result: SettleResult,
    /// Whether a copy may be in a queue although it is not confirmed.
    pub(super) may_exist: bool,
}
