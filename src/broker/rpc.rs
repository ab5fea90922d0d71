//! Request and reply: publishes a request once, and waits for the reply with the gateway's correlation id.
//!
//! Each request is sent at most once. While it is certainly not sent, it waits for a connection, even if the reply queue
//! is replaced meanwhile. Once it is written, it is never repeated. The caller gets the reply even before RabbitMQ
//! confirms the publish. When a caller leaves, its pending reply is removed, but the request stays in the queue.

mod replies;

use std::pin::{Pin, pin};

use tokio::time::{Instant, timeout_at};

use self::replies::PendingReply;
pub(super) use self::replies::Replies;
use super::Broker;
use super::error::{Cause, Error, Unavailable};
use super::publish::{Publish, PublishFailure};
use crate::domain::message::{Destination, Message, ReceivedMessage};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::outcome::Outcome;
use crate::fairness::Holder;

/// An RPC call.
#[derive(Debug)]
pub struct Call {
    /// The request. The gateway sets `reply_to`, `correlation_id` and `expiration`.
    pub message: Message,
    /// The queue that a server consumes from.
    pub queue: QueueName,
    /// The time by which the caller wants an answer.
    pub deadline: Instant,
    /// The principal that the call's parts of the limits are held for.
    pub holder: Holder,
}

impl Call {
    /// A call without a holder.
    #[must_use]
    pub fn new(message: Message, queue: QueueName, deadline: Instant) -> Self {
        Self { message, queue, deadline, holder: Holder::default() }
    }

    /// The publish of the request, without a `reply_to` yet.
    fn publish(self) -> Publish {
        let destination = Destination {
            exchange: ExchangeName::default(),
            routing_key: ShortText::parse(self.queue.as_str()).unwrap_or_default(),
            mandatory: true,
        };
        let mut publish = Publish::new(self.message, destination, self.deadline, false);
        publish.expires = true;
        publish.holder = self.holder;
        publish
    }
}

fn address(publish: &mut Publish, pending: &PendingReply) {
    let text = |text: &str| ShortText::parse(text).ok();
    let properties = &mut publish.message.properties;
    properties.reply_to = text(pending.reply_to());
    properties.correlation_id = text(&pending.correlation_id());
}

impl Broker {
    /// Sends a request and waits for its reply, at most until its deadline.
    ///
    /// # Errors
    /// The failure tells whether a server may still execute the request, see [`PublishFailure::outcome`].
    pub async fn call(&self, call: Call) -> Result<ReceivedMessage, PublishFailure> {
        let answer = self.ask(call).await.map_err(|failure| self.unless_stopped(failure));
        let result = answer.as_ref().map_or_else(|failure| result_of(&failure.error), |_| "replied");
        self.inner.metrics.calls.with_label_values(&[result]).inc();
        answer
    }

    /// Corrects the error when the gateway has given up the reply queue during an abort: the queue is then not lost.
    fn unless_stopped(&self, failure: PublishFailure) -> PublishFailure {
        let is_given_up = failure.error == Error::Unknown(Cause::ReplyChannelLost) && self.is_aborting();
        if is_given_up { unknown(Error::Unknown(Cause::Stopped)) } else { failure }
    }

    /// The same as [`Self::call`] without its metric.
    pub(super) async fn ask(&self, call: Call) -> Result<ReceivedMessage, PublishFailure> {
        let mut publish = call.publish();
        loop {
            let mut pending =
                self.inner.replies.expect(&publish.holder, publish.deadline).await.map_err(not_sent)?;
            address(&mut publish, &pending);
            let answer = first_of(pin!(self.send(&publish, None)), &mut pending, publish.deadline).await;
            let is_unknown = answer.as_ref().is_err_and(|failure| failure.outcome == Outcome::Unknown);
            if is_unknown && publish.attempts() == 0 {
                // The reply queue is lost, and the request was not written: the call waits for the next reply queue.
                continue;
            }
            return answer;
        }
    }
}

/// The reply, or the failure of the request if no reply can come any more.
async fn first_of(
    request: Pin<&mut impl Future<Output = Result<super::Receipt, PublishFailure>>>,
    pending: &mut PendingReply,
    deadline: Instant,
) -> Result<ReceivedMessage, PublishFailure> {
    let published = tokio::select! {
        biased;
        reply = pending.reply() => return reply.map_err(unknown),
        published = request => published,
    };
    match published {
        Err(failure) if failure.outcome != Outcome::Unknown => Err(failure),
        // The request is confirmed or perhaps delivered: the reply may come until the deadline.
        Ok(_) | Err(_) => match timeout_at(deadline, pending.reply()).await {
            Ok(reply) => reply.map_err(unknown),
            Err(_) => Err(unknown(Error::Unknown(Cause::NoReply))),
        },
    }
}

/// How a call without a reply ended, in a word.
fn result_of(error: &Error) -> &'static str {
    match error {
        Error::Unknown(Cause::NoReply) => "timeout",
        Error::Unknown(Cause::ReplyChannelLost) => "reply_channel_lost",
        Error::Unroutable { .. } => "queue_not_found",
        Error::NotSent(Unavailable::TooManyCalls | Unavailable::TooManySlow { .. } | Unavailable::Busy) => {
            "overloaded"
        }
        Error::NotSent(Unavailable::OverShare { .. }) => "over_share",
        other => other.outcome().as_str(),
    }
}

fn not_sent(error: Error) -> PublishFailure {
    PublishFailure { error, attempts: 0, outcome: Outcome::NotSent }
}

fn unknown(error: Error) -> PublishFailure {
    PublishFailure { error, attempts: 1, outcome: Outcome::Unknown }
}
