//! Carries the W3C trace context of a request as AMQP headers of the same names.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::ShortText;

const HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// The trace context of a request, which may have none.
#[derive(Debug, Default)]
pub(in crate::http) struct TraceContext(Vec<(ShortText, FieldValue)>);

impl TraceContext {
    /// The trace context in these headers.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Self {
        let given = headers.keys().filter(|name| HEADERS.contains(name));
        let context = given.filter_map(|name| {
            let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            let name = ShortText::parse(name.as_str()).ok()?;
            Some((name, FieldValue::Text(values.join(&b", "[..]))))
        });
        Self(context.collect())
    }

    /// Adds it to the headers of a message. A header that the message has already stays as it is.
    pub(super) fn add_to(&self, table: &mut FieldTable) {
        for (name, value) in &self.0 {
            if table.get(name.as_str()).is_none() {
                table.insert(name.clone(), value.clone());
            }
        }
    }
}
