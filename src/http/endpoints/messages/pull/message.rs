//! A message of a pull as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Leased;
use crate::domain::field::FieldTable;
use crate::http::codec::{BrokerFields, EnvelopeOut, publishable};
use crate::http::endpoints::messages::time::rfc3339;

/// Headers that count the deliveries of a message before this one: the gateway's, for retries; and that of quorum queues.
const EARLIER_DELIVERIES: [&str; 2] = ["x-retry-count", "x-delivery-count"];

// `openapi/pulled.rs` adds the members of the envelope to its schema.
/// A message and its lease.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PulledMessage<'a> {
    /// The id of the lease, by which any gateway settles the message. Opaque, at most 100 bytes.
    lease_id: String,
    /// When the lease expires, in UTC (RFC 3339). The message goes back to its queue then.
    #[schema(format = DateTime, example = "2026-11-28T06:01:00.000Z")]
    lease_expires_at: String,
    /// 1 for the first delivery. On a classic queue, deliveries that ended with a release or an expired lease do not count.
    #[schema(minimum = 1, example = 1)]
    delivery_attempt: u64,
    /// Whether RabbitMQ delivered the message before.
    redelivered: bool,
    /// The exchange that the message was published to; `amq.default` is the default exchange.
    #[schema(example = "amq.default")]
    exchange: &'a str,
    /// The routing key that the message was published with.
    #[schema(example = "hello")]
    routing_key: &'a str,
    #[serde(flatten)]
    #[schema(ignore)]
    envelope: EnvelopeOut,
    /// The fields that a publish refuses, if the message has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<BrokerFields>,
}

impl<'a> PulledMessage<'a> {
    /// A leased message, for a gateway with this user.
    pub(super) fn of(leased: &'a Leased, user: Option<&str>) -> Self {
        let delivery = &*leased.delivery;
        let (envelope, broker) = publishable(delivery.message.clone(), user);
        Self {
            lease_id: leased.id.to_string(),
            lease_expires_at: rfc3339(leased.expires_at),
            delivery_attempt: delivery_attempt(&delivery.message.headers),
            redelivered: delivery.redelivered,
            exchange: delivery.exchange.in_path(),
            routing_key: delivery.routing_key.as_str(),
            envelope,
            broker,
        }
    }
}

/// The number of deliveries of a message with these headers, this one included.
pub(in crate::http::endpoints::messages) fn delivery_attempt(headers: &FieldTable) -> u64 {
    let counted = EARLIER_DELIVERIES.iter().filter_map(|name| headers.get(name)?.integer());
    counted.fold(1, |attempts, more| attempts.saturating_add(more.max(0).unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::field::FieldValue;
    use crate::domain::message::{Delivery, Properties, ReceivedMessage};
    use crate::domain::names::{ExchangeName, ShortText};

    fn written(headers: &[(&str, FieldValue)], user_id: &str) -> Value {
        let text = |text| ShortText::parse(text).expect("a short text");
        let properties = Properties {
            content_type: Some(text("application/json")),
            user_id: Some(text(user_id)),
            ..Properties::default()
        };
        let message = ReceivedMessage {
            id: Some(text("m-1")),
            properties,
            headers: FieldTable::of(headers),
            body: Bytes::from_static(b"{\"order\": 42}"),
        };
        let (exchange, routing_key) = (ExchangeName::default(), text("orders"));
        let delivery = Delivery { redelivered: true, exchange, routing_key, message };
        let id = "1.a.7.0000000000000007".parse().expect("a lease id");
        let expires_at = UNIX_EPOCH + Duration::from_millis(1_795_478_460_007);
        let leased = Leased { id, expires_at, delivery: Arc::new(delivery) };
        serde_json::to_value(PulledMessage::of(&leased, Some("gateway"))).expect("JSON")
    }

    #[test]
    fn a_message_has_its_lease_beside_its_envelope() {
        let expected = json!({
            "lease_id": "1.a.7.0000000000000007", "lease_expires_at": "2026-11-24T00:01:00.007Z",
            "delivery_attempt": 1, "redelivered": true, "exchange": "amq.default", "routing_key": "orders",
            "properties": {"content_type": "application/json", "message_id": "m-1", "user_id": "gateway"},
            "headers": {"tenant": "acme"}, "body": {"order": 42}
        });
        assert_eq!(written(&[("tenant", FieldValue::from("acme"))], "gateway"), expected);
    }

    #[test]
    fn fields_that_a_publish_refuses_stand_apart() {
        let message = written(&[("x-delivery-count", FieldValue::I64(2)), ("CC", FieldValue::Void)], "app");
        assert_eq!(
            message["broker"],
            json!({"user_id": "app", "headers": {"x-delivery-count": 2, "CC": null}})
        );
        assert_eq!(message["headers"], json!({}));
        assert_eq!(message["properties"].get("user_id"), None);
        assert_eq!(message["delivery_attempt"], 3);
    }

    #[test]
    fn the_attempts_are_counted_from_every_type_of_integer_and_do_not_overflow() {
        let attempt = |retries, deliveries| {
            delivery_attempt(&FieldTable::of(&[("x-retry-count", retries), ("x-delivery-count", deliveries)]))
        };
        assert_eq!(attempt(FieldValue::I32(2), FieldValue::U8(3)), 6);
        assert_eq!(attempt(FieldValue::I64(-5), FieldValue::from("5")), 1);
        assert_eq!(attempt(FieldValue::I64(i64::MAX), FieldValue::I64(i64::MAX)), u64::MAX);
        assert_eq!(delivery_attempt(&FieldTable::default()), 1);
    }
}
