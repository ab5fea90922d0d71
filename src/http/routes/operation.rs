//! One line of the route table: a handler with its part of the contract, its traits and, for a busy one, its direct call.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use futures_util::future::BoxFuture;
use utoipa::openapi::path::{PathItem, Paths};
use utoipa_axum::router::UtoipaMethodRouter;

use super::table::{Direct, RouteTable};
use super::traits::Traits;
use crate::http::state::AppState;

/// A handler that the gateway calls without axum's router.
type DirectHandler = fn(State<AppState>, Request) -> BoxFuture<'static, Response>;

/// An operation of the contract.
pub(in crate::http) struct Operation {
    /// The handler and its part of the contract.
    pub(in crate::http) handler: UtoipaMethodRouter<AppState>,
    traits: Traits,
    direct: Option<DirectHandler>,
}

impl Operation {
    /// An operation with these traits.
    pub(super) fn new(handler: UtoipaMethodRouter<AppState>, traits: Traits) -> Self {
        Self { handler, traits, direct: None }
    }

    /// The same operation. The gateway calls its handler without axum's router, whose boxes take as much time as the handler.
    pub(super) fn called_directly(self, handler: DirectHandler) -> Self {
        Self { direct: Some(handler), ..self }
    }

    /// Adds the operation to the table.
    pub(in crate::http) fn add_to(&self, table: &mut RouteTable, state: &AppState) {
        for (path, method) in self.requests() {
            let direct = self.direct.map(|handler| {
                let state = state.clone();
                Direct::new(move |request| handler(State(state.clone()), request))
            });
            table.add_operation(path, method, self.traits, direct);
        }
    }

    /// Its paths with their methods.
    pub(in crate::http) fn requests(&self) -> impl Iterator<Item = (&str, Method)> {
        let (_, Paths { paths, .. }, _) = &self.handler;
        paths.iter().flat_map(|(path, item)| methods(item).map(move |method| (path.as_str(), method)))
    }

    /// Its traits.
    pub(in crate::http) fn traits(&self) -> Traits {
        self.traits
    }
}

fn methods(item: &PathItem) -> impl Iterator<Item = Method> {
    let operations = [
        (&item.get, Method::GET),
        (&item.put, Method::PUT),
        (&item.post, Method::POST),
        (&item.delete, Method::DELETE),
    ];
    operations.into_iter().filter_map(|(operation, method)| operation.as_ref().map(|_| method))
}
