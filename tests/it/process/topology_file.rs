//! The topology file of the binary: its mistakes, and its log lines.

use std::fs;

use jiff::Timestamp;
use lapin::types::AMQPValue;
use serde_json::Value;
use tempfile::TempDir;

use super::{NO_BROKER, SOON, Served, run};
use crate::support::{
    broker::{Broker, Vhost},
    observer::Observer,
    poll::eventually,
};

/// The line of the debug level about each attempt.
const ATTEMPT: &str = "an attempt to apply the topology file failed";

/// A file with this content, and its path.
fn file(content: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("topology.json");
    fs::write(&path, content).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

const DOCUMENT: &str = r#"{"queues": [{"name": "a", "max_length": 5}, {"name": "b"}]}"#;

/// A vhost with a queue `a` that has another argument than in [`DOCUMENT`].
async fn conflicting(name: &str) -> (Vhost<'static>, Observer) {
    let vhost = Broker::shared().await.vhost(name).await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue_with("a", &[("x-max-length", AMQPValue::LongInt(6))]).await;
    (vhost, observer)
}

fn settings<'a>(vhost: &'a Vhost<'_>, path: &'a str) -> [(&'a str, &'a str); 3] {
    [("AMQP_URL", &vhost.url), ("GATEWAY_TOPOLOGY", path), ("RABBITMQ_REFUSED_DELAY", "50ms")]
}

#[tokio::test]
async fn a_malformed_file_is_exit_code_64_and_names_the_item_and_the_field() {
    for (content, told) in [
        ("", "the file is empty"),
        ("[]", "the document must be an object, not an array"),
        ("{\"queues\": [", "queues is not complete JSON"),
        (r#"{"queues": [{"name": "a"}, {"name": "b", "tipe": "quorum"}]}"#, "queues[1].tipe"),
        (r#"{"queues": [{"name": "amq.mine"}]}"#, "queues[0]: "),
        (r#"{"queues": [{"name": "a"}, {"name": "a"}]}"#, "queues[1] declares queue \"a\""),
        (
            r#"{"queues": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}"#,
            "GATEWAY_MAX_TOPOLOGY_ITEMS allows 2",
        ),
    ] {
        let (_folder, path) = file(content);
        let settings = [NO_BROKER, ("GATEWAY_TOPOLOGY", &path), ("GATEWAY_MAX_TOPOLOGY_ITEMS", "2")];
        for arguments in [&["check-config"][..], &[]] {
            let (code, process) = run(arguments, &settings).await;
            let said = process.stderr();
            assert_eq!((code, process.stdout()), (Some(64), String::new()), "{content}: {said}");
            assert!(said.starts_with("GATEWAY_TOPOLOGY: ") && said.contains(told), "{content}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[tokio::test]
async fn a_file_that_does_not_exist_and_a_required_file_that_is_not_given_are_exit_code_64() {
    for (setting, value, told) in [
        ("GATEWAY_TOPOLOGY", "/does/not/exist.json", "GATEWAY_TOPOLOGY: cannot read the file"),
        (
            "GATEWAY_TOPOLOGY_REQUIRED",
            "true",
            "GATEWAY_TOPOLOGY_REQUIRED and GATEWAY_TOPOLOGY: the first needs",
        ),
    ] {
        let (code, process) = run(&["check-config"], &[(setting, value)]).await;
        assert_eq!(code, Some(64), "{setting}");
        assert!(process.stderr().starts_with(told), "{}", process.stderr());
    }
}

/// A pipe without a writer never ends.
#[tokio::test]
async fn a_pipe_in_place_of_the_file_is_exit_code_64_and_does_not_hang() {
    let (folder, _) = file("{}");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let (code, process) =
        run(&["check-config"], &[("GATEWAY_TOPOLOGY", pipe.to_str().expect("UTF-8"))]).await;
    assert_eq!(code, Some(64));
    assert!(process.stderr().contains("must be a regular file"), "{}", process.stderr());
}

#[tokio::test]
async fn the_ready_line_waits_for_a_required_file() {
    let (vhost, observer) = conflicting("topology-file-ready").await;
    let (_folder, path) = file(DOCUMENT);
    let required = [("GATEWAY_TOPOLOGY_REQUIRED", "true")];
    let served = Served::start(&[&settings(&vhost, &path)[..], &required].concat()).await;
    served.logs("does not have the topology file").await;
    assert!(!served.process.stderr().contains("\"ready\""), "{}", served.process.stderr());
    observer.delete_queue("a").await;
    served.logs("\"ready\"").await;
    assert_eq!(served.status("/health/ready").await, 200);
}

#[tokio::test]
async fn check_config_shows_the_path_of_a_good_file() {
    let (_folder, path) = file(r#"{"queues": [{"name": "a"}]}"#);
    let (code, process) = run(&["check-config"], &[("GATEWAY_TOPOLOGY", &path)]).await;
    assert_eq!(code, Some(0), "{}", process.stderr());
    let shown = process.stdout();
    let line = shown.lines().find(|line| line.starts_with("GATEWAY_TOPOLOGY ")).expect("a line");
    assert!(line.contains(&path) && line.contains("environment"), "{line}");
}

#[tokio::test]
async fn a_conflict_is_logged_once_and_its_end_too() {
    let (vhost, observer) = conflicting("topology-file-log").await;
    let (_folder, path) = file(DOCUMENT);
    let debug = [("GATEWAY_LOG", "info,rabbitmq_gateway=debug")];
    let served = Served::start_ready(&[&settings(&vhost, &path)[..], &debug].concat()).await;
    served.logs("does not have the topology file").await;
    let attempts = || async { served.process.stderr().matches(ATTEMPT).count() >= 5 };
    eventually(SOON, "five attempts", attempts).await;
    observer.delete_queue("a").await;
    served.logs("the topology file is applied").await;
    let log = served.process.stderr();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let about = |words: &str| {
        let is_about = |line: &&Value| line["message"].as_str().is_some_and(|text| text.contains(words));
        lines.iter().filter(is_about).cloned().collect::<Vec<_>>()
    };
    let at = |line: &Value| {
        line["timestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok()).expect("a time")
    };
    let times: Vec<_> = about(ATTEMPT).iter().map(at).collect();
    // The pauses are 50, 100, 200 and 400 ms.
    let last = times[4].duration_since(times[3]);
    assert!(last.as_millis() >= 400, "the fifth attempt came after {last:?}");
    let failures = about("does not have the topology file");
    assert_eq!(failures.len(), 1, "{log}");
    assert_eq!((&failures[0]["level"], &failures[0]["item"]), (&"ERROR".into(), &"queues[0] a".into()));
    assert!(failures[0]["reason"].as_str().is_some_and(|it| it.contains("x-max-length")), "{failures:?}");
    assert_eq!(about("the topology file is applied").len(), 1, "{log}");
}
