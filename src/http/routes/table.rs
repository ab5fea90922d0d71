//! Finds the route of a request by its path, before the gateway reads the rest, and counts the answers of each route.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use prometheus::{Histogram, IntCounter};

use super::traits::Traits;
use crate::http::nearest::nearest;
use crate::metrics::Metrics;

/// A route: a path of the table, with the operations on it.
#[derive(Debug)]
pub struct Route {
    path: String,
    operations: Vec<RoutedOperation>,
    counts: [OnceLock<Counts>; METHODS.len()],
}

/// The requests of a route with this method, or with any method.
#[derive(Debug)]
struct RoutedOperation {
    method: Option<Method>,
    traits: Traits,
    direct: Option<Direct>,
}

/// The methods in metrics. Other methods count as `other`, because a client may send any name and the values of a label are
/// bounded.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other"];

/// The metrics of a route and a method, looked up once.
#[derive(Debug)]
struct Counts {
    method: &'static str,
    ok: OnceLock<IntCounter>,
    seconds: Histogram,
}

/// A handler that the gateway calls without axum's router. The boxes of the router would take as much time as the handler.
pub struct Direct(Box<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>);

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}

impl Direct {
    /// Wraps a handler.
    pub fn new(handler: impl Fn(Request) -> BoxFuture<'static, Response> + Send + Sync + 'static) -> Self {
        Self(Box::new(handler))
    }

    /// Answers a request.
    #[must_use]
    pub fn call(&self, request: Request) -> BoxFuture<'static, Response> {
        (self.0)(request)
    }
}

impl Route {
    fn new(path: &str) -> Self {
        let counts = [const { OnceLock::new() }; METHODS.len()];
        Self { path: path.to_owned(), operations: Vec::new(), counts }
    }

    /// Counts an answer.
    pub fn count(&self, metrics: &Metrics, method: &Method, status: StatusCode, took: Duration) {
        let known = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let counts = self.counts[known].get_or_init(|| Counts {
            method: METHODS[known],
            ok: OnceLock::new(),
            seconds: metrics.request_seconds.with_label_values(&[&*self.path, METHODS[known]]),
        });
        counts.seconds.observe(took.as_secs_f64());
        let counter = || metrics.requests.with_label_values(&[&*self.path, counts.method, status.as_str()]);
        if status == StatusCode::OK { counts.ok.get_or_init(counter).inc() } else { counter().inc() }
    }

    /// The handler of requests with this method, if the gateway calls it directly.
    #[must_use]
    pub fn direct(&self, method: &Method) -> Option<&Direct> {
        self.operation(method)?.direct.as_ref()
    }

    /// The traits of requests with this method. A request with a method that the path does not have gets the traits of the first
    /// operation on the path, so that its refusal has the form that callers of the path expect.
    #[must_use]
    pub fn traits(&self, method: &Method) -> Traits {
        let traits_of = |operation: &RoutedOperation| operation.traits;
        self.operation(method)
            .map(traits_of)
            .or_else(|| {
                let refused = self.operations.first().map(traits_of)?;
                Some(Traits { finishes_without_caller: false, ..refused })
            })
            .unwrap_or_default()
    }

    fn operation(&self, method: &Method) -> Option<&RoutedOperation> {
        // axum answers HEAD by the handler of GET.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let of_method =
            |operation: &&RoutedOperation| operation.method.as_ref().is_none_or(|it| it == method);
        self.operations.iter().find(of_method)
    }

    /// Its path in the route table, such as `/queues/{name}`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// All routes.
#[derive(Debug)]
pub struct RouteTable {
    /// The index of each route in the list.
    paths: matchit::Router<usize>,
    routes: Vec<Arc<Route>>,
    none: Arc<Route>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { paths: matchit::Router::new(), routes: Vec::new(), none: Arc::new(Route::new("none")) }
    }
}

impl RouteTable {
    /// Adds a path whose requests have the same traits with every method.
    ///
    /// # Panics
    /// When another route matches the same requests.
    pub fn add(&mut self, path: &str, traits: Traits) {
        self.insert(path, RoutedOperation { method: None, traits, direct: None });
    }

    /// Adds an operation: a method of a path. `direct` is its handler, if the gateway calls it directly.
    ///
    /// # Panics
    /// As [`Self::add`].
    pub fn add_operation(&mut self, path: &str, method: Method, traits: Traits, direct: Option<Direct>) {
        self.insert(path, RoutedOperation { method: Some(method), traits, direct });
    }

    fn insert(&mut self, path: &str, operation: RoutedOperation) {
        let index = self.routes.iter().position(|route| route.path == path).unwrap_or_else(|| {
            let inserted = self.paths.insert(path, self.routes.len());
            inserted.expect("no two routes match the same requests");
            self.routes.push(Arc::new(Route::new(path)));
            self.routes.len() - 1
        });
        let route = Arc::get_mut(&mut self.routes[index]).expect("requests come after the table is complete");
        route.operations.push(operation);
    }

    /// Whether this is a route of the table, and not the one of unknown paths.
    #[must_use]
    pub fn is_served(&self, route: &Arc<Route>) -> bool {
        !Arc::ptr_eq(route, &self.none)
    }

    /// Whether a path has a route.
    #[must_use]
    pub fn serves(&self, path: &str) -> bool {
        self.paths.at(path).is_ok()
    }

    /// The nearest path with a route, for a path without one.
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<String> {
        nearest(path, self.routes.iter().map(|route| route.path.as_str()))
    }

    /// The route of a path; the route called `none` for an unknown path.
    #[must_use]
    pub fn of(&self, path: &str) -> &Arc<Route> {
        self.paths.at(path).map_or(&self.none, |found| &self.routes[*found.value])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes::Admission;

    const PUBLISH: Traits = crate::http::routes::traits::PUBLISH;

    #[test]
    fn a_method_that_the_path_does_not_have_is_refused_like_the_first_operation_of_the_path() {
        let mut table = RouteTable::default();
        table.add_operation("/publish/{exchange}", Method::POST, PUBLISH, None);
        let route = table.of("/publish/orders");
        assert!(route.traits(&Method::POST).finishes_without_caller);
        let refused = route.traits(&Method::GET);
        assert!(
            refused.carries_message
                && refused.admission == Admission::Request
                && !refused.finishes_without_caller
        );
    }

    #[test]
    fn head_has_the_traits_of_get() {
        let mut table = RouteTable::default();
        table.add_operation("/queues/{name}", Method::PUT, PUBLISH, None);
        table.add_operation(
            "/queues/{name}",
            Method::GET,
            Traits { is_page: true, ..Traits::default() },
            None,
        );
        assert!(table.of("/queues/orders").traits(&Method::HEAD).is_page);
    }
}
