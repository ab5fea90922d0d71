//! The body of `PUT /queues/{name}`: plain words for the common arguments. Refuses a plain word that contradicts `arguments`.

mod by_type;
mod dead_letter;
mod queue_type;

use serde::Deserialize;
use utoipa::ToSchema;

use self::dead_letter::{
    DeadLetter, name_default_exchange, refuse_key_without_exchange, refuse_reserved_dead_letters,
};
use self::queue_type::QueueType;
use crate::domain::field::{FieldTable, FieldValue, HeaderLimits};
use crate::domain::names::QueueName;
use crate::domain::topology::{QueueDeclaration, arguments, set_argument};
use crate::http::codec::Table;
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::request::{whole, word};
use crate::http::reserved_name;

/// The arguments of a queue. Every member is optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QueueDeclaration, example = json!({}))]
pub(in crate::http) struct QueueDeclarationBody {
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
    /// `x-expires`: milliseconds without use after which RabbitMQ deletes the queue, also if it never had a consumer.
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
    /// `x-delivery-limit`: number of returns beyond which RabbitMQ drops or dead-letters a message; quorum queues only.
    /// RabbitMQ 4 takes -1 for no limit.
    #[serde(default, deserialize_with = "whole")]
    delivery_limit: Option<i64>,
    /// `x-single-active-consumer`
    single_active_consumer: Option<bool>,
    /// Destination of dead letters: `true` makes the exchange `<name>.dlx` and the queue `<name>.dlq`.
    #[serde(default, deserialize_with = "dead_letter::read")]
    dead_letter: Option<DeadLetter>,
    /// Any other arguments. Types that JSON lacks are written `{"$amqp": "int32", "value": 5}`.
    #[serde(default)]
    #[schema(schema_with = schemas::arguments)]
    arguments: Table,
}

/// Behaviour of a full queue.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Overflow {
    DropHead,
    RejectPublish,
    RejectPublishDlx,
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
    pub(in crate::http) fn into_declaration(
        mut self,
        name: QueueName,
        limits: &HeaderLimits,
    ) -> Result<QueueDeclaration, Problem> {
        reserved_name::refuse(name.as_str())?;
        let mut arguments = std::mem::take(&mut self.arguments.0);
        check_values(&arguments)?;
        let given = arguments.clone();
        name_default_exchange(&mut arguments);
        self.plain_words(&mut arguments)?;
        let dead_letter_pair = match self.dead_letter.take().and_then(|given| given.detail(&name)) {
            Some(detail) => detail.apply(&name, &mut arguments)?,
            None => None,
        };
        arguments.check(limits).map_err(|error| Problem::malformed("arguments", error))?;
        self.check_by_type(&given, &arguments)?;
        refuse_key_without_exchange(&arguments)?;
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
}

/// Refuses some wrong values over which RabbitMQ would close the connection of all operations.
fn check_values(given: &FieldTable) -> Result<(), Problem> {
    for (name, value) in &given.0 {
        arguments::check(name.as_str(), value)
            .map_err(|wrong| Problem::malformed(&format!("arguments.{name}"), wrong))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::topology::arguments::DEAD_LETTER_EXCHANGE;
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
    fn dead_letters_with_an_impossible_exchange_or_routing_key_are_refused() {
        let long = "x".repeat(256);
        for (exchange, key) in [("a\\nb", "k"), (&*long, "k"), ("e", "a\\nb"), ("e", &*long)] {
            let arguments = format!(
                r#"{{"arguments":{{"x-dead-letter-exchange":"{exchange}","x-dead-letter-routing-key":"{key}"}}}}"#
            );
            let detail = declare(&arguments).expect_err(&arguments);
            assert!(detail.starts_with("arguments.x-dead-letter-"), "{detail}");
        }
        let without = declare(r#"{"arguments":{"x-dead-letter-routing-key":"k"}}"#).expect_err("no exchange");
        assert!(without.starts_with("arguments.x-dead-letter-routing-key needs x-dead-letter-exchange"));
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
