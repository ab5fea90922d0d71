//! Keeps a browser from treating the bytes of a message as a page of the gateway.

use axum::http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};

use crate::http::problem::NOSNIFF;

/// Keeps a browser from running the bytes of a reply as a page of the gateway.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

/// Adds the headers that say so.
pub(super) fn harden(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
}
