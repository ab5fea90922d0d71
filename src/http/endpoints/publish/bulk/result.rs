//! The result of one item, and its form in the answer.

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Receipt;
use crate::domain::message::MessageId;
use crate::domain::outcome::Outcome;
use crate::domain::path_prefix::PathPrefix;
use crate::http::problem::{ItemProblem, Problem};

/// An item whose message has its outcome.
pub(in crate::http::endpoints::publish) struct Settled {
    pub(in crate::http::endpoints::publish) index: u64,
    /// The caller's id of the item.
    pub(super) id: Option<String>,
    pub(super) message_id: Option<MessageId>,
    pub(in crate::http::endpoints::publish) answer: Result<Receipt, Failure>,
}

/// The failure of an item.
pub(in crate::http::endpoints::publish) struct Failure {
    pub(in crate::http::endpoints::publish) outcome: Outcome,
    pub(in crate::http::endpoints::publish) attempts: u32,
    pub(in crate::http::endpoints::publish) problem: Problem,
}

/// The result of one item.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublishResult)]
pub(in crate::http) struct ItemResult {
    /// The item's place in the request, from 0 on.
    #[schema(example = 0)]
    index: u64,
    /// The caller's id of the item, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "order-7")]
    id: Option<String>,
    /// The outcome of the item's message.
    outcome: Outcome,
    /// The message's id: the caller's, or the one that the gateway gave it. An item that is no message has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "019c2b6e-8c1a-7c3e-9a51-5f0c3f3c8b11")]
    message_id: Option<MessageId>,
    /// How often the gateway wrote the message to RabbitMQ. A message with more than one attempt may be behind later ones.
    #[schema(example = 1)]
    attempts: u32,
    /// Whether the gateway sent the message again after a lost connection, so that two messages with this id may exist.
    #[schema(example = false)]
    duplicate_possible: bool,
    /// The reason why the message is neither confirmed nor accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

impl Settled {
    /// The outcome of the item's message.
    pub(in crate::http::endpoints::publish) fn outcome(&self) -> Outcome {
        self.answer.as_ref().map_or_else(|failure| failure.outcome, |receipt| receipt.outcome)
    }

    /// The result for the caller of a gateway below this prefix.
    pub(in crate::http::endpoints::publish) fn into_result(self, prefix: &PathPrefix) -> ItemResult {
        let outcome = self.outcome();
        let Self { index, id, message_id, answer } = self;
        let (attempts, duplicate_possible, problem) = match answer {
            Ok(receipt) => (receipt.attempts, receipt.duplicate_possible, None),
            Err(Failure { attempts, problem, .. }) => {
                (attempts, attempts > 1, Some(problem.into_item(prefix)))
            }
        };
        ItemResult { index, id, outcome, message_id, attempts, duplicate_possible, problem }
    }
}
