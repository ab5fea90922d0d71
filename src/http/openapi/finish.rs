//! What the annotations cannot say, put into the whole document at once.
//!
//! Every operation that takes a body may answer what is refused of bodies before they are read. Every answer that
//! is a problem shows the first one that its description names, and a header is absent or has a value: it is never
//! null.

use serde_json::{Value, json};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, Responses, Schema};

use crate::http::problem::{Problem, ProblemType};

const PROBLEM: &str = "application/problem+json";
/// What the announcement of a body is refused with, on every path.
const AT_THE_DOOR: [(&str, &str); 2] = [
    ("417", "`expectation-failed`: of expectations only `100-continue` is known"),
    ("501", "`transfer-coding-not-supported`: of transfer codings only `chunked` is"),
];

/// Finishes every operation.
pub(super) fn finish(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(finish_operation);
    }
}

fn finish_operation(operation: &mut Operation) {
    if operation.request_body.is_some() {
        add_refusals(&mut operation.responses);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            show_problem(response);
        }
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.parameter_in == ParameterIn::Header
            && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        {
            forbid_null(&mut schema.schema_type);
        }
    }
}

fn add_refusals(responses: &mut Responses) {
    for (status, description) in AT_THE_DOOR {
        let mut response = Response::new(description);
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        response.content.insert(PROBLEM.to_owned(), RefOr::T(problem));
        responses.responses.insert(status.to_owned(), RefOr::T(response));
    }
}

fn show_problem(response: &mut Response) {
    let example = problem_named_in(&response.description).map(example);
    if let Some(RefOr::T(content)) = response.content.get_mut(PROBLEM) {
        content.example = example;
    }
}

/// The first word between backticks.
fn problem_named_in(description: &str) -> Option<ProblemType> {
    let name = description.split('`').nth(1)?;
    ProblemType::ALL.into_iter().find(|kind| kind.name() == name)
}

fn example(kind: ProblemType) -> Value {
    let problem = Problem::new(kind, kind.explanation().meaning);
    serde_json::from_slice(&problem.render("01932c07-209c-7bd0-a3a4-0b5c8f3c8d9e"))
        .unwrap_or_else(|_| json!({}))
}

fn forbid_null(schema_type: &mut SchemaType) {
    if let SchemaType::Array(types) = schema_type {
        types.retain(|one| *one != Type::Null);
        if let [only] = &types[..] {
            *schema_type = SchemaType::Type(only.clone());
        }
    }
}
