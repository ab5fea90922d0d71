//! The names of headers that several files use.

use axum::http::HeaderName;

/// The id of a message.
pub(super) const X_AMQP_MESSAGE_ID: HeaderName = HeaderName::from_static("x-amqp-message-id");
