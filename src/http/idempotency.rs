//! Idempotency keys: a caller may repeat a publish with the same `Idempotency-Key`, and the gateway publishes the message once where
//! it knows the outcome of the first request.
//!
//! The keys are in the memory of this process, and of no other one. A key in flight always ends: with the result of its publish, or
//! as unknown when the publish is dropped before it has one.

mod fingerprint;
mod hashing;
mod key;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::fingerprint::Fingerprint;
use self::key::ScopedKey;
pub(super) use self::key::key_of;
use self::table::{Begun, KeyTable, Memory};
use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use super::settings::IdempotencyLimits;
use crate::broker::{Publish, PublishFailure, Receipt};
use crate::domain::outcome::Outcome;
use crate::metrics::Metrics;

/// The idempotency keys that the gateway remembers. All clones share them.
#[derive(Clone)]
pub(super) struct IdempotencyKeys(Arc<Inner>);

struct Inner {
    table: Mutex<KeyTable>,
    max: usize,
    metrics: Metrics,
}

/// The next step of a request with a key.
pub(super) enum Keyed {
    /// The request is to be published.
    Publish(KeyInFlight),
    /// An earlier request had this receipt, which is the answer.
    Replay(Receipt),
}

impl IdempotencyKeys {
    /// No keys yet.
    pub(super) fn new(limits: IdempotencyLimits, metrics: Metrics) -> Self {
        let table = Mutex::new(KeyTable::new(limits.ttl, limits.max));
        Self(Arc::new(Inner { table, max: limits.max, metrics }))
    }

    /// Begins a publish of a principal, whose message id is an idempotency key.
    ///
    /// # Errors
    /// `idempotency-key-in-use`, `idempotency-key-reused`; `overloaded` when all keys that fit are in flight.
    pub(super) fn begin(&self, publish: &Publish, principal: &str) -> Result<Keyed, Problem> {
        let key = ScopedKey::new(principal, &publish.destination.exchange, &publish.message.id);
        let fingerprint = Fingerprint::of(publish);
        let begun = self.table().begin(key, fingerprint, Instant::now());
        match begun {
            Begun::Publish { earlier_copy_possible, evicted } => {
                self.0.metrics.idempotency.evicted.inc_by(evicted.into());
                let memory = Some(Memory::CopyPossible);
                Ok(Keyed::Publish(KeyInFlight { keys: self.clone(), key, earlier_copy_possible, memory }))
            }
            Begun::Replay(receipt) => {
                self.0.metrics.idempotency.replays.inc();
                Ok(Keyed::Replay(receipt))
            }
            Begun::InUse => Err(in_use(publish)),
            Begun::Reused => Err(reused(publish)),
            Begun::Full => Err(full(self.0.max)),
        }
    }

    /// The number of keys in memory, after the removal of those whose time is over.
    pub(super) fn count(&self) -> usize {
        // The lock is free between two steps, so that no publish waits for all of them.
        while self.table().sweep(Instant::now()) {}
        self.table().len()
    }

    fn table(&self) -> MutexGuard<'_, KeyTable> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key whose publish is in flight. Dropping it ends the key: with the result, or as unknown without one, also after a panic.
pub(super) struct KeyInFlight {
    keys: IdempotencyKeys,
    key: ScopedKey,
    earlier_copy_possible: bool,
    memory: Option<Memory>,
}

impl KeyInFlight {
    /// Whether an earlier request with this key may have left a copy of the message.
    pub(super) fn earlier_copy_possible(&self) -> bool {
        self.earlier_copy_possible
    }

    /// Ends the key with the result of its publish.
    pub(super) fn end(mut self, result: &Result<Receipt, PublishFailure>) {
        self.memory = match result {
            Ok(receipt) => Some(Memory::Held(*receipt)),
            Err(failure) => memory_of(failure.outcome),
        };
    }
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        self.keys.table().end(self.key, self.memory, Instant::now());
    }
}

/// The memory of a publish that failed.
fn memory_of(outcome: Outcome) -> Option<Memory> {
    match outcome {
        Outcome::NotSent | Outcome::Unroutable => None,
        Outcome::Rejected | Outcome::Unknown | Outcome::Confirmed | Outcome::Accepted => {
            Some(Memory::CopyPossible)
        }
    }
}

/// The key and its path, as details name them.
fn named(publish: &Publish) -> String {
    let exchange = quoted(publish.destination.exchange.in_path());
    format!("the Idempotency-Key {} for the exchange {exchange}", quoted(&publish.message.id))
}

fn in_use(publish: &Publish) -> Problem {
    let detail = format!(
        "an earlier request with {} is in flight: send this request again after Retry-After, without a change",
        named(publish)
    );
    Problem::new(ProblemType::IdempotencyKeyInUse, detail)
}

fn reused(publish: &Publish) -> Problem {
    let detail = format!(
        "{} belongs to a message with another routing key, mandatory, property, header or body: use a new key for a new message, and \
         repeat a message without a change; nothing was sent",
        named(publish)
    );
    Problem::new(ProblemType::IdempotencyKeyReused, detail).with("field", "Idempotency-Key")
}

fn full(limit: usize) -> Problem {
    let detail = format!(
        "{limit} requests with an Idempotency-Key are in flight, as many as GATEWAY_IDEMPOTENCY_MAX allows; nothing was sent"
    );
    Problem::new(ProblemType::Overloaded, detail).with("limit", limit)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::broker::{Error, Unavailable};
    use crate::domain::field::FieldTable;
    use crate::domain::message::{Destination, Message, MessageId, Properties};
    use crate::domain::names::{ExchangeName, ShortText};

    fn keys() -> IdempotencyKeys {
        IdempotencyKeys::new(IdempotencyLimits { ttl: Duration::from_mins(1), max: 2 }, Metrics::default())
    }

    fn publish() -> Publish {
        let message = Message {
            id: MessageId::from("k".to_owned()),
            properties: Properties::default(),
            headers: FieldTable::default(),
            body: Bytes::new(),
        };
        let (exchange, routing_key) = (ExchangeName::default(), ShortText::default());
        let destination = Destination { exchange, routing_key, mandatory: true };
        Publish::new(message, destination, tokio::time::Instant::now(), true)
    }

    /// Begins a request that is to be published.
    fn begin(keys: &IdempotencyKeys) -> KeyInFlight {
        match keys.begin(&publish(), "") {
            Ok(Keyed::Publish(key)) => key,
            Ok(Keyed::Replay(receipt)) => panic!("replayed {receipt:?}"),
            Err(problem) => panic!("{}", problem.detail()),
        }
    }

    fn failure(outcome: Outcome) -> Result<Receipt, PublishFailure> {
        Err(PublishFailure { error: Error::NotSent(Unavailable::NoConnection), attempts: 0, outcome })
    }

    #[test]
    fn a_publish_that_panics_or_is_dropped_ends_its_key_as_unknown() {
        let keys = keys();
        drop(begin(&keys));
        let key = begin(&keys);
        assert!(key.earlier_copy_possible());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _key = key;
            panic!("a defect");
        }));
        assert!(panicked.is_err() && begin(&keys).earlier_copy_possible());
    }

    #[test]
    fn only_a_message_that_is_in_no_queue_makes_the_retry_a_first_request() {
        for (outcome, earlier_copy_possible) in [
            (Outcome::NotSent, false),
            (Outcome::Unroutable, false),
            (Outcome::Rejected, true),
            (Outcome::Unknown, true),
        ] {
            let keys = keys();
            begin(&keys).end(&failure(outcome));
            assert_eq!(begin(&keys).earlier_copy_possible(), earlier_copy_possible, "{outcome:?}");
        }
    }
}
