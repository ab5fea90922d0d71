//! The body of `PUT /exchanges/{name}`. Refuses a plain word that contradicts `arguments`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::field::{FieldTable, FieldValue, HeaderLimits};
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::topology::exchange::{ALTERNATE_EXCHANGE, ExchangeDeclaration};
use crate::domain::topology::set_argument;
use crate::http::codec::Table;
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::reserved_name;

/// The type and the arguments of an exchange.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExchangeDeclaration, example = json!({"type": "topic"}))]
pub(in crate::http) struct ExchangeDeclarationBody {
    /// `direct`, `fanout`, `topic`, `headers`, or the type of a plugin such as `x-delayed-message`.
    #[schema(example = "topic", min_length = 1)]
    r#type: String,
    /// Whether the exchange survives a restart of RabbitMQ; true by default.
    durable: Option<bool>,
    /// Whether RabbitMQ deletes the exchange after its last binding; false by default.
    auto_delete: Option<bool>,
    /// Whether only other exchanges may publish to the exchange; false by default.
    internal: Option<bool>,
    /// `alternate-exchange`: the exchange for messages that this one cannot route.
    alternate_exchange: Option<String>,
    /// Any other arguments. Types that JSON lacks are written `{"$amqp": "int32", "value": 5}`.
    #[serde(default)]
    #[schema(schema_with = schemas::arguments)]
    arguments: Table,
}

impl ExchangeDeclarationBody {
    /// The declaration of the exchange called `name`.
    ///
    /// # Errors
    /// 400 naming the field, 403 `reserved-name`.
    pub(in crate::http) fn into_declaration(
        self,
        name: ExchangeName,
        limits: &HeaderLimits,
    ) -> Result<ExchangeDeclaration, Problem> {
        reserved_name::refuse(name.in_path())?;
        let kind = ShortText::parse(self.r#type).map_err(|error| Problem::malformed("type", error))?;
        if kind.as_str().is_empty() {
            return Err(Problem::malformed(
                "type",
                "must not be empty: use direct, fanout, topic or headers",
            ));
        }
        let mut arguments = self.arguments.0;
        name_default_exchange(&mut arguments);
        if let Some(exchange) = self.alternate_exchange {
            set_alternate(&mut arguments, &exchange)?;
        }
        arguments.check(limits).map_err(|error| Problem::malformed("arguments", error))?;
        let declaration = ExchangeDeclaration {
            name,
            kind,
            durable: self.durable.unwrap_or(true),
            auto_delete: self.auto_delete.unwrap_or(false),
            internal: self.internal.unwrap_or(false),
            arguments,
        };
        let field = format!("arguments.{ALTERNATE_EXCHANGE}");
        declaration.check_alternate().map_err(|wrong| Problem::malformed(&field, wrong))?;
        Ok(declaration)
    }
}

fn set_alternate(arguments: &mut FieldTable, exchange: &str) -> Result<(), Problem> {
    let field = "alternate_exchange";
    let exchange = ExchangeName::from_path(exchange).map_err(|error| Problem::malformed(field, error))?;
    set_argument(arguments, ALTERNATE_EXCHANGE, FieldValue::from(exchange.as_str()))
        .map_err(|error| Problem::malformed(field, error))
}

/// Writes `amq.default` as the empty name, which is AMQP's name of the default exchange.
fn name_default_exchange(arguments: &mut FieldTable) {
    let alias = FieldValue::from(ExchangeName::DEFAULT_IN_PATH);
    if arguments.get(ALTERNATE_EXCHANGE) == Some(&alias) {
        arguments.insert(ShortText::parse(ALTERNATE_EXCHANGE).unwrap_or_default(), FieldValue::from(""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeaderLimits = HeaderLimits { count: 100, bytes: 16384, depth: 8 };

    fn declare(json: &str) -> Result<ExchangeDeclaration, String> {
        let body: ExchangeDeclarationBody = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let name = ExchangeName::from_path("orders").expect("a name");
        body.into_declaration(name, &LIMITS).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn an_exchange_is_durable_and_public_unless_the_body_says_otherwise() {
        let exchange = declare(r#"{"type":"topic"}"#).expect("valid");
        assert!(exchange.durable && !exchange.auto_delete && !exchange.internal);
        assert_eq!(exchange.arguments, FieldTable::default());
    }

    #[test]
    fn an_alternate_exchange_that_contradicts_arguments_is_named() {
        let json = r#"{"type":"topic","alternate_exchange":"a","arguments":{"alternate-exchange":"b"}}"#;
        let detail = declare(json).expect_err("contradiction");
        assert_eq!(detail, "alternate_exchange contradicts arguments.alternate-exchange");
    }

    #[test]
    fn an_alternate_exchange_in_the_arguments_must_be_a_possible_name() {
        for value in [r#""a\nb""#.to_owned(), format!("\"{}\"", "x".repeat(256)), "5".to_owned()] {
            let json = format!(r#"{{"type":"topic","arguments":{{"alternate-exchange":{value}}}}}"#);
            let detail = declare(&json).expect_err(&json);
            assert!(detail.starts_with("arguments.alternate-exchange must be a text"), "{detail}");
        }
    }

    #[test]
    fn amq_default_is_the_default_exchange() {
        for json in [
            r#"{"type":"topic","alternate_exchange":"amq.default"}"#,
            r#"{"type":"topic","arguments":{"alternate-exchange":"amq.default"}}"#,
        ] {
            let exchange = declare(json).expect("valid");
            assert_eq!(exchange.arguments.get(ALTERNATE_EXCHANGE), Some(&FieldValue::from("")), "{json}");
        }
    }

    #[test]
    fn an_exchange_needs_a_type() {
        assert!(declare("{}").is_err());
        assert!(declare(r#"{"type":""}"#).expect_err("empty").starts_with("type must not be empty"));
    }
}
