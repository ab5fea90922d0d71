//! Problems that several operations have in common, said once. An operation adds its own beside them.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

/// Of every operation that parses what its caller says.
pub(in crate::http) enum OfAll {}

/// Of every operation that reads a body.
pub(in crate::http) enum OfBodies {}

/// Of every operation on queues.
pub(in crate::http) enum OfTopology {}

type Responses = BTreeMap<String, RefOr<Response>>;

impl IntoResponses for OfAll {
    fn responses() -> Responses {
        responses(&[("400", "`malformed-request`: names the field"), ("500", "`internal`")])
    }
}

impl IntoResponses for OfBodies {
    fn responses() -> Responses {
        responses(&[
            ("408", "`request-timeout`: the body did not come in time"),
            ("413", "`payload-too-large`: states the limit"),
            ("415", "`unsupported-media-type`"),
            ("417", "`expectation-failed`: of expectations only `100-continue` is known"),
            ("431", "`headers-too-large`"),
            ("501", "`transfer-coding-not-supported`: of transfer codings only `chunked` is"),
        ])
    }
}

impl IntoResponses for OfTopology {
    fn responses() -> Responses {
        responses(&[
            ("503", "`broker-unavailable`, `broker-refused`, `overloaded`, `shutting-down`"),
            ("504", "`outcome-unknown`: no answer from the broker"),
        ])
    }
}

fn responses(problems: &[(&str, &str)]) -> Responses {
    let response = |&(status, said): &(&str, &str)| (status.to_owned(), RefOr::T(Response::new(said)));
    problems.iter().map(response).collect()
}
