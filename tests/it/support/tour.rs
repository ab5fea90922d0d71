//! Tours: the commands of a page, which a test runs as they are written.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::{pages::Page, poll::eventually};

/// Stands before each snippet of a tour.
pub const TOUR: &str = "<!-- tour -->";
/// The address of the gateway in the pages.
pub const ADDRESS: &str = "127.0.0.1:8080";
/// Stands for a value that differs in each answer.
const ANYTHING: &str = "…";
/// Ends the comment of a command whose shown answer RabbitMQ gives a little later. The test asks again until then.
const LATER: &str = ", a moment later";
const SOON: Duration = Duration::from_secs(30);

/// One command of a tour: the status in its comment, and the answer that the page shows after it.
#[derive(Debug)]
struct Step {
    status: String,
    command: String,
    is_later: bool,
    shown: Vec<Value>,
}

/// Whether the page has a tour of commands.
pub fn has_tour(page: &Page) -> bool {
    !steps(page).is_empty()
}

/// Runs every command of a page, in order, and compares status and answer; gives the number of commands. `localised` puts the
/// address of the test's gateway into a command.
pub async fn walk(page: &Page, localised: impl Fn(&str) -> String) -> usize {
    let steps = steps(page);
    for Step { status, command, is_later, shown } in &steps {
        assert!(command.contains(ADDRESS), "{command}");
        let localised = localised(command);
        let (answered, body) = ask(&localised).await;
        assert_eq!(answered, *status, "{}: {command}\n{body}", page.path.display());
        if *is_later {
            let is_alike = || async { difference(shown, &ask(&localised).await.1).is_none() };
            let what = format!("{}: {command}: the answer of the page", page.path.display());
            eventually(SOON, &what, is_alike).await;
        } else {
            assert_eq!(difference(shown, &body), None, "{}: {command}", page.path.display());
        }
    }
    steps.len()
}

/// Every command of every tour of a page, in order.
fn steps(page: &Page) -> Vec<Step> {
    let mut steps = Vec::new();
    for (snippet, after) in page.snippets(TOUR, "sh") {
        for command in snippet.split("\n\n") {
            let (comment, command) = command.split_once('\n').expect("a comment and a command");
            let status =
                comment.strip_prefix("# ").and_then(|it| it.split_once(':')).expect("# status: what");
            steps.push(Step {
                status: status.0.to_owned(),
                command: command.to_owned(),
                is_later: comment.ends_with(LATER),
                shown: Vec::new(),
            });
        }
        steps.last_mut().expect("a tour has commands").shown = shown(after);
    }
    steps
}

/// The answer that the page shows: none, one document, or the lines of NDJSON.
fn shown(after: &str) -> Vec<Value> {
    let block = |language: &str| {
        let rest = after.trim_start().strip_prefix(&format!("```{language}\n"))?;
        rest.split_once("\n```").map(|(block, _)| block)
    };
    let read = |text| serde_json::from_str(text).expect("an answer is JSON");
    let lines = block("ndjson").map(|lines| lines.lines().map(read).collect());
    lines.or_else(|| Some(vec![read(block("json")?)])).unwrap_or_default()
}

/// The status and the body that curl receives.
async fn ask(command: &str) -> (String, String) {
    let command = format!("{command} -sS -w '\\n%{{http_code}}'");
    let output = Command::new("bash").args(["-c", &command]).output().await.expect("bash is in PATH");
    let answer = String::from_utf8(output.stdout).expect("an answer is text");
    let (body, status) = answer.rsplit_once('\n').unwrap_or_else(|| {
        panic!("{command}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    });
    (status.to_owned(), body.to_owned())
}

/// Compares an answer with the shown one; gives the first difference. Results of a stream may come in any order.
fn difference(shown: &[Value], body: &str) -> Option<String> {
    let read = |text| serde_json::from_str::<Value>(text).expect("the answer is JSON");
    let mut answers: Vec<_> = match shown {
        [] => return None,
        [_] => vec![read(body)],
        _ => body.lines().map(read).collect(),
    };
    answers.sort_by_key(|answer| answer["index"].as_u64().unwrap_or(u64::MAX));
    unlike(&shown.iter().cloned().collect(), &answers.into_iter().collect())
}

/// Compares members and values, except for values that the page leaves open.
fn unlike(shown: &Value, answer: &Value) -> Option<String> {
    match (shown, answer) {
        (shown, _) if shown == ANYTHING => None,
        (Value::Object(shown), Value::Object(answer)) if shown.keys().eq(answer.keys()) => {
            shown.iter().find_map(|(key, value)| unlike(value, &answer[key]))
        }
        (Value::Array(shown), Value::Array(answer)) if shown.len() == answer.len() => {
            shown.iter().zip(answer).find_map(|(shown, answer)| unlike(shown, answer))
        }
        _ => (shown != answer).then(|| format!("{answer} in place of {shown}")),
    }
}
