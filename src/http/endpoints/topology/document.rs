//! The body of `PUT /topology`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::count::refuse_too_many;
use crate::domain::field::HeaderLimits;
use crate::domain::names::{ExchangeName, NameError, QueueName};
use crate::domain::topology::document::{Place, TopologyDocument};
use crate::domain::topology::exchange::{Binding, BindingTarget};
use crate::http::Limits;
use crate::http::codec::{Table, check_integers};
use crate::http::endpoints::bindings::{BindingBody, Ends};
use crate::http::endpoints::exchanges::ExchangeDeclarationBody;
use crate::http::endpoints::queues::QueueDeclarationBody;
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::quote::quoted;
use crate::http::request::{self, Named};

/// Exchanges, queues and bindings that belong together.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Topology, example = json!({
    "exchanges": [{"name": "greetings", "type": "topic"}],
    "queues": [{"name": "hello", "dead_letter": true}],
    "bindings": [{"source": "greetings", "queue": "hello", "routing_key": "greeting.#"}]
}))]
pub(in crate::http) struct TopologyBody {
    /// Exchanges: a `name`, and the members of the body of `PUT /exchanges/{name}`.
    #[serde(default)]
    #[schema(value_type = Vec<NamedExchange>)]
    exchanges: Vec<Named<ExchangeDeclarationBody>>,
    /// Queues: a `name`, and the members of the body of `PUT /queues/{name}`.
    #[serde(default)]
    #[schema(value_type = Vec<NamedQueue>)]
    queues: Vec<Named<QueueDeclarationBody>>,
    /// Bindings.
    #[serde(default)]
    #[schema(value_type = Vec<BindingItem>)]
    bindings: Vec<BindingObject>,
}

/// A binding that is written as an object. The derived reader of [`BindingItem`] also accepts an array.
#[derive(Debug, Deserialize)]
struct BindingObject(#[serde(deserialize_with = "request::object")] BindingItem);

/// A declaration of an exchange with its name. `openapi/named.rs` makes its schema.
#[derive(ToSchema)]
struct NamedExchange {}

/// A declaration of a queue with its name. `openapi/named.rs` makes its schema.
#[derive(ToSchema)]
struct NamedQueue {}

/// A binding. Exactly one of `queue` and `exchange` is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BindingItem)]
struct BindingItem {
    /// Exchange that the messages come from.
    #[schema(example = "greetings")]
    source: String,
    /// Queue that they go to.
    #[schema(example = "hello")]
    queue: Option<String>,
    /// Exchange that they go to.
    exchange: Option<String>,
    /// Routing key; empty if not given.
    #[schema(example = "greeting.#")]
    routing_key: Option<String>,
    /// Arguments, for a headers exchange.
    #[serde(default)]
    #[schema(schema_with = schemas::arguments)]
    arguments: Table,
}

/// Reads a document.
///
/// # Errors
/// 400 or 403 naming the item and the field; 413 for too many items.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<TopologyDocument, Problem> {
    refuse_too_many(bytes, limits.max_topology_items)?;
    let body: TopologyBody = request::json(bytes)?;
    body.into_document(bytes, &limits.amqp_headers)
}

impl TopologyBody {
    /// The document that was read from these bytes.
    fn into_document(self, bytes: &[u8], limits: &HeaderLimits) -> Result<TopologyDocument, Problem> {
        let exchanges = self.exchanges.into_iter().enumerate().map(|(n, Named { name, rest })| {
            let name = ExchangeName::from_path(&name).map_err(|error| wrong_name(&name, &error));
            name.and_then(|name| rest.into_declaration(name, limits))
                .map_err(|problem| problem.of_item(&Place::Exchange(n).to_string()))
        });
        let queues = self.queues.into_iter().enumerate().map(|(n, Named { name, rest })| {
            let name = QueueName::parse(&name).map_err(|error| wrong_name(&name, &error));
            name.and_then(|name| rest.into_declaration(name, limits))
                .map_err(|problem| problem.of_item(&Place::Queue(n).to_string()))
        });
        let bindings = self.bindings.into_iter().enumerate();
        let bindings = bindings.map(|(n, BindingObject(item))| {
            item.into_binding(limits).map_err(|problem| problem.of_item(&Place::Binding(n).to_string()))
        });
        let document = TopologyDocument {
            exchanges: exchanges.collect::<Result<_, _>>()?,
            queues: queues.collect::<Result<_, _>>()?,
            bindings: bindings.collect::<Result<_, _>>()?,
        };
        document.check().map_err(|twice| Problem::malformed(&twice.place.to_string(), &twice))?;
        check_all_integers(&document, bytes)?;
        Ok(document)
    }
}

/// Refuses integers in arguments that do not fit an AMQP integer.
fn check_all_integers(document: &TopologyDocument, bytes: &[u8]) -> Result<(), Problem> {
    let raw: BTreeMap<String, Vec<&RawValue>> = request::json(bytes)?;
    let exchanges = document.exchanges.iter().map(|it| &it.arguments).enumerate();
    let queues = document.queues.iter().map(|it| &it.arguments).enumerate();
    let bindings = document.bindings.iter().map(|it| &it.arguments).enumerate();
    let places = exchanges.map(|(n, it)| ("exchanges", n, it));
    let places = places.chain(queues.map(|(n, it)| ("queues", n, it)));
    for (list, n, arguments) in places.chain(bindings.map(|(n, it)| ("bindings", n, it))) {
        let item = raw.get(list).and_then(|items| items.get(n)).map_or("{}", |item| item.get());
        check_integers(arguments, item.as_bytes(), "arguments")
            .map_err(|problem| problem.of_item(&format!("{list}[{n}]")))?;
    }
    Ok(())
}

impl BindingItem {
    fn into_binding(self, limits: &HeaderLimits) -> Result<Binding, Problem> {
        let exchange = |field, name: &str| {
            ExchangeName::from_path(name)
                .map_err(|error| Problem::malformed(field, format!("{} {error}", quoted(name))))
        };
        let target = match (self.queue, self.exchange) {
            (Some(queue), None) => BindingTarget::Queue(
                QueueName::parse(&queue)
                    .map_err(|error| Problem::malformed("queue", format!("{} {error}", quoted(&queue))))?,
            ),
            (None, Some(name)) => BindingTarget::Exchange(exchange("exchange", &name)?),
            _ => return Err(Problem::malformed("queue", "or exchange must be given, and not both")),
        };
        let ends = Ends { source: exchange("source", &self.source)?, target };
        BindingBody { routing_key: self.routing_key, arguments: self.arguments }.into_binding(ends, limits)
    }
}

fn wrong_name(name: &str, error: &NameError) -> Problem {
    Problem::malformed("name", format!("{} {error}", quoted(name)))
}
