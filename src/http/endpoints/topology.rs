//! `PUT /topology`: applies a document of exchanges, queues and bindings.

mod count;
mod document;
mod turns;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use self::document::TopologyBody;
pub(in crate::http) use self::turns::TopologyTurns;
use crate::broker::{Cause, DocumentFailure, Error, ItemResults, Refusal};
use crate::domain::topology::document::{ItemResult, Place, TopologyDocument};
use crate::http::Limits;
use crate::http::endpoints::exchanges;
use crate::http::problem::Problem;
use crate::http::request::{self, Headers, ReadBody, TimedQuery, TopologyDeadline};
use crate::http::state::{AppState, PermittedBroker};

/// The results of a document, an item each, in the order of the document.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TopologyApplied {
    /// The items.
    results: Vec<AppliedItem>,
}

/// The result of an item.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AppliedItem {
    /// The item's place in the document.
    #[schema(example = "queues[0]")]
    item: String,
    /// The name of the exchange or queue; for a binding its ends.
    #[schema(example = "hello")]
    name: String,
    /// The result.
    result: ItemResult,
}

/// Apply a topology
///
/// Declares the exchanges, queues and bindings of a document. Applying it again changes nothing. Where an exchange or queue exists
/// with other arguments, the answer is 409 and nothing was made. An exchange that `alternate_exchange` or `dead_letter` names, and
/// each end of a binding, must be in the document or in RabbitMQ. A lost connection, another client, or a new object that RabbitMQ
/// refuses can interrupt the document later: the problem then lists `results`, and applying the document again is safe.
///
/// With `dry_run=true` the gateway only looks: each exchange and queue `exists` or is `absent`, and a binding is `unknown`, since
/// AMQP cannot read bindings.
#[utoipa::path(
    put,
    path = "/topology",
    operation_id = "apply_topology",
    tag = "topology",
    params(
        ("dry_run" = Option<bool>, Query, description = "Whether the gateway only looks and makes nothing; false by default"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most"),
    ),
    request_body(
        content = TopologyBody,
        description = "Exchanges, queues and bindings, at most 1,000 together by default",
        example = json!({
            "exchanges": [{"name": "greetings", "type": "topic"}],
            "queues": [{"name": "hello", "dead_letter": true}],
            "bindings": [{"source": "greetings", "queue": "hello", "routing_key": "greeting.#"}]
        })
    ),
    responses(
        (status = 200, description = "The document is applied", body = TopologyApplied),
        (status = 400, description = "`malformed-request`: names the item and the field"),
        (status = 404, description = "`queue-not-found`, `exchange-not-found`: an item names a queue or exchange that is neither in the document nor in RabbitMQ; nothing was made"),
        (status = 409, description = "`precondition-failed`: an object exists with other arguments; nothing was made"),
        (status = 413, description = "`payload-too-large`: too many items, or too many bytes"),
    )
)]
pub(in crate::http) async fn apply_topology(
    State(state): State<AppState>,
    broker: PermittedBroker,
    mut query: TimedQuery<TopologyDeadline>,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<Json<TopologyApplied>, Problem> {
    let dry_run = query.parameters.flag("dry_run")?.unwrap_or_default();
    let deadline = query.finish()?;
    request::expect_json(&headers)?;
    let _turn = state.topology_turns.wait(deadline).await?;
    let document = document::read(&body.bytes, state.limits())?;
    let applied = if dry_run {
        let names = document.names();
        broker.topology_to_look_at(names.iter().map(String::as_str))?.look_at(&document, deadline).await
    } else {
        broker.topology(document.needs())?.apply(&document, deadline).await
    };
    let results = applied.map_err(|failure| problem(&document, failure))?;
    Ok(Json(TopologyApplied { results: items(&document, &results) }))
}

/// The topology document in this text, read like the body of a request. The text is the content of the topology file.
///
/// # Errors
/// The mistake, with the item and the field.
pub fn topology_document(text: &str, limits: &Limits) -> Result<TopologyDocument, String> {
    let (bytes, limit) = (text.len(), limits.max_body_bytes);
    if bytes > limit {
        return Err(format!("the document has {bytes} bytes, and GATEWAY_MAX_BODY_BYTES allows {limit}"));
    }
    document::read(text.as_bytes(), limits).map_err(|problem| problem.detail_about("the document"))
}

/// The problem of the item at which the gateway stopped, with the results of all items if objects were made.
fn problem(document: &TopologyDocument, failure: DocumentFailure) -> Problem {
    let DocumentFailure { place, error, results } = failure;
    let cause = match &error {
        Error::Unknown(Cause::Lost { .. }) => Some("the connection to RabbitMQ was lost"),
        Error::Unknown(Cause::Silence) => Some("RabbitMQ did not answer within the deadline"),
        _ => None,
    };
    let problem = of_place(document, place, error);
    let problem = match results {
        Some(results) => {
            let items = serde_json::to_value(items(document, &results)).unwrap_or(Value::Null);
            problem.with("results", items)
        }
        None => nothing_made(problem, cause),
    };
    problem.of_item(&place.to_string())
}

/// The problem of a document of which nothing was made, also where the outcome of a single operation would be unknown.
fn nothing_made(problem: Problem, cause: Option<&str>) -> Problem {
    let detail = format!("{}; nothing was made", cause.unwrap_or(problem.detail()));
    problem.with_detail(detail)
}

/// The problem of an item, without the item's place. The field is the one that is known to be at fault.
fn of_place(document: &TopologyDocument, place: Place, error: Error) -> Problem {
    let field = match (place, &error) {
        (Place::Exchange(_), Error::Refused(Refusal::ExchangeMissing { .. })) => "alternate_exchange",
        (Place::Queue(_), Error::Refused(Refusal::ExchangeMissing { .. } | Refusal::QueueMissing { .. })) => {
            "dead_letter"
        }
        (Place::Exchange(n), Error::Refused(Refusal::TypeUnknown { .. })) => {
            return exchanges::failure(error, document.exchanges[n].kind.as_str());
        }
        _ => return error.into(),
    };
    Problem::from(error).with("field", field)
}

fn items(document: &TopologyDocument, results: &ItemResults) -> Vec<AppliedItem> {
    let items = document.places().zip(results.all());
    items
        .map(|(place, result)| AppliedItem {
            item: place.to_string(),
            name: document.name_of(place),
            result: *result,
        })
        .collect()
}
