//! Adds an example problem to each error answer of the document: the first kind that the description of the answer names. Also
//! makes the name of each kind a link to its page.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response};

use crate::domain::message::MessageId;
use crate::http::problem::{Problem, ProblemBody, ProblemType};

const REQUEST_ID: &str = "01932c07-209c-7bd0-a3a4-0b5c8f3c8d9e";
const MESSAGE_ID: &str = "019c2b6e-8c1a-7c3e-9a51-5f0c3f3c8b11";

/// Adds the example to an answer whose description names a problem. The answer `4XX` or `5XX` shows the status of that problem.
pub(super) fn show_problem(status: &str, response: &mut Response, carries_message: bool) {
    let may_be_problem = status.starts_with(['4', '5']);
    let Some(kind) = problem_named_in(&response.description).filter(|_| may_be_problem) else { return };
    let schema = Ref::from_schema_name(ProblemBody::name());
    let example = example(kind, carries_message);
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
    response.description = linked(&response.description);
}

/// Turns each text between backticks that is the name of a kind into a link.
fn linked(description: &str) -> String {
    ProblemType::ALL.into_iter().fold(description.to_owned(), |description, kind| {
        let name = format!("`{}`", kind.name());
        description.replace(&name, &format!("[{name}]({})", kind.path()))
    })
}

/// The first text between backticks that is the name of a kind.
fn problem_named_in(description: &str) -> Option<ProblemType> {
    let mut names = description.split('`').skip(1).step_by(2);
    names.find_map(|name| ProblemType::ALL.into_iter().find(|kind| kind.name() == name))
}

fn example(kind: ProblemType, carries_message: bool) -> Value {
    let mut problem = Problem::new(kind, kind.row().meaning);
    if kind == ProblemType::MalformedRequest {
        problem = problem.with("field", "timeout");
    }
    if carries_message {
        let (outcome, retryable) = kind.outcome();
        problem = problem.outcome(outcome, retryable).message_id(MessageId::from(MESSAGE_ID.to_owned()));
    }
    serde_json::from_slice(&problem.render(REQUEST_ID)).unwrap_or_else(|_| json!({}))
}
