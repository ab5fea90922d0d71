//! The path and the schema of a problem type, and the outcome of a message with such a problem. All follow from its row in the table.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::table::ProblemType;
use crate::domain::outcome::Outcome;
use crate::http::openapi::schemas;

impl ProblemType {
    /// Its name, which is the last segment of its URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its URI: the path of the page that explains it.
    #[must_use]
    pub fn path(self) -> String {
        format!("/problems/{}", self.name())
    }

    /// Its HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// Its title: the kind in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Seconds after which a retry makes sense. Every 429 and 503 has them, and a key in use.
    #[must_use]
    pub const fn retry_after(self) -> Option<u16> {
        self.row().retry_after
    }

    /// The outcome of a message with a problem of this kind that says no other outcome, and whether the caller may send the
    /// message again.
    ///
    /// The gateway refuses mistakes of a caller, and requests over its limits, before it sends a message. After any other
    /// failure the outcome is unknown. It is also unknown while another request with the same idempotency key is in flight, since
    /// that request publishes the same message.
    #[must_use]
    pub fn outcome(self) -> (Outcome, bool) {
        match self.status() {
            _ if self == Self::Unroutable => (Outcome::Unroutable, false),
            _ if self == Self::Rejected => (Outcome::Rejected, true),
            _ if self == Self::IdempotencyKeyInUse => (Outcome::Unknown, true),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                (Outcome::NotSent, true)
            }
            StatusCode::NOT_IMPLEMENTED => (Outcome::NotSent, false),
            status if status.is_client_error() => (Outcome::NotSent, false),
            _ => (Outcome::Unknown, true),
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
    fn a_429_a_503_and_a_key_in_use_say_when_to_try_again() {
        for kind in ProblemType::ALL {
            let is_about_time = kind == ProblemType::IdempotencyKeyInUse
                || [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&kind.status());
            assert_eq!(kind.retry_after().is_some(), is_about_time, "{kind:?}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (n, kind) in ProblemType::ALL.into_iter().enumerate() {
            assert!(!ProblemType::ALL[..n].iter().any(|other| other.name() == kind.name()), "{kind:?}");
        }
    }
}
