//! `/queues/{name}`: inspect, declare, delete and purge.

mod declaration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

pub(in crate::http) use self::declaration::QueueDeclarationBody;
use crate::domain::access::{Key, Need};
use crate::domain::names::QueueName;
use crate::domain::topology::{DeleteConditions, QueueState};
use crate::http::codec::check_integers;
use crate::http::problem::Problem;
use crate::http::request::{self, Headers, PathNames, ReadBody, TimedQuery, TopologyDeadline};
use crate::http::state::{AppState, PermittedBroker};

/// A queue and its counts.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Queue {
    /// Name of the queue.
    #[schema(example = "hello")]
    name: String,
    /// Messages ready for delivery; unacknowledged ones are not counted.
    #[schema(example = 1)]
    message_count: u32,
    /// Consumers.
    #[schema(example = 0)]
    consumer_count: u32,
}

/// The number of removed messages.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RemovedMessages {
    /// Ready messages that this request removed.
    #[schema(example = 1)]
    messages_removed: u32,
}

impl Queue {
    fn new(name: &QueueName, state: &QueueState) -> Self {
        let QueueState { message_count, consumer_count } = *state;
        Self { name: name.to_string(), message_count, consumer_count }
    }
}

/// Inspect a queue
///
/// Counts ready messages and consumers by a passive declaration. Needs no management plugin.
#[utoipa::path(
    get,
    path = "/queues/{name}",
    operation_id = "inspect_queue",
    tag = "queues",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 200, description = "The queue", body = Queue),
        (status = 404, description = "`queue-not-found`"),
    )
)]
pub(in crate::http) async fn inspect_queue(
    broker: PermittedBroker,
    PathNames(name): PathNames<QueueName>,
    query: TimedQuery<TopologyDeadline>,
) -> Result<Json<Queue>, Problem> {
    let deadline = query.finish()?;
    let found = broker.topology_to_look_at([name.as_str()])?.inspect(&name, deadline).await?;
    Ok(Json(Queue::new(&name, &found)))
}

/// Declare a queue
///
/// The queue is durable and not auto-deleted unless the body says otherwise. Declaring it again changes nothing. Without `type`
/// the gateway sends no `x-queue-type`, so the declaration matches a queue that another program declared without a type.
/// `dead_letter: true` first makes a durable fanout exchange `<name>.dlx` and a queue `<name>.dlq`; deleting the queue does not
/// delete them.
#[utoipa::path(
    put,
    path = "/queues/{name}",
    operation_id = "declare_queue",
    tag = "queues",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    request_body(
        content = Option<QueueDeclarationBody>,
        description = "The arguments of the queue; no body means `{}`",
        example = json!({})
    ),
    responses(
        (status = 200, description = "The queue already existed with the same arguments", body = Queue),
        (status = 201, description = "The queue did not exist and is now declared", body = Queue),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 409, description = "`precondition-failed`: the queue exists with other arguments; `resource-locked`"),
    )
)]
pub(in crate::http) async fn declare_queue(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames(name): PathNames<QueueName>,
    query: TimedQuery<TopologyDeadline>,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<(StatusCode, Json<Queue>), Problem> {
    let deadline = query.finish()?;
    let declaration = if body.bytes.is_empty() {
        QueueDeclarationBody::default()
    } else {
        request::expect_json(&headers)?;
        request::json::<Option<_>>(&body.bytes)?.unwrap_or_default()
    };
    let queue = declaration.into_declaration(name, &state.limits().amqp_headers)?;
    check_integers(&queue.arguments, &body.bytes, "arguments")?;
    let (created, found) = broker.topology(queue.needs())?.declare(&queue, deadline).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Queue::new(&queue.name, &found))))
}

/// Delete a queue
///
/// Deletes the queue with its messages, unless `if_unused` or `if_empty` forbids it.
#[utoipa::path(
    delete,
    path = "/queues/{name}",
    operation_id = "delete_queue",
    tag = "queues",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("if_unused" = Option<bool>, Query, description = "Delete the queue only if it has no consumers"),
        ("if_empty" = Option<bool>, Query, description = "Delete the queue only if it has no ready messages"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 200, description = "The queue is deleted", body = RemovedMessages),
        (status = 403, description = "`forbidden`, `cross-origin`"),
        (status = 404, description = "`queue-not-found`"),
        (status = 408, description = "`request-timeout`: the request announced a body, which it must not have, and the body did not come"),
        (status = 409, description = "`resource-in-use`: the queue has consumers or messages; `not-supported`: its type does not support the condition; `resource-locked`"),
    )
)]
pub(in crate::http) async fn delete_queue(
    broker: PermittedBroker,
    PathNames(name): PathNames<QueueName>,
    mut query: TimedQuery<TopologyDeadline>,
    body: ReadBody,
) -> Result<Json<RemovedMessages>, Problem> {
    body.expect_empty("if_unused, if_empty and timeout are parameters of the query")?;
    let if_unused = query.parameters.flag("if_unused")?.unwrap_or_default();
    let if_empty = query.parameters.flag("if_empty")?.unwrap_or_default();
    let deadline = query.finish()?;
    let conditions = DeleteConditions { if_unused, if_empty };
    let topology = broker.topology([Need::configure(name.as_str())])?;
    let messages_removed = topology.delete(&name, conditions, deadline).await?;
    Ok(Json(RemovedMessages { messages_removed }))
}

/// Purge a queue
///
/// Removes the ready messages. Messages that are delivered and not yet acknowledged stay.
#[utoipa::path(
    delete,
    path = "/queues/{name}/messages",
    operation_id = "purge_queue",
    tag = "queues",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    responses(
        (status = 200, description = "The queue is empty", body = RemovedMessages),
        (status = 403, description = "`forbidden`, `cross-origin`"),
        (status = 404, description = "`queue-not-found`"),
        (status = 408, description = "`request-timeout`: the request announced a body, which it must not have, and the body did not come"),
        (status = 409, description = "`not-supported`: this type of queue cannot be purged; `resource-locked`"),
    )
)]
pub(in crate::http) async fn purge_queue(
    broker: PermittedBroker,
    PathNames(name): PathNames<QueueName>,
    query: TimedQuery<TopologyDeadline>,
    body: ReadBody,
) -> Result<Json<RemovedMessages>, Problem> {
    body.expect_empty("a purge removes every ready message, and timeout is a parameter of the query")?;
    let deadline = query.finish()?;
    let topology = broker.topology([Need::read(name.as_str(), Key::Every)])?;
    let messages_removed = topology.purge(&name, deadline).await?;
    Ok(Json(RemovedMessages { messages_removed }))
}
