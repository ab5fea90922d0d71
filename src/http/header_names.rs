//! The names of headers that several files use.

use axum::http::HeaderName;

/// The id of a message.
pub(super) const X_AMQP_MESSAGE_ID: HeaderName = HeaderName::from_static("x-amqp-message-id");

/// When the lease of a message expires.
pub(super) const X_LEASE_EXPIRES_AT: HeaderName = HeaderName::from_static("x-lease-expires-at");

/// The key by which the gateway recognises the retry of a publish.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
