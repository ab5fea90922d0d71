//! The words of the metrics of leases, and the number of messages that the gateway holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::command::SettleResult;
use super::settle::{NotSettled, Settled};
use crate::broker::error::Error;
use crate::metrics::ConsumeMetrics;

/// The number of messages that callers hold.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldCount(Arc<AtomicUsize>);

impl HeldCount {
    /// Counts a message until the answer is dropped.
    pub(super) fn count(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A message that counts as held until this is dropped.
#[derive(Debug)]
pub(super) struct Held(HeldCount);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the results of a settle by their outcomes.
pub(super) fn count_settles(metrics: &ConsumeMetrics, results: &[SettleResult]) {
    for result in results {
        metrics.settles.with_label_values(&[outcome(result)]).inc();
    }
}

/// The outcome of one action as the metric spells it.
fn outcome(result: &SettleResult) -> &'static str {
    match result {
        Ok(Settled::Acked) => "acked",
        Ok(Settled::Released) => "released",
        Ok(Settled::Rejected) => "rejected",
        Ok(Settled::Extended { .. }) => "extended",
        Ok(Settled::Retried(_)) => "retried",
        Ok(Settled::DeadLettered) => "dead_lettered",
        Ok(Settled::Replied { delivered: Some(false) }) => "reply_returned",
        Ok(Settled::Replied { .. }) => "replied",
        Err(NotSettled::Expired) => "expired",
        Err(NotSettled::Already(_) | NotSettled::Settling) => "conflict",
        Err(NotSettled::TooLong { .. }) => "too_long",
        Err(NotSettled::NoReplyTo(_)) => "no_reply_to",
        Err(NotSettled::Failed(Error::Unknown(_))) => "unknown",
        Err(NotSettled::Failed(Error::Unroutable { .. })) => "unroutable",
        Err(NotSettled::TooLarge { .. }) => "too_large",
        Err(NotSettled::CopyRejected | NotSettled::Failed(Error::Rejected)) => "copy_rejected",
        Err(NotSettled::Failed(Error::Refused(_))) => "refused",
        Err(NotSettled::Failed(Error::NotSent(_))) => "not_sent",
    }
}

/// The result of a request at the control queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlResult {
    /// The other replica got the results.
    Answered,
    /// The message is not from a gateway.
    Refused,
    /// The other replica has another version, and was told so.
    Unsupported,
    /// The request found no room, and the other replica was told so.
    NoRoom,
    /// The request was malformed, or its answer was not sent.
    Dropped,
}

impl ControlResult {
    /// Counts the request.
    pub(super) fn count(self, metrics: &ConsumeMetrics) {
        let word = match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::NoRoom => "no_room",
            Self::Dropped => "dropped",
        };
        metrics.control_requests.with_label_values(&[word]).inc();
    }
}
