//! Adds the answers `4XX` and `5XX`, which name the problems that several operations have in common.
//!
//! The annotation of an operation lists the statuses that matter to its callers. The ranges name the kinds of problems with other
//! statuses.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{RefOr, Response};

use crate::http::problem::ProblemType as Kind;

/// Problems of every operation: the gateway refuses the request by its header alone.
const OF_ALL: [Kind; 8] = [
    Kind::MalformedRequest,
    Kind::CrossOrigin,
    Kind::PayloadTooLarge,
    Kind::ExpectationFailed,
    Kind::HeadersTooLarge,
    Kind::Internal,
    Kind::TransferCodingNotSupported,
    Kind::Overloaded,
];
/// Problems of the operations that read a body.
const OF_BODIES: [Kind; 3] = [Kind::ReservedName, Kind::RequestTimeout, Kind::UnsupportedMediaType];
/// Problems of the operations on queues, and of calls, which may inspect their queue.
const OF_QUEUES: [Kind; 1] = [Kind::ResourceLocked];
/// Problems of the operations that ask RabbitMQ.
const OF_BROKER: [Kind; 6] = [
    Kind::Forbidden,
    Kind::BrokerUnavailable,
    Kind::BrokerRefused,
    Kind::Overloaded,
    Kind::ShuttingDown,
    Kind::OutcomeUnknown,
];

/// Adds the ranges to an operation.
pub(super) fn add_ranges(operation: &mut Operation) {
    let kinds = kinds_of(operation);
    for (range, class) in [("4XX", 4), ("5XX", 5)] {
        let of_range: Vec<_> = kinds.iter().filter(|kind| kind.status().as_u16() / 100 == class).collect();
        if !of_range.is_empty() {
            let names = of_range.iter().map(|kind| format!("`{}` ({})", kind.name(), kind.status().as_u16()));
            let said = names.collect::<Vec<_>>().join(", ");
            operation.responses.responses.insert(range.to_owned(), RefOr::T(Response::new(said)));
        }
    }
}

/// The kinds whose statuses the operation does not list, in the order of their statuses.
fn kinds_of(operation: &Operation) -> Vec<Kind> {
    let has_tag = |tag: &str| operation.tags.iter().flatten().any(|other| other == tag);
    let (is_probe, is_publish) = (has_tag("health"), has_tag("publish"));
    let takes_body = operation.request_body.is_some();
    let spelled = |kind: &Kind| operation.responses.responses.contains_key(kind.status().as_str());
    let is_of_it = |kind: &Kind| {
        OF_ALL.contains(kind)
            || takes_body && OF_BODIES.contains(kind)
            || !is_probe && OF_BROKER.contains(kind)
            || !is_probe && !is_publish && OF_QUEUES.contains(kind)
    };
    Kind::ALL.into_iter().filter(|kind| is_of_it(kind) && !spelled(kind)).collect()
}
