//! Refuses a body by its media type, character set and content coding, before it is read.

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

use crate::http::media_type::MediaType;
use crate::http::problem::{Problem, ProblemType};
use crate::http::quote::quoted;

/// Refuses a body that is not plain JSON by its media type and content coding.
///
/// # Errors
/// 415.
pub(in crate::http) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    expect_media_type(headers, "application/json")
}

/// Refuses a body by its media type, which has text in UTF-8, and by its content coding.
///
/// # Errors
/// 415.
pub(in crate::http) fn expect_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    refuse_coding(headers, "the body")?;
    let given = text(headers, &CONTENT_TYPE).unwrap_or_default();
    let media_type = MediaType::of(&given);
    if !media_type.is(wanted) {
        return Err(unsupported(format!(
            "the body must be {wanted}, not {}: set Content-Type",
            quoted(&given)
        )));
    }
    refuse_charset(&media_type, "the body")
}

/// Refuses a character set other than UTF-8. `body` names the body in the text of the problem.
///
/// # Errors
/// 415.
pub(in crate::http) fn refuse_charset(media_type: &MediaType<'_>, body: &str) -> Result<(), Problem> {
    if media_type.is_utf8() {
        return Ok(());
    }
    let charset = quoted(media_type.charset().unwrap_or_default());
    Err(unsupported(format!("{body} cannot have the character set {charset}: send it as UTF-8")))
}

/// Refuses a content coding. `body` names the body in the text of the problem.
///
/// # Errors
/// 415.
pub(in crate::http) fn refuse_coding(headers: &HeaderMap, body: &str) -> Result<(), Problem> {
    match text(headers, &CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => Err(unsupported(format!(
            "{body} cannot have the content coding {}: send it without a content coding",
            quoted(&coding)
        ))),
        _ => Ok(()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn unsupported(detail: String) -> Problem {
    Problem::new(ProblemType::UnsupportedMediaType, detail)
}
