//! Reads single headers of a request.

use axum::http::{HeaderMap, HeaderName};

use crate::http::problem::Problem;

/// The value of a header that may be given once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::malformed(name.as_str(), "is given more than once: give it once"));
    }
    std::str::from_utf8(value.as_bytes())
        .map(Some)
        .map_err(|_| Problem::malformed(name.as_str(), "is not UTF-8"))
}
