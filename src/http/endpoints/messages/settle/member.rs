//! The members of the body of a settle, each with an array of items.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use utoipa::ToSchema;

use crate::domain::lease::LeaseId;
use crate::http::openapi::schemas;
use crate::http::request;

/// The leases to settle, by what happens to their messages. The results have the order of the members as you write them.
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
}

impl Member {
    /// Their names.
    pub(super) const NAMES: &[&str] = &["ack", "release", "reject", "extend"];

    const ALL: [Self; 4] = [Self::Ack, Self::Release, Self::Reject, Self::Extend];

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
