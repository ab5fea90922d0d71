//! The closed list of problem types: name, status and title of each, and the time after which a retry makes sense.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::openapi::schemas;

/// A kind of problem; `/problems/<name>` explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table below describes each")]
pub enum ProblemType {
    MalformedRequest,
    Forbidden,
    CrossOrigin,
    ReservedName,
    NotFound,
    ExchangeNotFound,
    QueueNotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    PreconditionFailed,
    ResourceInUse,
    ResourceLocked,
    NotSupported,
    PayloadTooLarge,
    UnsupportedMediaType,
    ExpectationFailed,
    Unroutable,
    HeadersTooLarge,
    Internal,
    TransferCodingNotSupported,
    ReplyChannelLost,
    BrokerUnavailable,
    BrokerBlocked,
    BrokerRefused,
    Rejected,
    NoConsumers,
    Overloaded,
    ShuttingDown,
    OutcomeUnknown,
    RpcTimeout,
}

impl ProblemType {
    /// Every kind, in the order of their statuses.
    pub const ALL: [Self; 31] = [
        Self::MalformedRequest,
        Self::Forbidden,
        Self::CrossOrigin,
        Self::ReservedName,
        Self::NotFound,
        Self::ExchangeNotFound,
        Self::QueueNotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::PreconditionFailed,
        Self::ResourceInUse,
        Self::ResourceLocked,
        Self::NotSupported,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::ExpectationFailed,
        Self::Unroutable,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::TransferCodingNotSupported,
        Self::ReplyChannelLost,
        Self::BrokerUnavailable,
        Self::BrokerBlocked,
        Self::BrokerRefused,
        Self::Rejected,
        Self::NoConsumers,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::OutcomeUnknown,
        Self::RpcTimeout,
    ];

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedRequest => ("malformed-request", S::BAD_REQUEST, "Malformed request"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "Forbidden"),
            Self::CrossOrigin => ("cross-origin", S::FORBIDDEN, "Cross-origin request"),
            Self::ReservedName => ("reserved-name", S::FORBIDDEN, "Reserved name"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "Not found"),
            Self::ExchangeNotFound => ("exchange-not-found", S::NOT_FOUND, "Exchange not found"),
            Self::QueueNotFound => ("queue-not-found", S::NOT_FOUND, "Queue not found"),
            Self::MethodNotAllowed => ("method-not-allowed", S::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::NotAcceptable => ("not-acceptable", S::NOT_ACCEPTABLE, "Not acceptable"),
            Self::RequestTimeout => ("request-timeout", S::REQUEST_TIMEOUT, "Request timeout"),
            Self::PreconditionFailed => ("precondition-failed", S::CONFLICT, "Exists with other properties"),
            Self::ResourceInUse => ("resource-in-use", S::CONFLICT, "Resource in use"),
            Self::ResourceLocked => ("resource-locked", S::CONFLICT, "Resource locked"),
            Self::NotSupported => ("not-supported", S::CONFLICT, "Not supported by this type of queue"),
            Self::PayloadTooLarge => ("payload-too-large", S::PAYLOAD_TOO_LARGE, "Payload too large"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Self::ExpectationFailed => ("expectation-failed", S::EXPECTATION_FAILED, "Expectation failed"),
            Self::Unroutable => ("unroutable", S::UNPROCESSABLE_ENTITY, "No queue took the message"),
            Self::HeadersTooLarge => {
                ("headers-too-large", S::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers too large")
            }
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "Internal error"),
            Self::TransferCodingNotSupported => {
                ("transfer-coding-not-supported", S::NOT_IMPLEMENTED, "Transfer coding not supported")
            }
            Self::ReplyChannelLost => ("reply-channel-lost", S::BAD_GATEWAY, "Reply channel lost"),
            Self::BrokerUnavailable => ("broker-unavailable", S::SERVICE_UNAVAILABLE, "RabbitMQ unavailable"),
            Self::BrokerBlocked => ("broker-blocked", S::SERVICE_UNAVAILABLE, "RabbitMQ blocks publishers"),
            Self::BrokerRefused => ("broker-refused", S::SERVICE_UNAVAILABLE, "RabbitMQ refuses the gateway"),
            Self::Rejected => ("rejected", S::SERVICE_UNAVAILABLE, "A queue refused the message"),
            Self::NoConsumers => ("no-consumers", S::SERVICE_UNAVAILABLE, "The queue has no consumer"),
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "Overloaded"),
            Self::ShuttingDown => ("shutting-down", S::SERVICE_UNAVAILABLE, "Shutting down"),
            Self::OutcomeUnknown => ("outcome-unknown", S::GATEWAY_TIMEOUT, "Outcome unknown"),
            Self::RpcTimeout => ("rpc-timeout", S::GATEWAY_TIMEOUT, "No reply in time"),
        }
    }

    /// Its name, which is the last segment of its URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Its URI: the path of the page that explains it.
    #[must_use]
    pub fn path(self) -> String {
        format!("/problems/{}", self.name())
    }

    /// Its HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// Its title: the kind in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// Seconds after which a retry makes sense. Every 429 and 503 has them.
    #[must_use]
    pub const fn retry_after(self) -> Option<u16> {
        match self {
            Self::BrokerRefused => Some(30),
            Self::BrokerBlocked | Self::ShuttingDown => Some(5),
            Self::BrokerUnavailable | Self::Rejected | Self::NoConsumers | Self::Overloaded => Some(1),
            _ => None,
        }
    }

    /// The most general kind with this status.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.status() == status)
    }
}

impl Serialize for ProblemType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.path())
    }
}

impl PartialSchema for ProblemType {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The kind of a problem: the path of the page that explains it."))
            .enum_values(Some(Self::ALL.map(Self::path)))
            .extensions(Some(schemas::names_of_values(Self::ALL.map(Self::name))))
            .into()
    }
}

impl ToSchema for ProblemType {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_503_says_when_to_try_again() {
        for kind in ProblemType::ALL {
            assert_eq!(
                kind.retry_after().is_some(),
                kind.status() == StatusCode::SERVICE_UNAVAILABLE,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn names_are_unique() {
        for (n, kind) in ProblemType::ALL.into_iter().enumerate() {
            assert!(!ProblemType::ALL[..n].iter().any(|other| other.name() == kind.name()), "{kind:?}");
        }
    }
}
