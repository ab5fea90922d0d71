//! Settles leases of any replica: its own at once, others by their owner's control queue.

mod batches;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use self::batches::divide;
use super::command::SettleResult;
use super::control::{Incoming, NoRoom, protocol, queue_of};
use super::counts::{ControlResult, count_settles};
use super::lease_scope::LeaseScope;
use super::settle::{Action, NotSettled, Settled};
use crate::broker::Broker;
use crate::broker::error::{Cause, Error, Unavailable};
use crate::broker::publish::{Publish, PublishFailure};
use crate::broker::rpc::Call;
use crate::domain::field::FieldTable;
use crate::domain::lease::LeaseId;
use crate::domain::message::{DeliveryMode, Destination, Message, MessageId, Properties, ReceivedMessage};
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::reserved;

/// Deadline of the answer to another replica, if its request has none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which an answer travels to the other replica.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);
/// The requests to one replica at a time for one settle.
const BATCHES_AT_ONCE: usize = 4;

/// An action, with its place in the request.
type Numbered = (usize, (LeaseId, Action));

impl Broker {
    /// Does these actions with leases of a principal, at any replica, and waits until RabbitMQ has read them, at most to the
    /// deadline. The results are in the order of the actions. Each lease occurs once.
    pub async fn settle(
        &self,
        scope: LeaseScope<'_>,
        actions: Vec<(LeaseId, Action)>,
        deadline: Instant,
    ) -> Vec<Result<Settled, NotSettled>> {
        let count = actions.len();
        let (own, foreign): (Vec<Numbered>, Vec<_>) =
            actions.into_iter().enumerate().partition(|(_, (id, _))| self.consuming().gave_out(id, scope));
        // A reply can wait long, so no request has replies and other actions together.
        let mut by_owner = BTreeMap::<(String, bool), Vec<Numbered>>::new();
        for numbered in foreign {
            let key = (numbered.1.0.owner.clone(), numbered.1.1.is_copy());
            by_owner.entry(key).or_default().push(numbered);
        }
        let forwarded = by_owner.into_iter().map(|((owner, is_copy), numbered)| async move {
            let kind = if is_copy { protocol::COPY_REQUEST } else { protocol::REQUEST };
            let to = (owner.as_str(), kind);
            let batches = divide(numbered, |(_, (_, action))| protocol::size(action));
            let sending = batches.into_iter().map(|batch| async move {
                let (places, actions) = split(batch);
                let results = self.forward(to, scope, actions, deadline).await;
                places.into_iter().zip(results).collect::<Vec<_>>()
            });
            stream::iter(sending).buffered(BATCHES_AT_ONCE).concat().await
        });
        let own = async {
            let (places, actions) = split(own);
            let results = self.consuming().settle(scope, actions, deadline).await;
            places.into_iter().zip(results).collect::<Vec<_>>()
        };
        let (own, forwarded) = tokio::join!(own, join_all(forwarded));
        let mut results = vec![Err(NotSettled::Expired); count];
        for (place, result) in own.into_iter().chain(forwarded.into_iter().flatten()) {
            if let Some(slot) = results.get_mut(place) {
                *slot = result;
            }
        }
        count_settles(&self.inner.metrics.consume, &results);
        results
    }

    /// Asks the owner of leases to settle them.
    async fn forward(
        &self,
        (owner, kind): (&str, &str),
        scope: LeaseScope<'_>,
        actions: Vec<(LeaseId, Action)>,
        deadline: Instant,
    ) -> Vec<SettleResult> {
        let Some(control_queue) = queue_of(owner) else {
            return vec![Err(NotSettled::Expired); actions.len()];
        };
        let message = self.control_message(kind, protocol::request(scope, &actions));
        let call = Call::new(message, control_queue, deadline);
        let failed = |error: NotSettled| vec![Err(error); actions.len()];
        match self.ask(call).await {
            Ok(answer) if is_of_type(&answer, protocol::UNSUPPORTED) => {
                failed(NotSettled::Failed(Error::NotSent(Unavailable::OtherVersion)))
            }
            Ok(answer) if is_of_type(&answer, protocol::OVERLOADED) => {
                failed(NotSettled::Failed(Error::NotSent(Unavailable::OwnerBusy)))
            }
            Ok(answer) if is_of_type(&answer, protocol::TOO_LARGE) => {
                let limit = std::str::from_utf8(&answer.body).ok().and_then(|limit| limit.parse().ok());
                failed(NotSettled::TooLarge { limit: limit.unwrap_or_default() })
            }
            Ok(answer) => protocol::read_answer(&answer.body, actions.len())
                .unwrap_or_else(|| failed(NotSettled::Failed(Error::Unknown(Cause::Silence)))),
            Err(failure) => failed(not_forwarded(failure)),
        }
    }

    fn control_message(&self, kind: &str, body: Vec<u8>) -> Message {
        let properties = Properties {
            kind: ShortText::parse(kind).ok(),
            content_type: ShortText::parse("application/json").ok(),
            delivery_mode: Some(DeliveryMode::Transient),
            // RabbitMQ checks it, so no other user can send such a message.
            user_id: self.user().and_then(|user| ShortText::parse(user).ok()),
            ..Properties::default()
        };
        Message {
            id: MessageId::generate(),
            properties,
            headers: FieldTable::default(),
            body: Bytes::from(body),
        }
    }

    /// Answers the requests of other replicas, until the gateway is closed.
    pub(in crate::broker) async fn answer_replicas(self, mut requests: Incoming) {
        while let Some(Some((request, no_room))) =
            self.inner.closed.run_until_cancelled(requests.next()).await
        {
            let broker = self.clone();
            tokio::spawn(async move {
                broker.answer_replica(request, no_room).await.count(&broker.inner.metrics.consume);
            });
        }
    }

    /// Answers a request of the gateway's own user. Every other message is dropped.
    async fn answer_replica(&self, request: ReceivedMessage, no_room: Option<NoRoom>) -> ControlResult {
        let properties = &request.properties;
        let sender = properties.user_id.as_ref().map(ShortText::as_str);
        let reply_to = properties.reply_to.clone().filter(|name| reserved::is_internal_queue(name.as_str()));
        let (true, Some(reply_to)) = (self.user().is_none() || sender == self.user(), reply_to) else {
            tracing::debug!("a message at the control queue of leases is not from a gateway: it is dropped");
            return ControlResult::Refused;
        };
        let time =
            properties.expiration.map_or(ANSWER_TIMEOUT, Duration::from_millis).min(ANSWER_TIMEOUT * 6);
        // The answer has to arrive before the other replica ends its wait.
        let time = time.saturating_sub(ANSWER_MARGIN.min(time / 4));
        let deadline = Instant::now() + time;
        let is_known =
            [protocol::REQUEST, protocol::COPY_REQUEST].iter().any(|kind| is_of_type(&request, kind));
        let (result, kind, body) = if let Some(why) = no_room {
            let (kind, body) = match why {
                NoRoom::Now => (protocol::OVERLOADED, Vec::new()),
                NoRoom::Ever { limit } => (protocol::TOO_LARGE, limit.to_string().into_bytes()),
            };
            (ControlResult::NoRoom, kind, body)
        } else if is_known {
            let Some(asked) = protocol::read_request(&request.body) else {
                tracing::debug!("a request at the control queue of leases is malformed: it is dropped");
                return ControlResult::Dropped;
            };
            let scope = LeaseScope { queue: &asked.queue, principal: &asked.principal };
            let results = self.consuming().settle(scope, asked.actions, deadline).await;
            (ControlResult::Answered, protocol::ANSWER, protocol::answer(&results))
        } else {
            (ControlResult::Unsupported, protocol::UNSUPPORTED, Vec::new())
        };
        let mut message = self.control_message(kind, body);
        message.properties.correlation_id = properties.correlation_id.clone();
        let destination =
            Destination { exchange: ExchangeName::default(), routing_key: reply_to, mandatory: true };
        let answer = Publish::new(message, destination, deadline + ANSWER_MARGIN, false);
        if let Err(error) = self.send(&answer, None).await {
            tracing::debug!(%error, "the answer to another replica was not sent");
            return ControlResult::Dropped;
        }
        result
    }
}

fn split(numbered: Vec<Numbered>) -> (Vec<usize>, Vec<(LeaseId, Action)>) {
    numbered.into_iter().unzip()
}

fn is_of_type(message: &ReceivedMessage, kind: &str) -> bool {
    message.properties.kind.as_ref().is_some_and(|it| it.as_str() == kind)
}

/// Why a request has no answer. RabbitMQ returns it only when the owner's connection is gone, and then the messages are back.
fn not_forwarded(failure: PublishFailure) -> NotSettled {
    match failure.error {
        Error::Unroutable { .. } => NotSettled::Expired,
        error @ (Error::NotSent(_)
        | Error::Refused(_)
        | Error::Unknown(Cause::Lost { .. } | Cause::Stopped)) => NotSettled::Failed(error),
        _ => NotSettled::Failed(Error::Unknown(Cause::Silence)),
    }
}
