//! `GET /whoami`: the caller as the gateway sees it.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::messages::time::rfc3339;
use crate::domain::access::{Permissions, Verb};
use crate::http::problem::Problem;
use crate::http::request::Query;
use crate::http::state::PermittedBroker;

/// The caller as the gateway sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CallerShown {
    /// The name of the principal in the file of principals; absent without authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop")]
    name: Option<String>,
    /// How the gateway knows the principal: `key`; `anonymous` without credentials; `none` without authentication.
    #[schema(example = "key")]
    authentication: &'static str,
    /// What the gateway allows. RabbitMQ may refuse it nevertheless, by the permissions of the gateway's own user.
    permissions: PermissionsShown,
    /// When the key ends, in UTC (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, example = "2027-03-01T00:00:00.000Z")]
    expires_at: Option<String>,
}

/// The permissions of the caller, as the file of principals has them, those of its roles included.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PermissionsShown {
    /// Patterns of the queues and exchanges to declare and delete.
    #[schema(example = json!(["shop.*"]))]
    configure: Vec<String>,
    /// Patterns of the exchanges to publish to, and of the targets of bindings: `name`, or `name/routing-key`.
    #[schema(example = json!(["orders"]))]
    write: Vec<String>,
    /// Patterns of the queues to take messages from, and of the sources of bindings.
    #[schema(example = json!(["shop.*"]))]
    read: Vec<String>,
    /// Patterns of the queues to call.
    #[schema(example = json!(["pricing"]))]
    call: Vec<String>,
    /// `monitoring`: the state of the whole gateway.
    #[schema(example = json!([]))]
    tags: Vec<String>,
}

impl PermissionsShown {
    fn of(permissions: &Permissions) -> Self {
        let patterns = |verb| permissions.grants(verb).iter().map(ToString::to_string).collect();
        Self {
            configure: patterns(Verb::Configure),
            write: patterns(Verb::Write),
            read: patterns(Verb::Read),
            call: patterns(Verb::Call),
            tags: permissions.may_monitor().then(|| "monitoring".to_owned()).into_iter().collect(),
        }
    }
}

/// Show the caller
///
/// The name of the caller's principal, how the gateway knows it, and what the gateway allows it.
#[utoipa::path(
    get,
    path = "/whoami",
    operation_id = "show_caller",
    tag = "access",
    responses((status = 200, description = "The caller", body = CallerShown))
)]
pub(in crate::http) async fn show_caller(
    broker: PermittedBroker,
    query: Query,
) -> Result<Json<CallerShown>, Problem> {
    query.finish()?;
    let caller = broker.caller();
    let principal = caller.principal()?;
    let name = Some(principal.name.to_string()).filter(|name| !name.is_empty());
    Ok(Json(CallerShown {
        name,
        authentication: caller.way(),
        permissions: PermissionsShown::of(&principal.permissions),
        expires_at: caller.expires_at().map(rfc3339),
    }))
}
