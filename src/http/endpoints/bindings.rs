//! `/queues/{name}/bindings/{exchange}` and `/exchanges/{name}/bindings/{source}`: bind and unbind.

mod parts;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

pub(in crate::http) use self::parts::{BindingBody, Ends};
use crate::domain::names::{ExchangeName, QueueName};
use crate::domain::topology::exchange::{Binding, BindingTarget};
use crate::http::problem::Problem;
use crate::http::request::{Headers, PathNames, ReadBody, TimedQuery, TopologyDeadline};
use crate::http::state::{AppState, PermittedBroker};

/// A binding, in the words of RabbitMQ's management API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Binding)]
pub(in crate::http) struct BindingMade {
    /// The exchange that the messages come from.
    #[schema(example = "amq.topic")]
    source: String,
    /// The queue or exchange that they go to.
    #[schema(example = "hello")]
    destination: String,
    /// Whether the destination is a queue or an exchange.
    destination_type: DestinationType,
    /// The routing key.
    #[schema(example = "greeting.#")]
    routing_key: String,
}

/// The kind of a binding's destination.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DestinationType {
    Queue,
    Exchange,
}

impl BindingMade {
    fn new(binding: &Binding) -> Self {
        let (destination, destination_type) = match &binding.target {
            BindingTarget::Queue(name) => (name.as_str(), DestinationType::Queue),
            BindingTarget::Exchange(name) => (name.in_path(), DestinationType::Exchange),
        };
        Self {
            source: binding.source.in_path().to_owned(),
            destination: destination.to_owned(),
            destination_type,
            routing_key: binding.routing_key.as_str().to_owned(),
        }
    }
}

/// Bind a queue
///
/// Messages of the exchange whose routing key matches also go to the queue. For a topic exchange the routing key is a pattern:
/// `*` is one word, `#` any number of words. For a headers exchange `arguments` names the headers, and `x-match` says whether
/// `all` or `any` of them have to match. Binding again changes nothing.
#[utoipa::path(
    put,
    path = "/queues/{name}/bindings/{exchange}",
    operation_id = "bind_queue",
    tag = "bindings",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("exchange" = String, Path, description = "Exchange that the messages come from", example = "amq.topic"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    request_body(
        content = Option<BindingBody>,
        description = "The routing key and the arguments of the binding; no body means `{}`",
        example = json!({"routing_key": "greeting.#"})
    ),
    responses(
        (status = 200, description = "The queue is bound", body = BindingMade),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 404, description = "`queue-not-found`, `exchange-not-found`"),
    )
)]
pub(in crate::http) async fn bind_queue(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames((queue, source)): PathNames<(QueueName, ExchangeName)>,
    query: TimedQuery<TopologyDeadline>,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<Json<BindingMade>, Problem> {
    bind((&state, &broker), Ends { source, target: BindingTarget::Queue(queue) }, query, &headers, &body)
        .await
}

/// Unbind a queue
///
/// Removes the binding with exactly this routing key and these arguments. Also answers 204 for a binding that does not exist,
/// since AMQP cannot read bindings.
#[utoipa::path(
    delete,
    path = "/queues/{name}/bindings/{exchange}",
    operation_id = "unbind_queue",
    tag = "bindings",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("exchange" = String, Path, description = "Exchange that the messages come from", example = "amq.topic"),
        ("routing_key" = Option<String>, Query, description = "Routing key of the binding; empty by default", example = "greeting.#"),
        ("arguments" = Option<String>, Query, description = "Arguments of the binding as a JSON object; none by default"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 204, description = "The queue has no such binding"),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 404, description = "`queue-not-found`, `exchange-not-found`"),
        (status = 408, description = "`request-timeout`: the request announced a body, which it must not have, and the body did not come"),
    )
)]
pub(in crate::http) async fn unbind_queue(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames((queue, source)): PathNames<(QueueName, ExchangeName)>,
    query: TimedQuery<TopologyDeadline>,
    body: ReadBody,
) -> Result<StatusCode, Problem> {
    unbind((&state, &broker), Ends { source, target: BindingTarget::Queue(queue) }, query, &body).await
}

/// Bind an exchange
///
/// Messages of the source whose routing key matches also go to the exchange, which routes them on. The rules are those of
/// binding a queue.
#[utoipa::path(
    put,
    path = "/exchanges/{name}/bindings/{source}",
    operation_id = "bind_exchange",
    tag = "bindings",
    params(
        ("name" = String, Path, description = "Name of the exchange that the messages go to", example = "greetings"),
        ("source" = String, Path, description = "Exchange that the messages come from", example = "amq.topic"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    request_body(
        content = Option<BindingBody>,
        description = "The routing key and the arguments of the binding; no body means `{}`",
        example = json!({"routing_key": "greeting.#"})
    ),
    responses(
        (status = 200, description = "The exchange is bound", body = BindingMade),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 404, description = "`exchange-not-found`"),
    )
)]
pub(in crate::http) async fn bind_exchange(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames((exchange, source)): PathNames<(ExchangeName, ExchangeName)>,
    query: TimedQuery<TopologyDeadline>,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<Json<BindingMade>, Problem> {
    bind(
        (&state, &broker),
        Ends { source, target: BindingTarget::Exchange(exchange) },
        query,
        &headers,
        &body,
    )
    .await
}

/// Unbind an exchange
///
/// Removes the binding with exactly this routing key and these arguments. Also answers 204 for a binding that does not exist,
/// since AMQP cannot read bindings.
#[utoipa::path(
    delete,
    path = "/exchanges/{name}/bindings/{source}",
    operation_id = "unbind_exchange",
    tag = "bindings",
    params(
        ("name" = String, Path, description = "Name of the exchange that the messages go to", example = "greetings"),
        ("source" = String, Path, description = "Exchange that the messages come from", example = "amq.topic"),
        ("routing_key" = Option<String>, Query, description = "Routing key of the binding; empty by default", example = "greeting.#"),
        ("arguments" = Option<String>, Query, description = "Arguments of the binding as a JSON object; none by default"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 204, description = "The exchange has no such binding"),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 404, description = "`exchange-not-found`"),
        (status = 408, description = "`request-timeout`: the request announced a body, which it must not have, and the body did not come"),
    )
)]
pub(in crate::http) async fn unbind_exchange(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames((exchange, source)): PathNames<(ExchangeName, ExchangeName)>,
    query: TimedQuery<TopologyDeadline>,
    body: ReadBody,
) -> Result<StatusCode, Problem> {
    unbind((&state, &broker), Ends { source, target: BindingTarget::Exchange(exchange) }, query, &body).await
}

async fn bind(
    (state, broker): (&AppState, &PermittedBroker),
    ends: Ends,
    query: TimedQuery<TopologyDeadline>,
    headers: &HeaderMap,
    body: &ReadBody,
) -> Result<Json<BindingMade>, Problem> {
    let deadline = query.finish()?;
    let binding = ends.with_body(headers, body, state.limits())?;
    broker.note_routing_key(binding.routing_key.as_str());
    broker.topology(binding.needs())?.bind(&binding, deadline).await?;
    Ok(Json(BindingMade::new(&binding)))
}

async fn unbind(
    (state, broker): (&AppState, &PermittedBroker),
    ends: Ends,
    mut query: TimedQuery<TopologyDeadline>,
    body: &ReadBody,
) -> Result<StatusCode, Problem> {
    let binding = ends.with_query(&mut query.parameters, body, state.limits())?;
    let deadline = query.finish()?;
    broker.note_routing_key(binding.routing_key.as_str());
    broker.topology(binding.needs())?.unbind(&binding, deadline).await?;
    Ok(StatusCode::NO_CONTENT)
}
