//! What the annotations cannot say, put into the whole document at once.
//!
//! An answer that says of no body what it is, and names a problem, is one: its body shows the first one that it names.
//! And a header is absent or has a value: it is never null.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, Schema};

use crate::http::problem::{Problem, ProblemBody, ProblemType};

/// Finishes every operation.
pub(super) fn finish(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(finish_operation);
    }
}

fn finish_operation(operation: &mut Operation) {
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

fn show_problem(response: &mut Response) {
    let Some(kind) = problem_named_in(&response.description).filter(|_| response.content.is_empty()) else {
        return;
    };
    let schema = Ref::from_schema_name(ProblemBody::name());
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example(kind))).build();
    response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
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
