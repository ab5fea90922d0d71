//! The traits of each route: the gateway knows them before it looks at the rest of a request.

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

/// The traits that all requests of a route have.
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// They need admission: they count among the requests in flight, and their bodies have a budget.
    pub is_admitted: bool,
    /// They carry a message, so that a problem says what became of it.
    pub carries_message: bool,
    /// A POST is finished although its caller has gone.
    pub outlives_its_caller: bool,
    /// They may name any host: probes name an address of their own choice.
    pub answers_any_host: bool,
    /// They are pages for people, to which a link of any page may lead.
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

/// The methods that have metrics of their own; a client may invent methods, a label may not.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other"];

/// The metrics of a route and a method, found once.
#[derive(Debug)]
struct Counts {
    method: &'static str,
    ok: OnceLock<IntCounter>,
    seconds: Histogram,
}

/// A handler that is called without axum's router, whose boxes cost as much as the handler.
pub struct Direct(Box<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>);

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}

impl Direct {
    /// A handler.
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

    /// The handler of requests with this method, where it is called directly.
    #[must_use]
    pub fn direct(&self, method: &Method) -> Option<&Direct> {
        self.post.as_ref().filter(|_| method == Method::POST)
    }

    /// Its path as the route table has it, such as `/queues/{name}`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The traits of its requests.
    #[must_use]
    pub fn traits(&self) -> Traits {
        self.traits
    }

    /// Whether a request with this method is finished although its caller has gone.
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
    /// Adds a route; `post` is the handler of its POST requests, where it is called directly.
    ///
    /// # Panics
    /// When another route is for the same requests.
    pub fn add(&mut self, path: &str, traits: Traits, post: Option<Direct>) {
        self.templates.push(path.to_owned());
        let inserted = self.paths.insert(path, Route::new(path, traits, post));
        inserted.expect("no two routes are for the same requests");
    }

    /// Whether this is the route of a path under which something is served.
    #[must_use]
    pub fn is_served(&self, route: &Arc<Route>) -> bool {
        !Arc::ptr_eq(route, &self.none)
    }

    /// Whether something is served under a path.
    #[must_use]
    pub fn serves(&self, path: &str) -> bool {
        self.paths.at(path).is_ok()
    }

    /// The path that was meant by one under which nothing is served.
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<String> {
        nearest(path, self.templates.iter().map(String::as_str))
    }

    /// The route of a path; one called `none` where nothing is served.
    #[must_use]
    pub fn of(&self, path: &str) -> &Arc<Route> {
        self.paths.at(path).map_or(&self.none, |found| found.value)
    }
}
