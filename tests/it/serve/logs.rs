//! Each request has one log line.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use super::toy::*;

const DEBUG: &str = "rabbitmq_gateway=debug";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn about(&self, id: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(id)).map(str::to_owned).collect()
    }
}

/// Captures the logs of this thread, on which the toy runs too.
fn lines(filter: &str) -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let filter: Targets = filter.parse().expect("a filter");
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish()
        .with(filter);
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn every_request_has_one_line_with_its_id_and_route_but_no_path_or_query() {
    let (lines, _guard) = lines(DEBUG);
    let toy = toy().await;
    for (path, level, status) in [("/hello/bob?q=5", "DEBUG", "200"), ("/panic?q=5", "ERROR", "500")] {
        ask(&toy, get_request(path, &format!("X-Request-Id: id-{status}\r\n"))).await;
        let about = lines.about(&format!("id-{status}"));
        assert_eq!(about.len(), 1, "{about:?}");
        assert!(about[0].contains(level) && about[0].contains(&format!("status={status}")), "{about:?}");
        assert!(!about[0].contains("bob") && !about[0].contains("q=5"), "{about:?}");
    }
    assert!(lines.about("id-200")[0].contains("route=\"/hello/{name}\""));
    assert!(lines.about("id-500")[0].contains(&format!("a handler panicked: {SECRET}")), "the log says why");
}

/// The hook of the real process, for the panics of the toy only: a failing test still prints its own panic.
fn hook_panics() {
    let failing = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.payload_as_str() {
        Some(text) if text == SECRET || text.contains("resumed after panicking") => {
            rabbitmq_gateway::telemetry::panics::log_panic(panic);
        }
        _ => failing(panic),
    }));
}

#[tokio::test]
async fn a_panic_is_logged_once_with_its_location_and_the_id_of_its_request() {
    let (lines, _guard) = lines("rabbitmq_gateway=error");
    hook_panics();
    let toy = toy().await;
    ask(&toy, get_request("/panic", "X-Request-Id: mine\r\n")).await;
    let about = lines.about(SECRET);
    assert_eq!(about.len(), 1, "{about:?}");
    assert!(about[0].contains("id=\"mine\"") && about[0].contains("toy.rs:"), "{about:?}");
    assert_eq!(lines.about(""), about, "no other line is logged");
}

/// The gateway continues a handler whose caller left when the handler is dropped, but not when it panicked.
#[tokio::test]
async fn a_panic_during_a_publish_is_logged_once_too() {
    let (lines, _guard) = lines("rabbitmq_gateway=error");
    hook_panics();
    let toy = toy().await;
    assert_eq!(ask(&toy, post_request("/publish/x/panic", b"")).await.status, 500);
    assert_eq!(ask(&toy, get_request("/hello", "")).await.status, 200);
    assert_eq!(lines.about("").len(), 1, "{:?}", lines.about(""));
}

#[tokio::test]
async fn the_request_of_a_client_that_disconnects_has_a_log_line_too() {
    let (lines, _guard) = lines(DEBUG);
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/stuck", "X-Request-Id: gone\r\n")).await;
    toy.is_busy_with(1).await;
    drop(client);
    eventually(PATIENCE, "the line is written", || async { !lines.about("gone").is_empty() }).await;
    assert!(lines.about("gone")[0].contains("client left before its answer"));
}

/// Such a publish has a task of its own and is counted and logged like any other.
#[tokio::test]
async fn a_publish_whose_caller_disconnected_has_a_log_line_with_its_outcome() {
    let (lines, _guard) = lines(DEBUG);
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send("POST /publish/x/slow HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: gone\r\nContent-Length: 1\r\n\r\nx").await;
    toy.is_busy_with(1).await;
    drop(client);
    eventually(PATIENCE, "the line is written", || async { !lines.about("gone").is_empty() }).await;
    assert!(lines.about("gone")[0].contains("status=200"), "{:?}", lines.about("gone"));
    assert_eq!(toy.admission.requests_in_flight(), 0);
}
