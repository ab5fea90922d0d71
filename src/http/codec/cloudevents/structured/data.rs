//! The data of an event in structured mode as bytes (JSON Event Format for CloudEvents 1.0.2, section 3.1).

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::http::media_type::MediaType;
use crate::http::problem::Problem;
use crate::http::quote::quoted;
use crate::http::request::derive;

/// The data of the event in `document`; no bytes if it has none. `content_type` says whether `data` is JSON or text.
///
/// # Errors
/// 400 naming the member.
pub(super) fn read(
    document: &Bytes,
    data: Option<&RawValue>,
    data_base64: Option<&RawValue>,
    content_type: &str,
) -> Result<Bytes, Problem> {
    match (data, data_base64) {
        (None, None) => Ok(derive(document, [])),
        (Some(json), None) if MediaType::of(content_type).is_json() => {
            Ok(document.slice_ref(json.get().as_bytes()))
        }
        (Some(json), None) => plain_text(document, json, content_type),
        (None, Some(json)) => {
            let text = text_of("data_base64", json)?.ok_or_else(|| {
                Problem::malformed("data_base64", "must be a string with base64: give other data in data")
            })?;
            let bytes = BASE64_STANDARD.decode(text.as_bytes()).map_err(|_| {
                Problem::malformed("data_base64", "must be base64 with padding (RFC 4648, section 4)")
            })?;
            Ok(derive(document, bytes))
        }
        (Some(_), Some(_)) => {
            Err(Problem::malformed("data_base64", "is given beside data: give only one of the two"))
        }
    }
}

/// The content of the string, as UTF-8.
fn plain_text(document: &Bytes, json: &RawValue, content_type: &str) -> Result<Bytes, Problem> {
    let text = text_of("data", json)?.ok_or_else(|| {
        let said = quoted(content_type);
        Problem::malformed(
            "data",
            format!(
                "must be a string, because datacontenttype {said} is not JSON: give a string or data_base64"
            ),
        )
    })?;
    let media_type = MediaType::of(content_type);
    let is_encoded = media_type.is_utf8() || media_type.has_ascii() && text.is_ascii();
    if !is_encoded {
        let charset = quoted(media_type.charset().unwrap_or_default());
        let why =
            format!("has the character set {charset}, and the gateway sends data as UTF-8: give data_base64");
        return Err(Problem::malformed("datacontenttype", why));
    }
    Ok(match text {
        Cow::Borrowed(text) => document.slice_ref(text.as_bytes()),
        Cow::Owned(text) => derive(document, text),
    })
}

/// The content of a string; `None` for another kind of JSON.
fn text_of<'a>(member: &str, json: &'a RawValue) -> Result<Option<Cow<'a, str>>, Problem> {
    let json = json.get();
    if !json.starts_with('"') {
        return Ok(None);
    }
    if let Ok(text) = serde_json::from_str(json) {
        return Ok(Some(Cow::Borrowed(text)));
    }
    let text = serde_json::from_str(json).map(|text| Some(Cow::Owned(text)));
    text.map_err(|_| Problem::malformed(member, "is a string with an escape that JSON does not know"))
}
