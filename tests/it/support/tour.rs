//! Tours: the commands of a page, which a test runs as they are written.

use serde_json::Value;
use tokio::process::Command;

use super::pages::Page;

/// Stands before each snippet of a tour.
pub const TOUR: &str = "<!-- tour -->";
/// The address of the gateway in the pages.
pub const ADDRESS: &str = "127.0.0.1:8080";
/// Stands for a value that differs in each answer.
const ANYTHING: &str = "…";

/// One command of a tour: the status in its comment, and the answer that the page shows after it.
#[derive(Debug)]
struct Step {
    status: String,
    command: String,
    shown: Option<Value>,
}

/// Whether the page has a tour of commands.
pub fn has_tour(page: &Page) -> bool {
    !steps(page).is_empty()
}

/// Runs every command of a page, in order, and compares status and answer; gives the number of commands. `localised` puts the
/// address of the test's gateway into a command.
pub async fn walk(page: &Page, localised: impl Fn(&str) -> String) -> usize {
    let steps = steps(page);
    for Step { status, command, shown } in &steps {
        assert!(command.contains(ADDRESS), "{command}");
        let (answered, body) = ask(&localised(command)).await;
        assert_eq!(answered, *status, "{}: {command}\n{body}", page.path.display());
        if let Some(shown) = shown {
            assert_alike(shown, &body);
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
            steps.push(Step { status: status.0.to_owned(), command: command.to_owned(), shown: None });
        }
        let shown = after.trim_start().strip_prefix("```json\n").and_then(|it| it.split_once("\n```"));
        let last = steps.last_mut().expect("a tour has commands");
        last.shown = shown.map(|(json, _)| serde_json::from_str(json).expect("an answer is JSON"));
    }
    steps
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

/// Compares members and values, except for values that the page leaves open.
fn assert_alike(shown: &Value, body: &str) {
    let answer: Value = serde_json::from_str(body).expect("the answer is JSON");
    let (shown, answer) = (shown.as_object().expect("an object"), answer.as_object().expect("an object"));
    assert_eq!(shown.keys().collect::<Vec<_>>(), answer.keys().collect::<Vec<_>>(), "{body}");
    for (key, value) in shown.iter().filter(|(_, value)| *value != ANYTHING) {
        assert_eq!(value, &answer[key], "{key}");
    }
}
