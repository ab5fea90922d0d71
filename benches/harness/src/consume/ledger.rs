//! Which messages of a full queue were acked.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use tokio::sync::Notify;

use crate::dialect::stamped;

/// The share of the messages that warm up, as a divisor.
const WARM_UP: usize = 10;

/// The messages of a full queue, shared by all callers of a run.
pub struct Ledger {
    acked: Mutex<Acked>,
    count: usize,
    /// Tells that the messages of the warm-up were acked.
    pub warm: Notify,
    /// Tells that every message was acked.
    pub complete: Notify,
}

struct Acked {
    /// By the numbers of the messages.
    messages: Vec<bool>,
    count: usize,
}

/// The number in the body of a message.
///
/// # Errors
/// When the body does not begin with a number.
pub fn number_of(body: &[u8]) -> anyhow::Result<u64> {
    stamped(body).context("a message that was not published by the benchmark")
}

impl Ledger {
    /// A queue with this number of messages, numbered from 0 on.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let acked = Mutex::new(Acked { messages: vec![false; count], count: 0 });
        Self { acked, count, warm: Notify::new(), complete: Notify::new() }
    }

    /// Whether every message was acked.
    pub fn is_complete(&self) -> bool {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner).count == self.count
    }

    /// Notes that the message with this number was acked.
    ///
    /// # Errors
    /// When there is no such message, or it was acked before.
    pub fn ack(&self, number: u64) -> anyhow::Result<()> {
        let mut acked = self.acked.lock().unwrap_or_else(PoisonError::into_inner);
        let message = acked.messages.get_mut(usize::try_from(number)?);
        let message = message.with_context(|| format!("no message has the number {number}"))?;
        ensure!(!std::mem::replace(message, true), "message {number} was acked twice");
        acked.count += 1;
        if acked.count == self.count / WARM_UP {
            self.warm.notify_one();
        }
        if acked.count == self.count {
            self.complete.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::dialect::{body, stamp};

    #[test]
    fn a_message_that_is_acked_twice_or_does_not_exist_is_an_error() {
        let ledger = Ledger::new(20);
        assert!(ledger.ack(7).is_ok());
        assert!(ledger.ack(7).is_err());
        assert!(ledger.ack(20).is_err());
        assert!(!ledger.is_complete());
    }

    #[test]
    fn the_window_opens_after_a_tenth_of_the_messages_and_closes_after_the_last() {
        let ledger = Ledger::new(20);
        let mut ended = Vec::new();
        for number in 0..20 {
            ledger.ack(number).expect("it is acked once");
            ended.push((ledger.warm.notified().now_or_never(), ledger.complete.notified().now_or_never()));
        }
        let warm: Vec<_> = (0..20).filter(|n| ended[*n].0.is_some()).collect();
        let complete: Vec<_> = (0..20).filter(|n| ended[*n].1.is_some()).collect();
        assert_eq!((warm, complete, ledger.is_complete()), (vec![1], vec![19], true));
    }

    #[test]
    fn the_number_of_a_message_is_read_from_its_body() {
        let mut text = body(1024);
        assert!(number_of(&text).is_err());
        stamp(&mut text, 0xabc);
        assert_eq!(number_of(&text).ok(), Some(0xabc));
        assert!(number_of(b"0").is_err());
    }
}
