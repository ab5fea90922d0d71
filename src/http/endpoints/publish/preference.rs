//! The preference of a caller for a short answer (RFC 7240).

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The header that says which preference the gateway honours, and its value.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(super) const RETURN_MINIMAL: HeaderValue = HeaderValue::from_static("return=minimal");

/// Whether the caller asked for a short answer.
pub(super) fn prefers_minimal(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(&PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).any(|preference| {
        let name = preference.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("return=minimal")
    })
}
