//! The copies of a message that comes again or goes to the dead letters.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::{Delivery, Message, MessageId};
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::reserved;

/// The headers of a copy.
const RETRY_COUNT: &str = "x-retry-count";
const LAST_ERROR: &str = "x-last-error";
const RETRY_TIMESTAMP: &str = "x-retry-timestamp";
const ORIGINAL_EXCHANGE: &str = "x-original-exchange";
const ORIGINAL_ROUTING_KEY: &str = "x-original-routing-key";
const ORIGINAL_USER: &str = "x-original-user-id";
const ORIGINAL_EXPIRATION: &str = "x-original-expiration";
/// The most bytes of a reason in a header.
const MAX_REASON: usize = 1024;

/// The copy of a message that comes again.
pub(super) fn retry(delivery: &Delivery, id: MessageId, reason: Option<&str>, user: Option<&str>) -> Message {
    let mut message = copy(delivery, id, reason, user);
    let count = count(&message.headers).saturating_add(1);
    set(&mut message.headers, RETRY_COUNT, FieldValue::I64(count));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    set(&mut message.headers, RETRY_TIMESTAMP, FieldValue::Timestamp(now));
    message
}

/// The copy of a message with its body, properties and headers, without those that RabbitMQ acts on: with the headers of an earlier
/// dead-lettering, RabbitMQ drops a message that comes a second time. Keeps where the message was published first.
pub(super) fn copy(delivery: &Delivery, id: MessageId, reason: Option<&str>, user: Option<&str>) -> Message {
    let received = &delivery.message;
    let mut properties = received.properties.clone();
    let is_kept =
        |name: &ShortText| !reserved::routes(name.as_str()) && !reserved::is_broker_header(name.as_str());
    let kept = received.headers.0.iter().filter(|(name, _)| is_kept(name));
    let mut headers = FieldTable(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
    let foreign = properties.user_id.take_if(|given| Some(given.as_str()) != user);
    let expiration = properties.expiration.take();
    let texts = [
        (ORIGINAL_USER, foreign.map(|user| user.to_string())),
        (ORIGINAL_EXPIRATION, expiration.map(|milliseconds| milliseconds.to_string())),
        (LAST_ERROR, reason.map(|reason| beginning(reason).to_owned())),
    ];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        set(&mut headers, name, FieldValue::from(text.as_str()));
    }
    for (name, text) in [
        (ORIGINAL_EXCHANGE, delivery.exchange.as_str()),
        (ORIGINAL_ROUTING_KEY, delivery.routing_key.as_str()),
    ] {
        if headers.get(name).is_none() {
            set(&mut headers, name, FieldValue::from(text));
        }
    }
    Message { id, properties, headers, body: received.body.clone() }
}

/// The message with the exchange and routing key of its first publish, if it is a copy that comes again.
pub(super) fn with_first_address(mut delivery: Delivery) -> Delivery {
    let headers = &delivery.message.headers;
    if !delivery.exchange.is_default() || count(headers) == 0 {
        return delivery;
    }
    let text = |name| match headers.get(name) {
        Some(FieldValue::Text(text)) => String::from_utf8(text.clone()).ok(),
        _ => None,
    };
    if let (Some(exchange), Some(routing_key)) = (text(ORIGINAL_EXCHANGE), text(ORIGINAL_ROUTING_KEY)) {
        delivery.exchange = ExchangeName::from_broker(&exchange);
        delivery.routing_key = ShortText::from_broker(&routing_key);
    }
    delivery
}

/// The number of retries so far.
fn count(headers: &FieldTable) -> i64 {
    headers.get(RETRY_COUNT).and_then(FieldValue::integer).unwrap_or_default().max(0)
}

fn set(headers: &mut FieldTable, name: &str, value: FieldValue) {
    headers.insert(ShortText::from_broker(name), value);
}

/// The first bytes of a text, up to the end of a character.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_REASON)]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::message::{Properties, ReceivedMessage};

    fn text(text: &str) -> ShortText {
        ShortText::from_broker(text)
    }

    fn delivery(headers: &[(&str, FieldValue)], properties: Properties) -> Delivery {
        let headers = headers.iter().map(|(name, value)| (text(name), value.clone())).collect();
        let message =
            ReceivedMessage { id: None, properties, headers: FieldTable(headers), body: Bytes::from("body") };
        let (exchange, routing_key) = (ExchangeName::from_broker("shop"), text("orders.new"));
        Delivery { redelivered: false, exchange, routing_key, message }
    }

    #[test]
    fn a_copy_keeps_foreign_headers_and_drops_those_that_rabbitmq_acts_on() {
        let headers = [
            ("mine", FieldValue::I8(1)),
            ("CC", FieldValue::Void),
            ("x-death", FieldValue::Void),
            ("x-first-death-queue", FieldValue::from("q")),
            ("x-opt-x", FieldValue::Void),
        ];
        let properties = Properties {
            user_id: Some(text("other")),
            expiration: Some(500),
            priority: Some(3),
            ..Properties::default()
        };
        let copy =
            copy(&delivery(&headers, properties), MessageId::generate(), Some("no order"), Some("own"));
        let names: Vec<_> = copy.headers.0.keys().map(ShortText::as_str).collect();
        let expected =
            ["mine", LAST_ERROR, ORIGINAL_EXCHANGE, ORIGINAL_EXPIRATION, ORIGINAL_ROUTING_KEY, ORIGINAL_USER];
        assert_eq!(names, expected);
        assert_eq!(copy.headers.get("mine"), Some(&FieldValue::I8(1)));
        assert_eq!((copy.properties.user_id, copy.properties.expiration), (None, None));
        assert_eq!((copy.properties.priority, copy.body), (Some(3), Bytes::from("body")));
    }

    #[test]
    fn the_retry_count_grows_by_one_and_the_first_address_stays() {
        let own = Properties { user_id: Some(text("own")), ..Properties::default() };
        let mut current = delivery(&[(RETRY_COUNT, FieldValue::U8(4))], own);
        for expected in [5, 6, 7] {
            let message = retry(&current, MessageId::generate(), Some(&"ä".repeat(600)), Some("own"));
            assert_eq!(message.headers.get(RETRY_COUNT), Some(&FieldValue::I64(expected)));
            assert_eq!(message.properties.user_id, Some(text("own")));
            let Some(FieldValue::Text(reason)) = message.headers.get(LAST_ERROR) else { panic!("no reason") };
            assert_eq!(reason.len(), MAX_REASON);
            let received = ReceivedMessage {
                id: None,
                properties: message.properties,
                headers: message.headers,
                body: message.body,
            };
            current = with_first_address(Delivery {
                redelivered: false,
                exchange: ExchangeName::default(),
                routing_key: text("q"),
                message: received,
            });
            assert_eq!((current.exchange.as_str(), current.routing_key.as_str()), ("shop", "orders.new"));
        }
    }

    #[test]
    fn a_negative_or_strange_retry_count_counts_as_none() {
        for value in [FieldValue::I32(-5), FieldValue::from("x"), FieldValue::I64(i64::MAX)] {
            let expected = value.integer().filter(|count| *count > 0).unwrap_or_default().saturating_add(1);
            let message = retry(
                &delivery(&[(RETRY_COUNT, value)], Properties::default()),
                MessageId::generate(),
                None,
                None,
            );
            assert_eq!(message.headers.get(RETRY_COUNT), Some(&FieldValue::I64(expected)));
        }
    }
}
