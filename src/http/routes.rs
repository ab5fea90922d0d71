//! The traits of each route. The gateway looks them up by the path of a request, before it reads the rest.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use prometheus::{Histogram, IntCounter};

use super::nearest::nearest;
use crate::metrics::Metrics;

/// The traits of all requests of a route.
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// They need admission: they count as requests in flight, and their bodies count against the budget.
    pub is_admitted: bool,
    /// They carry a message, so their problems have an outcome.
    pub carries_message: bool,
    /// The gateway finishes a POST also when its caller has left.
    pub outlives_its_caller: bool,
    /// They may name any host, because probes send the address of the pod as `Host`.
    pub answers_any_host: bool,
    /// They are pages for people: a link on any page may lead to them.
    pub is_page: bool,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    path: String,
    traits: Traits,
    post: Option<Direct>,
    counts: [OnceLock<Counts>; METHODS.len()],
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
    fn new(path: &str, traits: Traits, post: Option<Direct>) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            traits,
            post,
            counts: [const { OnceLock::new() }; METHODS.len()],
        })
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
        self.post.as_ref().filter(|_| method == Method::POST)
    }

    /// Its path in the route table, such as `/queues/{name}`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The traits of its requests.
    #[must_use]
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// Whether the gateway finishes a request with this method also when its caller has left.
    #[must_use]
    pub fn outlives_its_caller(&self, method: &Method) -> bool {
        self.traits.outlives_its_caller && method == Method::POST
    }
}

/// All routes.
#[derive(Debug)]
pub struct RouteTable {
    paths: matchit::Router<Arc<Route>>,
    templates: Vec<String>,
    none: Arc<Route>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self {
            paths: matchit::Router::new(),
            templates: Vec::new(),
            none: Route::new("none", Traits::default(), None),
        }
    }
}

impl RouteTable {
    /// Adds a route. `post` is the handler of its POST requests, if the gateway calls it directly.
    ///
    /// # Panics
    /// When another route matches the same requests.
    pub fn add(&mut self, path: &str, traits: Traits, post: Option<Direct>) {
        self.templates.push(path.to_owned());
        let inserted = self.paths.insert(path, Route::new(path, traits, post));
        inserted.expect("no two routes match the same requests");
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
        nearest(path, self.templates.iter().map(String::as_str))
    }

    /// The route of a path; the route called `none` for an unknown path.
    #[must_use]
    pub fn of(&self, path: &str) -> &Arc<Route> {
        self.paths.at(path).map_or(&self.none, |found| found.value)
    }
}
