//! The problem of one item of a batch, a stream or a settle, as a member of the item's result.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{PageAddress, Problem, ProblemType};
use crate::domain::path_prefix::PathPrefix;
use crate::http::openapi::schemas;

/// The reason why an item failed. The outcome of its message and its id stand in the result beside it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ItemProblem {
    /// Path of a page that explains this kind of problem.
    #[serde(rename = "type")]
    #[schema(value_type = ProblemType)]
    kind: PageAddress,
    /// The kind of problem in a few words.
    #[schema(example = "Unroutable message")]
    title: &'static str,
    /// The HTTP status that a request with this item alone would have.
    #[schema(example = 422)]
    status: u16,
    /// Description of this occurrence of the problem.
    detail: String,
    /// Whether the caller may send the same item again.
    retryable: bool,
    /// The member of the item that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<Value>,
    /// Who refuses the item for want of a permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::refused_by)]
    by: Option<Value>,
    /// The permissions that the caller lacks for the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::missing_permissions)]
    missing: Option<Value>,
    /// The limit that the item exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::limit)]
    limit: Option<Value>,
    /// The outcome that the lease has, or is about to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::settled_as)]
    settled_as: Option<Value>,
}

impl Problem {
    /// The problem as a member of an item's result, for a gateway below this prefix.
    pub(in crate::http) fn into_item(self, prefix: &PathPrefix) -> ItemProblem {
        let kind = self.kind();
        let mut body = self.with_path_prefix(prefix).0.body;
        ItemProblem {
            kind: body.kind,
            title: body.title,
            status: body.status,
            detail: body.detail,
            retryable: body.retryable.unwrap_or(kind.outcome().1),
            field: body.members.remove("field"),
            by: body.members.remove("by"),
            missing: body.members.remove("missing"),
            limit: body.members.remove("limit"),
            settled_as: body.members.remove("settled_as"),
        }
    }
}
