//! The body of `PUT /queues/{name}`: plain words for the common arguments. Refuses a plain word that contradicts `arguments`.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::domain::field::{FieldTable, FieldValue, HeaderLimits};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::reserved;
use crate::domain::topology::{Contradiction, DeadLetterPair, QueueDeclaration, arguments, set_argument};
use crate::http::codec::Table;
use crate::http::openapi::schemas;
use crate::http::problem::{Problem, ProblemType};
use crate::http::quote::quoted;
use crate::http::request::{whole, word};

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";

/// The arguments of a queue. Every member is optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QueueDeclaration, example = json!({}))]
pub(super) struct QueueDeclarationBody {
    /// `classic`, `quorum` or `stream`; RabbitMQ's default if not given.
    #[serde(default, deserialize_with = "word")]
    r#type: Option<QueueType>,
    /// Whether the queue survives a restart of RabbitMQ; true by default.
    durable: Option<bool>,
    /// Whether RabbitMQ deletes the queue after its last consumer; false by default.
    auto_delete: Option<bool>,
    /// `x-message-ttl`: milliseconds that a message may wait; 0: RabbitMQ delivers it at once or drops it.
    #[schema(maximum = 315_360_000_000_u64)]
    #[serde(default, deserialize_with = "whole")]
    message_ttl_ms: Option<u64>,
    /// `x-expires`: milliseconds without use after which RabbitMQ deletes the queue.
    #[schema(minimum = 1, maximum = 315_360_000_000_u64)]
    #[serde(default, deserialize_with = "whole")]
    expires_ms: Option<u64>,
    /// `x-max-length`: number of messages.
    #[schema(maximum = 9_223_372_036_854_775_807_u64)]
    #[serde(default, deserialize_with = "whole")]
    max_length: Option<u64>,
    /// `x-max-length-bytes`: bytes of all bodies together.
    #[schema(maximum = 9_223_372_036_854_775_807_u64)]
    #[serde(default, deserialize_with = "whole")]
    max_length_bytes: Option<u64>,
    /// `x-overflow`: behaviour of a full queue.
    #[serde(default, deserialize_with = "word")]
    overflow: Option<Overflow>,
    /// `x-max-priority`: 0 to 255; classic queues only.
    #[schema(maximum = 255)]
    #[serde(default, deserialize_with = "whole")]
    max_priority: Option<u8>,
    /// `x-delivery-limit`: number of deliveries after which RabbitMQ drops or dead-letters a message; quorum queues only.
    /// RabbitMQ 4 takes -1 for no limit.
    #[serde(default, deserialize_with = "whole")]
    delivery_limit: Option<i64>,
    /// `x-single-active-consumer`
    single_active_consumer: Option<bool>,
    /// Destination of dead letters: `true` makes the exchange `<name>.dlx` and the queue `<name>.dlq`.
    #[serde(default, deserialize_with = "dead_letter")]
    dead_letter: Option<DeadLetter>,
    /// Any other arguments. Types that JSON lacks are written `{"$amqp": "int32", "value": 5}`.
    #[serde(default)]
    #[schema(schema_with = schemas::arguments)]
    arguments: Table,
}

/// Type of a queue.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum QueueType {
    Classic,
    Quorum,
    Stream,
}

/// Behaviour of a full queue.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Overflow {
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

/// Destination of dead letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum DeadLetter {
    /// `true`: the exchange `<name>.dlx` and the queue `<name>.dlq`.
    Default(bool),
    /// Names of an exchange, a routing key and a queue.
    Detailed(DeadLetterDetail),
}

/// Dead lettering in detail.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeadLetterDetail {
    /// Exchange for dead letters. If `queue` is given, the gateway makes a durable fanout exchange, `<name>.dlx` by default.
    exchange: Option<String>,
    /// Routing key of dead letters; the message's own if not given.
    routing_key: Option<String>,
    /// Queue that the gateway makes and binds to the exchange.
    queue: Option<String>,
}

/// Reads each form by its own reader, so that an error in the object names the member.
fn dead_letter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeadLetter>, D::Error> {
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

impl QueueType {
    fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

impl Overflow {
    fn name(self) -> &'static str {
        match self {
            Self::DropHead => "drop-head",
            Self::RejectPublish => "reject-publish",
            Self::RejectPublishDlx => "reject-publish-dlx",
        }
    }
}

impl QueueDeclarationBody {
    /// The declaration of the queue called `name`.
    ///
    /// # Errors
    /// 400 naming the field, 403 `reserved-name`.
    pub(super) fn into_declaration(
        mut self,
        name: QueueName,
        limits: &HeaderLimits,
    ) -> Result<QueueDeclaration, Problem> {
        refuse_reserved(name.as_str())?;
        let mut arguments = std::mem::take(&mut self.arguments.0);
        check_values(&arguments)?;
        name_default_exchange(&mut arguments);
        self.plain_words(&mut arguments)?;
        let dead_letter_pair = match self.dead_letter.take() {
            None | Some(DeadLetter::Default(false)) => None,
            Some(DeadLetter::Default(true)) => {
                let queue = Some(format!("{name}.dlq"));
                Self::dead_letter(&name, DeadLetterDetail { queue, ..Default::default() }, &mut arguments)?
            }
            Some(DeadLetter::Detailed(detail)) => Self::dead_letter(&name, detail, &mut arguments)?,
        };
        arguments.check(limits).map_err(|error| Problem::malformed("arguments", error))?;
        refuse_reserved_dead_letters(&arguments)?;
        Ok(QueueDeclaration {
            has_unknown_arguments: !arguments::are_known(&arguments),
            name,
            durable: self.durable.unwrap_or(true),
            auto_delete: self.auto_delete.unwrap_or(false),
            arguments,
            dead_letter_pair,
        })
    }

    fn plain_words(&self, arguments: &mut FieldTable) -> Result<(), Problem> {
        let number = |word, value: Option<u64>| {
            let value = value.map(i64::try_from).transpose();
            value.map(|n| n.map(FieldValue::I64)).map_err(|_| Problem::malformed(word, "is too large"))
        };
        let words = [
            ("type", "x-queue-type", self.r#type.map(|kind| FieldValue::from(kind.name()))),
            ("message_ttl_ms", "x-message-ttl", number("message_ttl_ms", self.message_ttl_ms)?),
            ("expires_ms", "x-expires", number("expires_ms", self.expires_ms)?),
            ("max_length", "x-max-length", number("max_length", self.max_length)?),
            ("max_length_bytes", "x-max-length-bytes", number("max_length_bytes", self.max_length_bytes)?),
            ("overflow", "x-overflow", self.overflow.map(|full| FieldValue::from(full.name()))),
            ("max_priority", "x-max-priority", number("max_priority", self.max_priority.map(Into::into))?),
            ("delivery_limit", "x-delivery-limit", self.delivery_limit.map(FieldValue::I64)),
            (
                "single_active_consumer",
                "x-single-active-consumer",
                self.single_active_consumer.map(FieldValue::Bool),
            ),
        ];
        for (word, argument, value) in words {
            if let Some(value) = value {
                arguments::check(argument, &value).map_err(|wrong| Problem::malformed(word, wrong))?;
                set_argument(arguments, argument, value).map_err(|error| Problem::malformed(word, error))?;
            }
        }
        Ok(())
    }

    fn dead_letter(
        name: &QueueName,
        detail: DeadLetterDetail,
        arguments: &mut FieldTable,
    ) -> Result<Option<DeadLetterPair>, Problem> {
        if arguments.get("x-queue-type") == Some(&FieldValue::from(QueueType::Stream.name())) {
            return Err(Problem::malformed("dead_letter", "is not for streams, which give up no messages"));
        }
        let wrong = |error: Contradiction| Problem::malformed("dead_letter", error);
        let exchange = match (detail.exchange, &detail.queue) {
            (Some(exchange), None) if exchange == ExchangeName::DEFAULT_IN_PATH => String::new(),
            (Some(exchange), _) => exchange,
            (None, Some(_)) => format!("{name}.dlx"),
            (None, None) => return Err(Problem::malformed("dead_letter", "needs an exchange or a queue")),
        };
        set_argument(arguments, DEAD_LETTER_EXCHANGE, FieldValue::from(exchange.as_str())).map_err(wrong)?;
        if let Some(key) = &detail.routing_key {
            short("dead_letter.routing_key", key)?;
            set_argument(arguments, DEAD_LETTER_KEY, FieldValue::from(key.as_str())).map_err(wrong)?;
        }
        let Some(queue) = detail.queue else {
            return short("dead_letter.exchange", &exchange).map(|_| None);
        };
        refuse_reserved(&queue)?;
        refuse_reserved(&exchange)?;
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
fn name_default_exchange(arguments: &mut FieldTable) {
    let alias = FieldValue::from(ExchangeName::DEFAULT_IN_PATH);
    if arguments.get(DEAD_LETTER_EXCHANGE) == Some(&alias) {
        arguments.insert(ShortText::parse(DEAD_LETTER_EXCHANGE).unwrap_or_default(), FieldValue::from(""));
    }
}

/// Refuses some wrong values over which RabbitMQ would close the connection of all operations.
fn check_values(given: &FieldTable) -> Result<(), Problem> {
    for (name, value) in &given.0 {
        arguments::check(name.as_str(), value)
            .map_err(|wrong| Problem::malformed(&format!("arguments.{name}"), wrong))?;
    }
    Ok(())
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

fn refuse_reserved(name: &str) -> Result<(), Problem> {
    if reserved::is_reserved(name) {
        let detail = format!(
            "{} begins with \"amq.\", which is reserved for RabbitMQ: choose another name",
            quoted(name)
        );
        return Err(Problem::new(ProblemType::ReservedName, detail));
    }
    Ok(())
}

/// Refuses reserved queues: by dead letters through the default exchange a caller could publish to any queue.
fn refuse_reserved_dead_letters(arguments: &FieldTable) -> Result<(), Problem> {
    let empty = FieldValue::from("");
    let Some(FieldValue::Text(key)) = arguments.get(DEAD_LETTER_KEY) else { return Ok(()) };
    let key = String::from_utf8_lossy(key);
    if arguments.get(DEAD_LETTER_EXCHANGE) == Some(&empty) && reserved::is_internal_queue(&key) {
        let detail =
            format!("dead letters cannot go to the reserved queue {}: name another one", quoted(&key));
        return Err(Problem::new(ProblemType::ReservedName, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    const LIMITS: HeaderLimits = HeaderLimits { count: 100, bytes: 16384, depth: 8 };

    fn declare(json: &str) -> Result<QueueDeclaration, String> {
        let body: QueueDeclarationBody = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let name = QueueName::parse("orders").expect("a name");
        body.into_declaration(name, &LIMITS).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn without_words_a_queue_is_durable_and_has_no_arguments() {
        let queue = declare("{}").expect("valid");
        assert!(queue.durable && !queue.auto_delete && queue.arguments == FieldTable::default());
    }

    #[test]
    fn a_plain_word_that_contradicts_arguments_is_named() {
        let error = declare(r#"{"max_length":5,"arguments":{"x-max-length":6}}"#).expect_err("contradiction");
        assert_eq!(error, "max_length contradicts arguments.x-max-length");
    }

    #[test]
    fn dead_letter_true_makes_a_pair_of_the_same_type() {
        let queue = declare(r#"{"type":"quorum","dead_letter":true}"#).expect("valid");
        let pair = queue.dead_letter_pair.expect("a pair");
        assert_eq!((pair.exchange.as_str(), pair.queue.as_str()), ("orders.dlx", "orders.dlq"));
        assert_eq!(pair.arguments.get("x-queue-type"), Some(&FieldValue::from("quorum")));
        assert_eq!(queue.arguments.get(DEAD_LETTER_EXCHANGE), Some(&FieldValue::from("orders.dlx")));
    }

    #[test]
    fn dead_letters_for_a_reply_queue_are_refused() {
        let arguments =
            r#"{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"amq.gen-x"}}"#;
        assert!(declare(arguments).expect_err("reserved").contains("reserved"));
    }

    #[test]
    fn dead_letters_for_amq_default_go_to_the_default_exchange() {
        for json in [
            r#"{"dead_letter":{"exchange":"amq.default","routing_key":"dead"}}"#,
            r#"{"arguments":{"x-dead-letter-exchange":"amq.default","x-dead-letter-routing-key":"dead"}}"#,
        ] {
            let queue = declare(json).expect("valid");
            assert_eq!(queue.arguments.get(DEAD_LETTER_EXCHANGE), Some(&FieldValue::from("")), "{json}");
            let reserved = json.replace("dead\"", "amq.gen-x\"");
            assert!(declare(&reserved).expect_err("reserved").contains("reserved"), "{reserved}");
        }
    }

    #[test]
    fn numbers_have_the_width_of_rabbitmq() {
        for json in [
            r#"{"message_ttl_ms":315360000000,"expires_ms":315360000000}"#,
            r#"{"message_ttl_ms":0,"expires_ms":1}"#,
            r#"{"max_length":4294967296,"max_length_bytes":4294967296,"delivery_limit":-1}"#,
            r#"{"max_length":5.0,"expires_ms":1e3,"max_priority":10.0,"delivery_limit":-1.0}"#,
        ] {
            assert!(declare(json).is_ok(), "{json}");
        }
        for (json, field) in [
            (r#"{"message_ttl_ms":315360000001}"#, "message_ttl_ms"),
            (r#"{"expires_ms":0}"#, "expires_ms"),
            (r#"{"expires_ms":18446744073709551615}"#, "expires_ms"),
        ] {
            assert!(declare(json).expect_err(json).starts_with(field), "{json}");
        }
    }

    #[test]
    fn an_unknown_word_is_refused() {
        for (document, field) in
            [(r#"{"ttl":5}"#, "ttl"), (r#"{"dead_letter":{"exchage":"x"}}"#, "dead_letter.exchage")]
        {
            let problem = request::json::<QueueDeclarationBody>(document.as_bytes()).expect_err(document);
            assert!(
                problem.detail().starts_with(&format!("{field} is not a known member")),
                "{}",
                problem.detail()
            );
        }
    }
}
