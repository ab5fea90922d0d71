//! `/exchanges/{name}`: inspect, declare and delete.

mod declaration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

pub(in crate::http) use self::declaration::ExchangeDeclarationBody;
use crate::broker::{Error, Refusal};
use crate::domain::access::Need;
use crate::domain::names::ExchangeName;
use crate::domain::topology::exchange::plugin_of;
use crate::http::codec::check_integers;
use crate::http::problem::Problem;
use crate::http::quote::quoted;
use crate::http::request::{self, Headers, PathNames, ReadBody, TimedQuery, TopologyDeadline};
use crate::http::reserved_name;
use crate::http::state::{AppState, PermittedBroker};

/// An exchange.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Exchange {
    /// Name of the exchange; `amq.default` is the default exchange.
    #[schema(example = "greetings")]
    name: String,
}

impl Exchange {
    fn new(name: &ExchangeName) -> Self {
        Self { name: name.in_path().to_owned() }
    }
}

/// Inspect an exchange
///
/// Answers 200 if the exchange exists. AMQP tells neither its type nor its arguments.
#[utoipa::path(
    get,
    path = "/exchanges/{name}",
    operation_id = "inspect_exchange",
    tag = "exchanges",
    params(
        ("name" = String, Path, description = "Name of the exchange", example = "greetings"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 200, description = "The exchange exists", body = Exchange),
        (status = 404, description = "`exchange-not-found`"),
    )
)]
pub(in crate::http) async fn inspect_exchange(
    broker: PermittedBroker,
    PathNames(name): PathNames<ExchangeName>,
    query: TimedQuery<TopologyDeadline>,
) -> Result<Json<Exchange>, Problem> {
    let deadline = query.finish()?;
    let topology = broker.topology_to_look_at([name.in_path()])?;
    // The default exchange always exists, and RabbitMQ lets no client ask for it.
    if !name.is_default() {
        topology.inspect_exchange(&name, deadline).await?;
    }
    Ok(Json(Exchange::new(&name)))
}

/// Declare an exchange
///
/// The exchange is durable and not auto-deleted unless the body says otherwise. Declaring it again changes nothing. `type` is
/// `direct`, `fanout`, `topic` or `headers`, or a type that a plugin of RabbitMQ adds.
#[utoipa::path(
    put,
    path = "/exchanges/{name}",
    operation_id = "declare_exchange",
    tag = "exchanges",
    params(
        ("name" = String, Path, description = "Name of the exchange", example = "greetings"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    request_body(
        content = ExchangeDeclarationBody,
        description = "The type and the arguments of the exchange",
        example = json!({"type": "topic"})
    ),
    responses(
        (status = 200, description = "The exchange already existed with the same type and arguments", body = Exchange),
        (status = 201, description = "The exchange did not exist and is now declared", body = Exchange),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 403, description = "`reserved-name`: the name begins with `amq.`; `forbidden`, `cross-origin`"),
        (status = 409, description = "`precondition-failed`: the exchange exists with another type or other arguments"),
    )
)]
pub(in crate::http) async fn declare_exchange(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames(name): PathNames<ExchangeName>,
    query: TimedQuery<TopologyDeadline>,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<(StatusCode, Json<Exchange>), Problem> {
    let deadline = query.finish()?;
    request::expect_json(&headers)?;
    let declaration: ExchangeDeclarationBody = request::json(&body.bytes)?;
    let exchange = declaration.into_declaration(name, &state.limits().amqp_headers)?;
    check_integers(&exchange.arguments, &body.bytes, "arguments")?;
    let declared = broker.topology(exchange.needs())?.declare_exchange(&exchange, deadline).await;
    let created = declared.map_err(|error| failure(error, exchange.kind.as_str()))?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Exchange::new(&exchange.name))))
}

/// The problem of a declaration. For an unknown type it names the plugin that usually has the type.
pub(in crate::http) fn failure(error: Error, kind: &str) -> Problem {
    let is_unknown_type = matches!(error, Error::Refused(Refusal::TypeUnknown { .. }));
    let problem = Problem::from(error);
    if !is_unknown_type {
        return problem;
    }
    let advice = plugin_of(kind).map_or_else(
        || "use direct, fanout, topic or headers, or enable the plugin that has this type".to_owned(),
        |plugin| format!("enable its plugin: rabbitmq-plugins enable {plugin}"),
    );
    let detail = format!("type {} is not a type of exchange of this RabbitMQ: {advice}", quoted(kind));
    problem.with_detail(detail).with("field", "type")
}

/// Delete an exchange
///
/// Deletes the exchange with its bindings, unless `if_unused` forbids it. Messages that are published to it afterwards are
/// refused with `exchange-not-found`.
#[utoipa::path(
    delete,
    path = "/exchanges/{name}",
    operation_id = "delete_exchange",
    tag = "exchanges",
    params(
        ("name" = String, Path, description = "Name of the exchange", example = "greetings"),
        ("if_unused" = Option<bool>, Query, description = "Delete the exchange only if it has no bindings"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 204, description = "The exchange is deleted"),
        (status = 403, description = "`reserved-name`: the name begins with `amq.`; `forbidden`, `cross-origin`"),
        (status = 404, description = "`exchange-not-found`"),
        (status = 408, description = "`request-timeout`: the request announced a body, which it must not have, and the body did not come"),
        (status = 409, description = "`resource-in-use`: the exchange has bindings"),
    )
)]
pub(in crate::http) async fn delete_exchange(
    broker: PermittedBroker,
    PathNames(name): PathNames<ExchangeName>,
    mut query: TimedQuery<TopologyDeadline>,
    body: ReadBody,
) -> Result<StatusCode, Problem> {
    body.expect_empty("if_unused and timeout are parameters of the query")?;
    let if_unused = query.parameters.flag("if_unused")?.unwrap_or_default();
    let deadline = query.finish()?;
    reserved_name::refuse(name.in_path())?;
    let topology = broker.topology([Need::configure(name.in_path())])?;
    topology.delete_exchange(&name, if_unused, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}
