//! Writes a message as an HTTP response: its bytes with properties as headers, or the envelope.

mod envelope;
mod harden;
mod publishable;
mod raw;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::envelope::ENVELOPE;

pub(in crate::http) use self::envelope::{EnvelopeOut, envelope};
pub(in crate::http) use self::publishable::{BrokerFields, publishable};
pub(in crate::http) use self::raw::{delivery, raw};

/// Whether the caller accepts the envelope.
pub(in crate::http) fn accepts_envelope(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let essence = range.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(ENVELOPE)
    })
}
