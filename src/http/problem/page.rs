//! `/problems` and `/problems/<name>`: the pages that the `type` of each problem links, as HTML or as plain text.
//!
//! Guarantees that a page has no script and loads no file from another host; its content security policy forbids both. Links are
//! relative, so that they work below any path prefix.

use std::fmt::Write;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::table::Row;
use super::{NOSNIFF, Problem, ProblemType};
use crate::domain::path_prefix::PathPrefix;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const STYLE: &str = "body{font:1rem/1.6 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}\
    code{background:#eee;padding:.1em .3em;border-radius:3px}li{margin:.3rem 0}";

/// The pages.
pub(in crate::http) const PATHS: [&str; 2] = ["/problems", "/problems/{name}"];

/// Serves the [`PATHS`].
pub(in crate::http) fn router() -> Router {
    let [all, one] = PATHS;
    Router::new().route(all, get(list)).route(one, get(explain))
}

async fn list(headers: HeaderMap) -> Response {
    if takes_html(&headers) { page(HTML, list_html()) } else { page(TEXT, list_text()) }
}

async fn explain(
    Path(name): Path<String>,
    prefix: PathPrefix,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let kind = ProblemType::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| {
        Problem::new(
            ProblemType::NotFound,
            "there is no problem with this name: /problems lists all problems",
        )
    })?;
    Ok(if takes_html(&headers) { page(HTML, html(kind, &prefix)) } else { page(TEXT, text(kind)) })
}

/// Whether the client asks for HTML, as browsers do. curl and other programs get text.
fn takes_html(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    given.any(|value| value.contains("text/html"))
}

fn page(media_type: HeaderValue, body: String) -> Response {
    let headers = [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, NOSNIFF),
        (VARY, HeaderValue::from_static("accept")),
    ];
    (headers, body).into_response()
}

fn list_text() -> String {
    ProblemType::ALL.into_iter().fold(String::new(), |mut text, kind| {
        let _ = writeln!(text, "{} {:<30} {}", kind.status().as_u16(), kind.name(), kind.title());
        text
    })
}

fn text(kind: ProblemType) -> String {
    let Row { meaning, advice, .. } = kind.row();
    format!("{} {} ({})\n\n{meaning}\n\n{advice}\n", kind.status().as_u16(), kind.title(), kind.name())
}

fn list_html() -> String {
    let items = ProblemType::ALL.into_iter().fold(String::new(), |mut items, kind| {
        let (name, title, status) = (kind.name(), marked_up(kind.title()), kind.status().as_u16());
        let _ = write!(items, "<li>{status} <a href=\"problems/{name}\">{name}</a>: {title}</li>");
        items
    });
    document("Problems", &format!("<ul>{items}</ul><p><a href=\"docs/\">Try the API</a></p>"))
}

fn html(kind: ProblemType, prefix: &PathPrefix) -> String {
    let Row { meaning, advice, .. } = kind.row();
    let (meaning, advice) = (marked_up(meaning), marked_up(advice));
    let address = prefix.before(&format!("/problems/{}", kind.name()));
    let line = format!("<p>Status {}, type <code>{address}</code></p>", kind.status());
    let more = "<p><a href=\"../problems\">All problems</a></p>";
    document(kind.title(), &format!("{line}<p>{meaning}</p><p>{advice}</p>{more}"))
}

fn document(title: &str, body: &str) -> String {
    let title = marked_up(title);
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
    )
}

/// Escapes characters with a meaning in HTML, and turns text between backticks into code.
fn marked_up(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let pieces = text.split('`').enumerate();
    pieces
        .map(|(n, piece)| if n % 2 == 1 { format!("<code>{piece}</code>") } else { piece.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_backticks_are_code() {
        assert_eq!(marked_up("`a<b>` & c"), "<code>a&lt;b&gt;</code> &amp; c");
    }

    #[test]
    fn every_explanation_is_whole_sentences_and_closes_its_backticks() {
        for kind in ProblemType::ALL {
            let Row { meaning, advice, .. } = kind.row();
            for text in [meaning, advice] {
                assert_eq!(text.matches('`').count() % 2, 0, "{kind:?}");
                assert!(text.ends_with('.'), "{kind:?}");
            }
        }
    }
}
