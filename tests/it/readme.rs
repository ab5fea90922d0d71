//! The README tells the truth: its tables are the code's, its tour runs, its links lead somewhere.

use std::{collections::BTreeSet, fs, path::Path};

use rabbitmq_gateway::config::table::markdown_tables;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{
    broker::Broker,
    echo::{echo, serve},
    gateway::TestGateway,
    observer::Observer,
};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->";
const TOUR: &str = "<!-- tour -->\n```sh\n";
/// Languages of the other tours, and what runs them.
const PROGRAMS: [(&str, &[&str]); 2] =
    [("python", &["python3", "-c"]), ("js", &["node", "--input-type=module", "--eval"])];
const ADDRESS: &str = "127.0.0.1:8080";
/// Stands in the README for what is different every time.
const ANYTHING: &str = "…";

fn readme() -> String {
    fs::read_to_string(README).expect("there is a README")
}

/// Set `UPDATE_README` to write the tables instead of comparing them.
#[test]
fn the_configuration_tables_are_those_of_the_code() {
    let readme = readme();
    let (head, rest) = readme.split_once(BEGIN).expect("the tables' begin");
    let (tables, tail) = rest.split_once(END).expect("the tables' end");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(README, [head, BEGIN, &markdown_tables(), END, tail].concat()).expect("it can be written");
        return;
    }
    assert!(tables == markdown_tables(), "the README's tables are old: UPDATE_README=1 scripts/test readme");
}

/// The names of metrics between quotes or backticks.
fn metrics(text: &str, mark: char) -> BTreeSet<&str> {
    text.split(mark).filter(|name| name.starts_with("gateway_") && !name.contains(' ')).collect()
}

#[test]
fn the_table_of_metrics_names_those_of_the_code() {
    let code = metrics(include_str!("../../src/metrics.rs"), '"');
    assert!(code.len() > 10, "they are found: {code:?}");
    assert_eq!(metrics(&readme(), '`'), code);
}

#[test]
fn every_relative_link_leads_somewhere() {
    let readme = readme();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative: Vec<_> = targets.filter(|target| !target.contains("://")).collect();
    assert!(!relative.is_empty(), "links are found");
    for target in relative {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        assert!(Path::new(README).with_file_name(file).exists() || file.is_empty(), "{target}");
        assert!(anchor.is_empty() || has_heading(&readme, anchor), "{target}");
    }
}

fn has_heading(readme: &str, anchor: &str) -> bool {
    let headings = readme.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|it| it.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .any(|it| it == anchor)
}

/// One command of a tour: what it says that the status is, and the answer that is shown after it.
#[derive(Debug)]
struct Step {
    status: String,
    command: String,
    shown: Option<Value>,
}

/// Every command of every tour, in order.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for tour in readme.split(TOUR).skip(1) {
        let (snippet, after) = tour.split_once("\n```\n").expect("a snippet ends");
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

/// The status and the body of what curl is answered.
async fn ask(command: &str) -> (String, String) {
    let command = format!("{command} -sS -w '\\n%{{http_code}}'");
    let output = Command::new("bash").args(["-c", &command]).output().await.expect("bash is in PATH");
    let answer = String::from_utf8(output.stdout).expect("an answer is text");
    let (body, status) = answer.rsplit_once('\n').unwrap_or_else(|| {
        panic!("{command}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    });
    (status.to_owned(), body.to_owned())
}

/// The same members with the same values, but for what the README leaves open.
fn assert_alike(shown: &Value, body: &str) {
    let answer: Value = serde_json::from_str(body).expect("the answer is JSON");
    let (shown, answer) = (shown.as_object().expect("an object"), answer.as_object().expect("an object"));
    assert_eq!(shown.keys().collect::<Vec<_>>(), answer.keys().collect::<Vec<_>>(), "{body}");
    for (key, value) in shown.iter().filter(|(_, value)| *value != ANYTHING) {
        assert_eq!(value, &answer[key], "{key}");
    }
}

#[tokio::test]
async fn the_tour_runs_as_it_is_written() {
    let vhost = Broker::shared().await.vhost("readme").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    let observer = Observer::connect(&vhost.url).await;
    serve(&observer, "echo", echo).await;
    let steps = steps(&readme());
    assert!(steps.len() > 10, "a tour is found: {steps:?}");
    for Step { status, command, shown } in steps {
        assert!(command.contains(ADDRESS), "{command}");
        let (answered, body) = ask(&command.replace(ADDRESS, &gateway.address().to_string())).await;
        assert_eq!(answered, status, "{command}\n{body}");
        if let Some(shown) = shown {
            assert_alike(&shown, &body);
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_tours_in_other_languages_run_as_they_are_written() {
    let vhost = Broker::shared().await.vhost("readme-languages").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    let observer = Observer::connect(&vhost.url).await;
    serve(&observer, "echo", echo).await;
    let readme = readme();
    for (language, interpreter) in PROGRAMS {
        let begin = format!("<!-- tour -->\n```{language}\n");
        let (_, rest) = readme.split_once(&begin).expect("a tour in this language");
        let (program, _) = rest.split_once("\n```\n").expect("a snippet ends");
        let program = program.replace(ADDRESS, &gateway.address().to_string());
        let mut command = Command::new(interpreter[0]);
        let output = command.args(&interpreter[1..]).arg(program).output().await;
        let output = output.unwrap_or_else(|error| panic!("{} does not run: {error}", interpreter[0]));
        assert!(output.status.success(), "{language}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
