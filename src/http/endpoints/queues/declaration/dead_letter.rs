//! The dead letters of a queue declaration: `true` for the usual pair of exchange and queue, or names.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::queue_type::QueueType;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::topology::arguments::{DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY};
use crate::domain::topology::{Contradiction, DeadLetterPair, set_argument};
use crate::http::problem::Problem;
use crate::http::reserved_name;

/// Destination of dead letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum DeadLetter {
    /// `true`: the exchange `<name>.dlx` and the queue `<name>.dlq`.
    Default(bool),
    /// Names of an exchange, a routing key and a queue.
    Detailed(DeadLetterDetail),
}

/// Dead lettering in detail.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetterDetail {
    /// Exchange for dead letters. If `queue` is given, the gateway makes a durable fanout exchange, `<name>.dlx` by default.
    exchange: Option<String>,
    /// Routing key of dead letters; the message's own if not given.
    routing_key: Option<String>,
    /// Queue that the gateway makes and binds to the exchange.
    queue: Option<String>,
}

/// Reads each form by its own reader, so that an error in the object names the member.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeadLetter>, D::Error> {
    struct DeadLetterVisitor;
    impl<'de> Visitor<'de> for DeadLetterVisitor {
        type Value = Option<DeadLetter>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false or an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_bool<E>(self, default: bool) -> Result<Self::Value, E> {
            Ok(Some(DeadLetter::Default(default)))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            DeadLetterDetail::deserialize(MapAccessDeserializer::new(map))
                .map(|detail| Some(DeadLetter::Detailed(detail)))
        }
    }
    deserializer.deserialize_any(DeadLetterVisitor)
}

impl DeadLetter {
    /// The names that it stands for; `None` for `false`.
    pub(super) fn detail(self, queue: &QueueName) -> Option<DeadLetterDetail> {
        match self {
            Self::Default(false) => None,
            Self::Default(true) => {
                Some(DeadLetterDetail { queue: Some(format!("{queue}.dlq")), ..DeadLetterDetail::default() })
            }
            Self::Detailed(detail) => Some(detail),
        }
    }
}

impl DeadLetterDetail {
    /// Adds the arguments for dead letters, and returns the exchange and the queue that the gateway makes for them.
    ///
    /// # Errors
    /// 400 naming the field, 403 `reserved-name`.
    pub(super) fn apply(
        self,
        name: &QueueName,
        arguments: &mut FieldTable,
    ) -> Result<Option<DeadLetterPair>, Problem> {
        if arguments.get("x-queue-type") == Some(&FieldValue::from(QueueType::Stream.name())) {
            return Err(Problem::malformed("dead_letter", "is not for streams, which give up no messages"));
        }
        let wrong = |error: Contradiction| Problem::malformed("dead_letter", error);
        let exchange = match (self.exchange, &self.queue) {
            (Some(exchange), None) if exchange == ExchangeName::DEFAULT_IN_PATH => String::new(),
            (Some(exchange), _) => exchange,
            (None, Some(_)) => format!("{name}.dlx"),
            (None, None) => return Err(Problem::malformed("dead_letter", "needs an exchange or a queue")),
        };
        set_argument(arguments, DEAD_LETTER_EXCHANGE, FieldValue::from(exchange.as_str())).map_err(wrong)?;
        if let Some(key) = &self.routing_key {
            short("dead_letter.routing_key", key)?;
            set_argument(arguments, DEAD_LETTER_KEY, FieldValue::from(key.as_str())).map_err(wrong)?;
        }
        let Some(queue) = self.queue else {
            return short("dead_letter.exchange", &exchange).map(|_| None);
        };
        reserved_name::refuse(&queue)?;
        reserved_name::refuse(&exchange)?;
        let mut pair_arguments = FieldTable::default();
        if let Some(kind) = arguments.get("x-queue-type").cloned() {
            set_argument(&mut pair_arguments, "x-queue-type", kind).map_err(wrong)?;
        }
        Ok(Some(DeadLetterPair {
            exchange: ExchangeName::from_path(&exchange)
                .map_err(|error| Problem::malformed("dead_letter.exchange", error))?,
            queue: other_queue(name, &queue)?,
            arguments: pair_arguments,
        }))
    }
}

/// Writes `amq.default` as the empty name, which is AMQP's name of the default exchange: RabbitMQ would drop dead letters for an
/// exchange that does not exist.
pub(super) fn name_default_exchange(arguments: &mut FieldTable) {
    let alias = FieldValue::from(ExchangeName::DEFAULT_IN_PATH);
    if arguments.get(DEAD_LETTER_EXCHANGE) == Some(&alias) {
        arguments.insert(ShortText::parse(DEAD_LETTER_EXCHANGE).unwrap_or_default(), FieldValue::from(""));
    }
}

fn short(field: &str, text: &str) -> Result<ShortText, Problem> {
    ShortText::parse(text).map_err(|error| Problem::malformed(field, error))
}

/// The dead-letter queue, which is another one than the queue itself.
fn other_queue(name: &QueueName, queue: &str) -> Result<QueueName, Problem> {
    let wrong = |what: &str| Problem::malformed("dead_letter.queue", what);
    let queue = QueueName::parse(queue).map_err(|error| wrong(&error.to_string()))?;
    if queue == *name { Err(wrong("is the queue itself: name another queue")) } else { Ok(queue) }
}

/// Refuses a routing key for dead letters without an exchange, as RabbitMQ does.
pub(super) fn refuse_key_without_exchange(arguments: &FieldTable) -> Result<(), Problem> {
    if arguments.get(DEAD_LETTER_KEY).is_some() && arguments.get(DEAD_LETTER_EXCHANGE).is_none() {
        let why = format!("needs {DEAD_LETTER_EXCHANGE} too; amq.default is the default exchange");
        return Err(Problem::malformed(&format!("arguments.{DEAD_LETTER_KEY}"), why));
    }
    Ok(())
}

/// Refuses reserved queues: by dead letters through the default exchange a caller could publish to any queue.
pub(super) fn refuse_reserved_dead_letters(arguments: &FieldTable) -> Result<(), Problem> {
    let Some(FieldValue::Text(key)) = arguments.get(DEAD_LETTER_KEY) else { return Ok(()) };
    if arguments.get(DEAD_LETTER_EXCHANGE) != Some(&FieldValue::from("")) {
        return Ok(());
    }
    reserved_name::refuse_dead_letters_to(&String::from_utf8_lossy(key))
}
