//! Refuses properties and arguments that a queue of the given type cannot have. RabbitMQ would refuse them too, but in a topology
//! document only after other objects were made.
//!
//! Without a given type the virtual host decides the type, so these rules do not apply.

use super::QueueDeclarationBody;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::topology::arguments::{QUEUE_TYPE, REJECT_PUBLISH_DLX, check_type};
use crate::http::problem::Problem;

impl QueueDeclarationBody {
    /// Checks the declaration with these arguments. `given` are the arguments that the caller wrote as such; the others come from
    /// plain words.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(super) fn check_by_type(&self, given: &FieldTable, arguments: &FieldTable) -> Result<(), Problem> {
        let Some(kind) = arguments.get(QUEUE_TYPE) else { return Ok(()) };
        for name in arguments.0.keys() {
            check_type(kind, name.as_str())
                .map_err(|wrong| Problem::malformed(&field(given, name.as_str()), wrong))?;
        }
        let is = |name: &str| *kind == FieldValue::from(name);
        if is("quorum") && arguments.get("x-overflow") == Some(&FieldValue::from(REJECT_PUBLISH_DLX)) {
            let why = "must not be reject-publish-dlx for a quorum queue, which would drop its oldest messages: use reject-publish";
            return Err(Problem::malformed(&field(given, "x-overflow"), why));
        }
        if !is("quorum") && !is("stream") {
            return Ok(());
        }
        if self.durable == Some(false) {
            return Err(Problem::malformed("durable", "must be true for quorum queues and streams"));
        }
        if self.auto_delete == Some(true) {
            return Err(Problem::malformed("auto_delete", "must be false for quorum queues and streams"));
        }
        Ok(())
    }
}

/// The field in which the caller wrote an argument.
fn field(given: &FieldTable, argument: &str) -> String {
    if given.get(argument).is_some() {
        return format!("arguments.{argument}");
    }
    let word = match argument {
        "x-message-ttl" => "message_ttl_ms",
        "x-expires" => "expires_ms",
        _ if argument.starts_with("x-dead-letter") => "dead_letter",
        _ => return argument.trim_start_matches("x-").replace('-', "_"),
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::QueueDeclarationBody;
    use crate::domain::field::HeaderLimits;
    use crate::domain::names::QueueName;

    const LIMITS: HeaderLimits = HeaderLimits { count: 100, bytes: 16384, depth: 8 };

    fn detail_of(json: &str) -> String {
        let body: QueueDeclarationBody = serde_json::from_str(json).expect(json);
        let name = QueueName::parse("orders").expect("a name");
        body.into_declaration(name, &LIMITS).err().map(|it| it.detail().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_property_that_the_type_cannot_have_is_named_as_the_caller_wrote_it() {
        for (json, begin) in [
            (r#"{"type":"quorum","durable":false}"#, "durable must be true"),
            (r#"{"type":"stream","auto_delete":true}"#, "auto_delete must be false"),
            (
                r#"{"type":"stream","message_ttl_ms":5}"#,
                "message_ttl_ms is not for a queue of the type stream",
            ),
            (r#"{"type":"stream","max_length":5}"#, "max_length is not for a queue of the type stream"),
            (r#"{"type":"stream","overflow":"drop-head"}"#, "overflow is not for"),
            (r#"{"type":"stream","single_active_consumer":true}"#, "single_active_consumer is not for"),
            (
                r#"{"type":"classic","delivery_limit":5}"#,
                "delivery_limit is not for a queue of the type classic",
            ),
            (r#"{"type":"classic","arguments":{"x-max-age":"7D"}}"#, "arguments.x-max-age is not for"),
            (r#"{"type":"stream","arguments":{"x-max-length":5}}"#, "arguments.x-max-length is not for"),
            (
                r#"{"arguments":{"x-queue-type":"quorum","x-queue-mode":"lazy"}}"#,
                "arguments.x-queue-mode is not for",
            ),
            (
                r#"{"type":"quorum","overflow":"reject-publish-dlx"}"#,
                "overflow must not be reject-publish-dlx",
            ),
        ] {
            let detail = detail_of(json);
            assert!(detail.starts_with(begin), "{json}: {detail}");
        }
    }

    #[test]
    fn properties_that_fit_the_type_or_an_unknown_type_pass() {
        for json in [
            r#"{"durable":false,"auto_delete":true,"delivery_limit":5}"#,
            r#"{"type":"classic","durable":false,"auto_delete":true,"overflow":"reject-publish-dlx"}"#,
            r#"{"type":"quorum","delivery_limit":5,"message_ttl_ms":5,"dead_letter":true}"#,
            r#"{"type":"stream","max_length_bytes":5,"arguments":{"x-max-age":"7D"}}"#,
            r#"{"arguments":{"x-queue-type":"x-plugin","x-max-age":"7D"},"durable":false}"#,
        ] {
            assert_eq!(detail_of(json), "", "{json}");
        }
    }
}
