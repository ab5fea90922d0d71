//! Publishes the copies of leased messages and the replies to them, and declares the queues in which copies wait.

mod direct_replies;
mod not_copied;
mod wait_queues;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};

use self::direct_replies::DirectReplies;
use self::not_copied::{NotCopied, not_sent};
use self::wait_queues::WaitQueues;
use super::command::SettleResult;
use super::copy_order::{Copied, CopyOrder, CopyTarget};
use super::settle::{NotSettled, Retried, Settled};
use super::wait_queue;
use crate::broker::Broker;
use crate::broker::error::{Error, Unavailable};
use crate::broker::publish::{Publish, PublishFailure, Receipt, WriteGate};
use crate::domain::direct_reply_to::DirectReplyTo;
use crate::domain::message::{Destination, Message, MessageId};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::outcome::Outcome;
use crate::domain::reserved;
use crate::domain::retry_step::RetryStep;

/// The pauses before a copy that a new wait queue has nacked is sent again, in milliseconds.
const PAUSES: [u64; 6] = [25, 50, 100, 200, 400, 800];

/// The knowledge about the destinations of copies.
#[derive(Default)]
struct Copier {
    wait_queues: WaitQueues,
    direct_replies: DirectReplies,
}

/// How long before its deadline a copy must be written. So its answer, that it is not sent, comes before the end of the wait for it.
const MARGIN: Duration = Duration::from_millis(100);

impl Broker {
    /// Publishes copies until the gateway is closed.
    pub(in crate::broker) async fn publish_copies(self, mut orders: UnboundedReceiver<CopyOrder>) {
        let copier = Arc::<Copier>::default();
        while let Some(Some(order)) = self.inner.closed.run_until_cancelled(orders.recv()).await {
            let (broker, copier) = (self.clone(), Arc::clone(&copier));
            tokio::spawn(async move { broker.publish_copy(order, &copier).await });
        }
    }

    async fn publish_copy(&self, order: CopyOrder, copier: &Copier) {
        let CopyOrder { serial, message, target, may_exist, deadline, longest, gate, cancelled, answer } =
            order;
        let id = message.id.clone();
        let deadline = earlier(deadline, MARGIN);
        let sending = self.send_copy(message, &target, copier, (deadline, longest, gate));
        let Some(sent) = cancelled.run_until_cancelled(sending).await else { return };
        let is_lost = matches!(&sent, Err(NotCopied::Failed(failure)) if failure.outcome == Outcome::Unknown);
        let result = result(&target, sent, id, may_exist);
        // The worker has ended, and has lost the lease.
        let _gone = answer.send(Copied { serial, result, may_exist: is_lost });
    }

    async fn send_copy(
        &self,
        message: Message,
        target: &CopyTarget,
        copier: &Copier,
        (deadline, longest, gate): (Instant, Instant, WriteGate),
    ) -> Result<Receipt, NotCopied> {
        let limits = || (deadline, longest, gate.clone());
        let to = |exchange: &ExchangeName, routing_key: &ShortText| Destination {
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
            mandatory: !reserved::is_direct_reply_to(routing_key.as_str()),
        };
        let by_name = |queue: &QueueName| {
            to(&ExchangeName::default(), &ShortText::parse(queue.as_str()).unwrap_or_default())
        };
        let (queue, step) = match target {
            CopyTarget::Reply { queue } => {
                let sending = self.send_once(message, to(&ExchangeName::default(), queue), limits());
                return match DirectReplyTo::parse(queue.as_str()) {
                    Some(address) => copier.direct_replies.send(address.client, deadline, sending).await,
                    None => Ok(sending.await?),
                };
            }
            CopyTarget::DeadLetters { exchange, routing_key } => {
                return Ok(self.send_once(message, to(exchange, routing_key), limits()).await?);
            }
            CopyTarget::Again { queue, step: None } => {
                return Ok(self.send_once(message, by_name(queue), limits()).await?);
            }
            CopyTarget::Again { queue, step: Some(step) } => (queue, *step),
        };
        let declaration = wait_queue::declaration(queue, step).map_err(not_sent)?;
        let wait_queue = copier.wait_queues.find(&declaration.name);
        let mut pauses = PAUSES.into_iter().map(Duration::from_millis);
        loop {
            let declare = async { self.topology().declare(&declaration, deadline).await.map(drop) };
            let declared = wait_queue.declared(deadline, declare).await.map_err(not_sent)?;
            let failure = match self.send_once(message.clone(), by_name(&declaration.name), limits()).await {
                Ok(receipt) => return Ok(receipt),
                Err(failure) => failure,
            };
            match failure.outcome {
                // The queue was deleted after its declaration.
                Outcome::Unroutable if !declared.is_own => wait_queue.forget(declared).await,
                // It has perhaps not started yet. After a nack RabbitMQ does not hold the copy, since it goes to one queue.
                Outcome::Rejected if declared.is_new() => match pauses.next() {
                    Some(pause) if Instant::now() + pause < deadline => sleep(pause).await,
                    _ => return Err(NotCopied::from(failure)),
                },
                _ => return Err(NotCopied::from(failure)),
            }
        }
    }

    /// Publishes a message that must be written by the first time and confirmed by the second. Never sends it twice.
    async fn send_once(
        &self,
        message: Message,
        to: Destination,
        (deadline, longest, gate): (Instant, Instant, WriteGate),
    ) -> Result<Receipt, PublishFailure> {
        let mut publish = Publish::new(message, to, longest, false);
        publish.gate = Some(gate);
        let sending = self.send(&publish, None);
        tokio::pin!(sending);
        tokio::select! {
            biased;
            answer = &mut sending => return answer,
            () = sleep_until(deadline) => {}
        }
        if publish.attempts() == 0 {
            return Err(not_sent(Error::NotSent(Unavailable::NoConnection)));
        }
        sending.await
    }
}

/// The result of the action, once the original is acked. A reply without an answer is not sent again, so its action is done.
fn result(
    target: &CopyTarget,
    sent: Result<Receipt, NotCopied>,
    message_id: MessageId,
    may_exist: bool,
) -> SettleResult {
    let sent = match sent {
        Err(NotCopied::NoReplyTo(why)) => return Err(NotSettled::NoReplyTo(why)),
        Err(NotCopied::Failed(failure)) => Err(failure),
        Ok(receipt) => Ok(receipt),
    };
    match (target, sent) {
        (CopyTarget::Reply { .. }, Ok(receipt)) => {
            let is_confirmed = receipt.outcome == Outcome::Confirmed;
            Ok(Settled::Replied { delivered: is_confirmed.then_some(true) })
        }
        (CopyTarget::Reply { .. }, Err(failure)) => match failure.outcome {
            Outcome::Unroutable => Ok(Settled::Replied { delivered: Some(false) }),
            Outcome::Unknown => Ok(Settled::Replied { delivered: None }),
            _ => Err(not_copied(target, failure)),
        },
        (_, Err(failure)) => Err(not_copied(target, failure)),
        (CopyTarget::DeadLetters { .. }, Ok(_)) => Ok(Settled::DeadLettered),
        (CopyTarget::Again { step, .. }, Ok(receipt)) => {
            let duplicate_possible = may_exist || receipt.duplicate_possible;
            let retry_at = SystemTime::now() + step.map(RetryStep::delay).unwrap_or_default();
            Ok(Settled::Retried(Arc::new(Retried { retry_at, message_id, duplicate_possible })))
        }
    }
}

/// The time that is this margin before a deadline, or a quarter of the time until a deadline that is close.
fn earlier(deadline: Instant, margin: Duration) -> Instant {
    deadline - margin.min(deadline.saturating_duration_since(Instant::now()) / 4)
}

/// Why there is no copy. A nack by the only queue that the copy goes to says that RabbitMQ does not hold it.
fn not_copied(target: &CopyTarget, failure: PublishFailure) -> NotSettled {
    let has_one_queue = match target {
        CopyTarget::Again { .. } | CopyTarget::Reply { .. } => true,
        CopyTarget::DeadLetters { exchange, .. } => exchange.is_default(),
    };
    match failure.error {
        Error::Rejected if has_one_queue => NotSettled::CopyRejected,
        error => NotSettled::Failed(error),
    }
}
