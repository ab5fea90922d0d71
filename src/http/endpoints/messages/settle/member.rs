//! The members of the body of a settle, each with an array of items.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use utoipa::ToSchema;

use crate::domain::lease::LeaseId;
use crate::http::openapi::schemas;
use crate::http::request;

/// The leases to settle, by the action with their messages. The results have the order of the members as you write them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in the contract; `items.rs` reads it in its order")]
pub(in crate::http) struct SettleRequest {
    /// RabbitMQ removes these messages.
    #[schema(schema_with = schemas::lease_ids)]
    ack: Option<Vec<String>>,
    /// These messages go back to their queue.
    #[schema(schema_with = schemas::lease_ids)]
    release: Option<Vec<String>>,
    /// RabbitMQ drops these messages, or sends them to the dead-letter exchange of their queue.
    #[schema(schema_with = schemas::lease_ids)]
    reject: Option<Vec<String>>,
    /// The caller gets more time for these messages.
    #[schema(max_items = 1_000)]
    extend: Option<Vec<ExtendItem>>,
    /// A copy of these messages comes again after a delay, with `x-retry-count` one higher.
    #[schema(max_items = 1_000)]
    retry: Option<Vec<RetryItem>>,
    /// A copy of these messages goes to the exchange for dead letters.
    #[schema(max_items = 1_000)]
    dead_letter: Option<Vec<DeadLetterItem>>,
    /// These messages go to the queues that the leased ones name in `reply_to`.
    #[schema(max_items = 1_000)]
    reply: Option<Vec<ReplyItem>>,
    /// Where the copies of `dead_letter` go.
    dead_letter_to: Option<DeadLetterTo>,
}

/// A member of the body, and the action of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SettleAction)]
pub(in crate::http) enum Member {
    /// RabbitMQ removes the message.
    Ack,
    /// The message goes back to its queue.
    Release,
    /// RabbitMQ drops the message, or sends it to the dead-letter exchange of its queue.
    Reject,
    /// The caller gets more time.
    Extend,
    /// A copy of the message comes again.
    Retry,
    /// A copy of the message goes to the exchange for dead letters.
    DeadLetter,
    /// A reply goes to the queue that the message names.
    Reply,
}

impl Member {
    /// The names of all members of the body.
    pub(super) const KNOWN: &[&str] =
        &["ack", "release", "reject", "extend", "retry", "dead_letter", "reply", "dead_letter_to"];
    /// The names of those with items, in the order of the variants.
    pub(super) const NAMES: &[&str] = Self::KNOWN.split_at(7).0;

    const ALL: [Self; 7] =
        [Self::Ack, Self::Release, Self::Reject, Self::Extend, Self::Retry, Self::DeadLetter, Self::Reply];

    /// The member with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.name() == name)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// A lease and the time that it gets, counted from now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ExtendItem {
    #[schema(schema_with = schemas::lease_id)]
    pub(super) lease_id: LeaseText,
    #[serde(deserialize_with = "positive")]
    #[schema(schema_with = schemas::extension)]
    pub(super) lease: Duration,
}

/// A lease whose message comes again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RetryItem {
    #[schema(schema_with = schemas::lease_id)]
    pub(super) lease_id: LeaseText,
    #[serde(default, deserialize_with = "request::duration")]
    #[schema(schema_with = schemas::retry_delay)]
    pub(super) delay: Option<Duration>,
    /// Why the message could not be processed; the first 1,024 bytes go into the header `x-last-error`.
    pub(super) reason: Option<String>,
}

/// A lease whose message goes to the dead letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DeadLetterItem {
    #[schema(schema_with = schemas::lease_id)]
    pub(super) lease_id: LeaseText,
    /// Why the message could not be processed; the first 1,024 bytes go into the header `x-last-error`.
    pub(super) reason: Option<String>,
}

/// A lease and the reply to its message: an envelope without the members that the gateway sets itself.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the item in the contract; `codec::read_reply_item` reads it")]
pub(in crate::http) struct ReplyItem {
    // `openapi/envelopes.rs` adds the members of the envelope.
    #[schema(schema_with = schemas::lease_id)]
    lease_id: String,
}

/// Where dead letters go.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DeadLetterTo {
    /// The exchange; `<queue>.dlx` by default.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001F\u007F-\u009F]*$")]
    pub(super) exchange: Option<String>,
    /// The routing key; the name of the queue by default.
    #[schema(max_length = 255, pattern = r"^[^\u0000-\u001F\u007F-\u009F]*$")]
    pub(super) routing_key: Option<String>,
}

/// The id of a lease as text.
#[derive(Debug)]
pub(in crate::http) struct LeaseText(pub(super) LeaseId);

impl<'de> Deserialize<'de> for LeaseText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(LeaseText).map_err(D::Error::custom)
    }
}

/// A duration above 0. The longest one depends on the age of the lease, so the owner of the lease checks it.
fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let lease = request::duration(deserializer)?.unwrap_or_default();
    if lease.is_zero() { Err(D::Error::custom("must be a duration above 0")) } else { Ok(lease) }
}
