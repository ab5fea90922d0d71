//! Adds the answers `4XX` and `5XX`, which name the problems that several operations have in common.
//!
//! The annotation of an operation lists the statuses that matter to its callers. The ranges name the kinds of problems with other
//! statuses.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{RefOr, Response};

use super::security::Protection;
use crate::http::problem::{Operations, ProblemType as Kind};

/// Adds the ranges to an operation.
pub(super) fn add_ranges(operation: &mut Operation, protection: Protection) {
    let kinds = kinds_of(operation, protection);
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
fn kinds_of(operation: &Operation, protection: Protection) -> Vec<Kind> {
    let has_tag = |tag: &str| operation.tags.iter().flatten().any(|other| other == tag);
    let is_probe = has_tag("health");
    let is_listed = |kind: &Kind| operation.responses.responses.contains_key(kind.status().as_str());
    let is_of_it = |kind: &Kind| match kind.row().operations {
        Operations::Every => true,
        Operations::WithBody => operation.request_body.is_some(),
        Operations::Closed => protection == Protection::Closed,
        Operations::AsksRabbitMq => !is_probe,
        Operations::OnQueues => ["queues", "rpc", "bindings"].into_iter().any(has_tag),
        Operations::Named => false,
    };
    Kind::ALL.into_iter().filter(|kind| is_of_it(kind) && !is_listed(kind)).collect()
}
