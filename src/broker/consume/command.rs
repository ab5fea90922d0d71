//! The requests to the worker of a queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::pull::Pulled;
use super::settle::{Action, NotSettled, Settled};
use crate::broker::error::Error;
use crate::fairness::Holder;

/// A request to the worker of a queue. The number of requests that wait is bounded by the number of callers.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve this caller.
    Pull(Caller),
    /// The caller with this number has left.
    Left(u64),
    /// Settle leases.
    Settle(SettleRequest),
    /// Give all messages back and end. Resolves when RabbitMQ has read it.
    Stop(oneshot::Sender<()>),
}

/// A caller who waits for messages.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) number: u64,
    /// The principal that the messages are leased to.
    pub(super) principal: Arc<str>,
    /// The holder of its share of all leases.
    pub(super) holder: Holder,
    pub(super) max: usize,
    pub(super) lease: Duration,
    /// The end of its wait for a message.
    pub(super) wait_end: Instant,
    /// Whether the worker has written the cancel of a round since the caller came.
    pub(super) is_before_cancel: bool,
    pub(super) answer: oneshot::Sender<Result<Pulled, Error>>,
}

/// The result of one action.
pub(super) type SettleResult = Result<Settled, NotSettled>;

/// Actions by the numbers of their leases, and the way back for their results, which are in the same order.
#[derive(Debug)]
pub(super) struct SettleRequest {
    pub(super) actions: Vec<(u64, Action)>,
    /// The results of actions that are not done by then are unknown.
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Vec<SettleResult>>,
}
