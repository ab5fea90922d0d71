//! Answers requests for an unknown path, or with a method that their path does not have. The problem names the nearest path or
//! the allowed methods.

use axum::extract::Request;
use axum::http::header::{ALLOW, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::domain::path_prefix::PathPrefix;
use crate::http::problem::{Problem, ProblemType};
use crate::http::quote::{cut, quoted};
use crate::http::routes::{Route, RouteTable};

/// 404, with the nearest path, including the path prefix.
pub fn not_found(request: &Request, table: &RouteTable) -> Problem {
    let prefix = request.extensions().get::<PathPrefix>().cloned().unwrap_or_default();
    let path = request.uri().path();
    let hint = if unstripped(path, &prefix, table) {
        format!("the proxy has to remove {} from the path", prefix.as_str())
    } else if let Some(nearest) = table.nearest(path) {
        format!("the nearest path is {}{}", cut(&prefix.before(&nearest)), about_slashes(path, &nearest))
    } else {
        format!("{} lists every path", prefix.before("/docs"))
    };
    let detail = format!("the gateway has no path {}: {hint}", quoted(&prefix.before(path)));
    Problem::new(ProblemType::NotFound, detail)
}

fn unstripped(path: &str, prefix: &PathPrefix, table: &RouteTable) -> bool {
    !prefix.is_none() && path.strip_prefix(prefix.as_str()).is_some_and(|rest| table.serves(rest))
}

fn about_slashes(path: &str, nearest: &str) -> &'static str {
    let is_escaped = nearest.matches("%2F").count() > path.matches("%2F").count();
    if is_escaped { " (a slash in a name is written %2F)" } else { "" }
}

/// 405, or the answer to OPTIONS. axum adds the `Allow` header to this answer.
pub async fn method_not_allowed(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("the gateway does not know the method {}", cut(request.method().as_str()));
    Problem::new(ProblemType::MethodNotAllowed, detail).into_response()
}

/// Names the allowed methods in the problem too, after axum has added them to the answer.
pub fn name_methods(mut response: Response, route: &Route, method: &Method) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allowed = response.headers().get(ALLOW).and_then(|value: &HeaderValue| value.to_str().ok());
    let allowed = allowed.unwrap_or_default().replace(',', ", ");
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let detail = format!("{} has no method {}: use {allowed}", route.path(), cut(method.as_str()));
        response.extensions_mut().insert(problem.with_detail(detail));
    }
    response
}
