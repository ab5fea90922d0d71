//! The names of headers that several files use.

use axum::http::HeaderName;

/// The id of a message.
pub(super) const X_AMQP_MESSAGE_ID: HeaderName = HeaderName::from_static("x-amqp-message-id");

/// The key by which the gateway recognises the retry of a publish.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
