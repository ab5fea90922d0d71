//! `/docs`: Swagger UI of the gateway's contract. `/` redirects to it.
//!
//! Guarantees that every file of the page is in this binary, that the page's content security policy forbids requests to other
//! hosts, and that the page works below a path prefix that the gateway does not know. Never asks RabbitMQ, so the gateway
//! serves it also when it is overloaded.

mod adapt;

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::problem::{NOSNIFF, Problem, ProblemType};
use crate::domain::path_prefix::PathPrefix;

/// The path of Swagger UI.
pub const PAGE: &str = "/docs/";
/// The page, relative to the root and to `/docs`.
const PAGE_BESIDE: &str = "docs/";

/// Swagger UI sets style attributes and has pictures in its style sheet. The policy forbids all other inline content.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::new(["../openapi.json"])
        .use_base_layout()
        .deep_linking(true)
        .try_it_out_enabled(true)
        .display_request_duration(true)
        .default_models_expand_depth(0)
        .validator_url("none");
    Arc::new(config)
});

/// The paths of the page, of its files, and of the redirects to it.
pub(super) const PATHS: [&str; 4] = ["/", "/docs", PAGE, "/docs/{file}"];

/// Serves the [`PATHS`].
pub(super) fn router() -> Router {
    let [root, page_without_slash, page, files] = PATHS;
    Router::new()
        .route(root, get(to_page))
        .route(page_without_slash, get(to_page))
        .route(page, get(async |headers: HeaderMap| file("index.html", &headers)))
        .route(files, get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)))
}

async fn to_page(prefix: PathPrefix) -> Redirect {
    if prefix.is_none() {
        Redirect::temporary(PAGE_BESIDE)
    } else {
        Redirect::temporary(&prefix.before(PAGE))
    }
}

fn file(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    match utoipa_swagger_ui::serve(name, CONFIG.clone()) {
        Ok(Some(file)) => adapt::adapted(name, file)
            .and_then(|file| answer(file, takes_gzip(headers)))
            .map_err(|error| failed(&error)),
        Ok(None) => {
            Err(Problem::new(ProblemType::NotFound, "Swagger UI has no such file: open the page /docs/"))
        }
        Err(error) => Err(failed(error.as_ref())),
    }
}

fn failed(error: &dyn Error) -> Problem {
    Problem::internal(format!("a file of Swagger UI cannot be served: {error}"))
}

fn answer(file: SwaggerFile<'static>, takes_gzip: bool) -> std::io::Result<Response> {
    let compressed = file.gzpipped && takes_gzip;
    let bytes = if file.gzpipped && !compressed { adapt::unpacked(&file.bytes)?.into() } else { file.bytes };
    let mut response = match bytes {
        Cow::Borrowed(bytes) => bytes.into_response(),
        Cow::Owned(bytes) => bytes.into_response(),
    };
    let headers = response.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(&file.content_type) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    if compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(response)
}

/// Whether the client accepts gzip, the only coding of these files (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.split_once('=').and_then(|(_, weight)| weight.trim().parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_clients_that_accept_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(["gzip", "gzip, deflate, br", "br;q=1, GZIP;q=0.5"].into_iter().all(takes));
        assert!(!["", "identity", "gzip;q=0", "br, gzip; q=0.0"].into_iter().any(takes));
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
