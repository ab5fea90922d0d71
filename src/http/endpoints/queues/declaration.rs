//! The body of `PUT /queues/{name}`: plain words for the common arguments, checked against `arguments`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::field::{FieldTable, FieldValue, HeaderLimits};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::topology::{Contradiction, DeadLetterPair, QueueDeclaration, arguments, set_argument};
use crate::http::message::{Table, reserved_on_default_exchange, reserved_queue_name};
use crate::http::problem::{Problem, ProblemType};

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";

/// How the queue is to be. Everything may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QueueDeclaration, example = json!({}))]
pub(super) struct QueueDeclarationBody {
    /// `classic`, `quorum` or `stream`; the broker's default if not given.
    r#type: Option<QueueType>,
    /// Survives a restart of the broker; true by default.
    durable: Option<bool>,
    /// Goes with its last consumer; false by default.
    auto_delete: Option<bool>,
    /// `x-message-ttl`: milliseconds that a message may wait.
    message_ttl_ms: Option<u32>,
    /// `x-expires`: milliseconds without use after which the queue goes; from 1.
    expires_ms: Option<u32>,
    /// `x-max-length`: messages.
    max_length: Option<u32>,
    /// `x-max-length-bytes`: bytes of all bodies.
    max_length_bytes: Option<u64>,
    /// `x-overflow`: what happens when the queue is full.
    overflow: Option<Overflow>,
    /// `x-max-priority`: 1 to 255; classic queues only.
    max_priority: Option<u8>,
    /// `x-delivery-limit`: deliveries before a message is given up; quorum queues only.
    delivery_limit: Option<u32>,
    /// `x-single-active-consumer`
    single_active_consumer: Option<bool>,
    /// Where messages go that the queue gives up: `true` makes `<name>.dlx` and `<name>.dlq`.
    dead_letter: Option<DeadLetter>,
    /// Any other arguments. Types that JSON lacks are written `{"$amqp": "int32", "value": 5}`.
    #[serde(default)]
    #[schema(value_type = Object)]
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

/// What a full queue does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Overflow {
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

/// Where messages go that the queue gives up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "must be true, false or an object with exchange, routing_key and queue")]
enum DeadLetter {
    /// True: `<name>.dlx` and `<name>.dlq`.
    Default(bool),
    /// In detail.
    Detailed(DeadLetterDetail),
}

/// Dead lettering in detail.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeadLetterDetail {
    /// Exchange that takes them; made as a durable fanout when `queue` is given, `<name>.dlx` by default.
    exchange: Option<String>,
    /// Their routing key; the message's own if not given.
    routing_key: Option<String>,
    /// Queue to make behind the exchange.
    queue: Option<String>,
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
        let number = |value: Option<u32>| value.map(|n| FieldValue::I64(n.into()));
        let length = self.max_length_bytes.map(i64::try_from).transpose();
        let length = length.map_err(|_| Problem::malformed("max_length_bytes", "is too large"))?;
        let words = [
            ("type", "x-queue-type", self.r#type.map(|kind| FieldValue::from(kind.name()))),
            ("message_ttl_ms", "x-message-ttl", number(self.message_ttl_ms)),
            ("expires_ms", "x-expires", number(self.expires_ms)),
            ("max_length", "x-max-length", number(self.max_length)),
            ("max_length_bytes", "x-max-length-bytes", length.map(FieldValue::I64)),
            ("overflow", "x-overflow", self.overflow.map(|full| FieldValue::from(full.name()))),
            ("max_priority", "x-max-priority", number(self.max_priority.map(Into::into))),
            ("delivery_limit", "x-delivery-limit", number(self.delivery_limit)),
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
        let wrong = |error: Contradiction| Problem::malformed("dead_letter", error);
        let exchange = match (detail.exchange, &detail.queue) {
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
            queue: QueueName::parse(&queue)
                .map_err(|error| Problem::malformed("dead_letter.queue", error))?,
            arguments: pair_arguments,
        }))
    }
}

/// RabbitMQ closes the connection of all operations over some wrong values.
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

fn refuse_reserved(name: &str) -> Result<(), Problem> {
    if reserved_queue_name(name) {
        let detail = format!("\"{name}\" begins with \"amq.\", which RabbitMQ keeps for itself");
        return Err(Problem::new(ProblemType::ReservedName, detail));
    }
    Ok(())
}

/// A queue whose dead letters go through the default exchange is a way to publish to any queue.
fn refuse_reserved_dead_letters(arguments: &FieldTable) -> Result<(), Problem> {
    let empty = FieldValue::from("");
    let Some(FieldValue::Text(key)) = arguments.get(DEAD_LETTER_KEY) else { return Ok(()) };
    let key = String::from_utf8_lossy(key);
    if arguments.get(DEAD_LETTER_EXCHANGE) == Some(&empty) && reserved_on_default_exchange(&key) {
        let detail = format!("dead letters cannot go to the reserved queue \"{key}\"");
        return Err(Problem::new(ProblemType::ReservedName, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn dead_letters_cannot_be_a_way_to_somebodys_reply_queue() {
        let arguments =
            r#"{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"amq.gen-x"}}"#;
        assert!(declare(arguments).expect_err("reserved").contains("reserved"));
    }

    #[test]
    fn an_unknown_word_is_refused() {
        assert!(declare(r#"{"ttl":5}"#).is_err());
    }
}
