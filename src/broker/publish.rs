//! Publish, and tell what became of the message: confirmed, unroutable, rejected, not sent, unknown.
//!
//! Never says confirmed for a message that the broker does not hold. Resends only what was certainly
//! not sent, or what a lost connection or channel left unknown; then with the same message id, and
//! the answer says that a duplicate is possible. Silence on a live connection is never resent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool::managed::Object;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::error;

use super::channels::{ChannelManager, ConfirmChannel, ConfirmChannels};
use super::connections::Connections;
use super::convert::{properties, short};
use super::error::{Error, Fate};
use super::link::{Link, add_one, take_one};
use crate::domain::message::{Destination, Message};
use crate::metrics::Metrics;

/// How long a channel that left the pool may wait for its late confirm.
const DRAIN: Duration = Duration::from_mins(1);
/// Channels on one connection that may wait for late confirms before the connection is replaced.
const MAX_DRAINING: usize = 500;

/// A message, where it goes, and how long it may take.
#[derive(Debug)]
pub struct Publish {
    /// What is published.
    pub message: Message,
    /// Where it goes.
    pub destination: Destination,
    /// When the caller wants an answer at the latest.
    pub deadline: Instant,
    /// Whether what a lost connection left unknown is sent again.
    pub resend: bool,
    /// Whether the message expires at the deadline, so that nobody works on it later.
    pub expires: bool,
}

impl Publish {
    /// As they are when the message is written.
    fn properties(&self) -> BasicProperties {
        let given = properties(&self.message);
        if !self.expires {
            return given;
        }
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        given.with_expiration(short(&left.to_string()))
    }
}

/// The broker holds the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Whether a queue took it for certain; false when nobody looked (`mandatory` was off).
    pub routed: bool,
    /// How often the message was written.
    pub attempts: u32,
    /// Whether an earlier attempt may have left a copy.
    pub duplicate_possible: bool,
}

impl Receipt {
    /// The outcome in a word.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        if self.routed { "confirmed" } else { "accepted" }
    }
}

/// The broker does not hold the message, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct PublishFailure {
    /// What happened last.
    #[source]
    pub error: Error,
    /// How often the message was written.
    pub attempts: u32,
    /// What is true of the message, over all attempts.
    pub fate: Fate,
}

/// Publishes over the pool.
pub(super) struct Publisher {
    pub(super) connections: Arc<Connections>,
    pub(super) channels: ConfirmChannels,
    /// Those that wait for late confirms.
    pub(super) late: TaskTracker,
    pub(super) metrics: Metrics,
}

impl Publisher {
    /// Publishes until there is an answer, in the caller's task; see [`super::Broker::publish`].
    pub(super) async fn publish(&self, publish: Publish) -> Result<Receipt, PublishFailure> {
        let answer = self.until_answered(publish).await;
        let outcome = answer.as_ref().map_or_else(|failure| failure.fate.name(), Receipt::outcome);
        self.metrics.publishes.with_label_values(&[outcome]).inc();
        answer
    }

    async fn until_answered(&self, publish: Publish) -> Result<Receipt, PublishFailure> {
        let letter = Arc::new(publish);
        let mut attempts = 0;
        let mut duplicate_possible = false;
        loop {
            let error = match self.attempt(&letter, &mut attempts).await {
                Ok(()) => {
                    let routed = letter.destination.mandatory;
                    return Ok(Receipt { routed, attempts, duplicate_possible });
                }
                Err(error) => error,
            };
            if may_resend(&error, &letter) {
                duplicate_possible = true;
                self.metrics.resends.inc();
                continue;
            }
            let fate = overall_fate(&error, duplicate_possible);
            return Err(PublishFailure { error, attempts, fate });
        }
    }

    async fn attempt(&self, letter: &Arc<Publish>, attempts: &mut u32) -> Result<(), Error> {
        let mut pooled = self.channels.get(letter.deadline).await?;
        if pooled.link().is_blocked() {
            return Err(Error::Blocked);
        }
        *attempts += 1;
        let begun = Instant::now();
        let mut settling = settling(pooled.begin(), Arc::clone(pooled.link()), Arc::clone(letter));
        let Ok(mut answer) = timeout_at(letter.deadline, &mut settling).await else {
            self.drain(pooled, settling);
            return Err(Error::Silence);
        };
        if let Err(Error::Lost { repeatable, .. }) = &mut answer {
            *repeatable &= !pooled.link().is_blocked();
        } else {
            self.metrics.confirm_seconds.observe(begun.elapsed().as_secs_f64());
            pooled.answered();
        }
        ConfirmChannel::put_back(pooled);
        answer
    }

    /// Keeps a channel whose confirm is late until it comes, or until its connection is gone: closing
    /// it earlier would take the connection with it, and dropping the confirm would leak it.
    fn drain(&self, pooled: Object<ChannelManager>, mut settling: Settling) {
        let confirm = Object::take(pooled);
        let link = Arc::clone(confirm.link());
        if add_one(link.draining()) > MAX_DRAINING {
            link.retire();
        }
        self.late.spawn(async move {
            while timeout(DRAIN, &mut settling).await.is_err() {
                // During an alarm a new connection would learn of it only by holding a message too.
                if !link.is_blocked() {
                    link.retire();
                }
            }
            drop(confirm);
            take_one(link.draining());
        });
    }

    /// Publishes whose confirm is late.
    pub(super) fn late_confirms(&self) -> usize {
        self.connections.up().map(|link| link.draining().load(Ordering::Relaxed)).sum()
    }
}

type Settling = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

fn settling(channel: Channel, link: Arc<Link>, letter: Arc<Publish>) -> Settling {
    Box::pin(async move { link.unless_gone(settle(channel, letter)).await })
}

/// Writes the message and waits for the broker's verdict, for as long as that takes.
async fn settle(channel: Channel, letter: Arc<Publish>) -> Result<(), Error> {
    let Publish { message, destination, .. } = &*letter;
    let options = BasicPublishOptions { mandatory: destination.mandatory, ..BasicPublishOptions::default() };
    let confirm = channel
        .basic_publish(
            short(destination.exchange.as_str()),
            short(destination.routing_key.as_str()),
            options,
            &message.body,
            letter.properties(),
        )
        .await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => {
            Err(Error::Unroutable { reason: returned.reply_text.to_string() })
        }
        Confirmation::Nack(_) => Err(Error::Rejected),
        Confirmation::NotRequested => {
            error!("a channel of the pool is not in confirm mode: this is a defect of the gateway");
            Err(Error::Lost { reason: "confirms are off".to_owned(), repeatable: false })
        }
    }
}

fn may_resend(error: &Error, letter: &Publish) -> bool {
    let repeatable = matches!(error, Error::Lost { repeatable: true, .. });
    repeatable && letter.resend && Instant::now() < letter.deadline
}

/// A copy that an earlier attempt may have left is not unmade by how the last attempt ended.
fn overall_fate(last: &Error, earlier_copy_possible: bool) -> Fate {
    match last.fate() {
        Fate::NotSent | Fate::Unroutable if earlier_copy_possible => Fate::Unknown,
        fate => fate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_first_attempt_is_not_made_certain_by_a_later_failure() {
        let unroutable = Error::Unroutable { reason: "NO_ROUTE".to_owned() };
        assert_eq!(overall_fate(&unroutable, true), Fate::Unknown);
        assert_eq!(overall_fate(&unroutable, false), Fate::Unroutable);
        assert_eq!(overall_fate(&Error::Unavailable, true), Fate::Unknown);
        assert_eq!(overall_fate(&Error::Rejected, true), Fate::Rejected);
    }
}
