//! The form of the log: JSON lines on stderr, request ids, one line for a failure.

use serde_json::Value;

use super::{NO_BROKER, SOON, Served, send};
use crate::support::{broker::Broker, poll::eventually};

const DEBUG: (&str, &str) = ("GATEWAY_LOG", "debug");

/// Every line of the log as JSON.
fn lines(served: &Served) -> Vec<Value> {
    let log = served.process.stderr();
    let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

fn about<'a>(lines: &'a [Value], request_id: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["span"]["id"] == request_id).collect()
}

#[tokio::test]
async fn without_a_terminal_the_log_is_json_lines_on_stderr_alone() {
    let mut served = Served::start(&[NO_BROKER, DEBUG]).await;
    served.status("/health/live").await;
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    let lines = lines(&served);
    assert!(lines.len() > 3, "{lines:?}");
    for line in &lines {
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "{key} is missing: {line}");
        }
    }
    assert_eq!(served.process.stdout(), "");
}

#[tokio::test]
async fn the_log_can_be_text_without_a_terminal_and_then_has_no_colours() {
    let served = Served::start(&[NO_BROKER, ("GATEWAY_LOG_FORMAT", "text")]).await;
    let log = served.process.stderr();
    assert!(log.contains("listening address=127.0.0.1:"), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}

#[tokio::test]
async fn the_ready_line_is_logged_once_and_names_the_addresses_user_and_vhost() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("ready-line").await;
    let served = Served::start_ready(&[("AMQP_URL", &vhost.url)]).await;
    vhost.close_connections().await;
    served.logs("is lost, the gateway connects again").await;
    eventually(SOON, "it is ready again", || async { served.status("/health/ready").await == 200 }).await;
    let lines = lines(&served);
    let at = |message: &str| lines.iter().position(|line| line["message"] == message);
    assert!(at("listening") < at("ready"), "{lines:?}");
    let ready: Vec<_> = lines.iter().filter(|line| line["message"] == "ready").collect();
    let [line] = ready[..] else { panic!("one line: {lines:?}") };
    let version = broker.eval("rabbit_misc:version()").await;
    for (field, value) in [
        ("gateway", served.url("")),
        ("docs", served.url("/docs/")),
        ("broker", broker.address().to_string()),
        ("broker_product", "RabbitMQ".to_owned()),
        ("broker_version", version.trim_matches('"').to_owned()),
        ("user", "guest".to_owned()),
        ("vhost", vhost.name.clone()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(served.status("/docs/").await, 200);
}

#[tokio::test]
async fn the_ready_line_is_not_logged_while_rabbitmq_is_away() {
    let mut served = Served::start(&[NO_BROKER]).await;
    served.logs("cannot connect").await;
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    assert!(lines(&served).iter().all(|line| line["message"] != "ready"));
}

#[tokio::test]
async fn the_request_id_of_a_caller_is_in_the_answer_and_in_the_log_line() {
    let served = Served::start(&[NO_BROKER, DEBUG]).await;
    let ask = served.client.get(served.url("/health/live")).header("x-request-id", "mine-1");
    assert_eq!(send(ask).await.headers()["x-request-id"], "mine-1");
    served.logs("mine-1").await;
    let lines = lines(&served);
    let [line] = about(&lines, "mine-1")[..] else { panic!("one line: {lines:?}") };
    assert_eq!(
        (&line["route"], &line["status"], &line["method"]),
        (&"/health/live".into(), &200.into(), &"GET".into())
    );
}

#[tokio::test]
async fn a_request_id_that_is_too_long_or_not_visible_ascii_is_replaced() {
    let served = Served::start(&[NO_BROKER, DEBUG]).await;
    for bad in ["x".repeat(129), "two words".to_owned(), "tab\tbed".to_owned(), "zürich".to_owned()] {
        let ask = served.client.get(served.url("/health/live")).header("x-request-id", &bad);
        let fresh = send(ask).await.headers()["x-request-id"].to_str().expect("visible").to_owned();
        assert_eq!(fresh.len(), 36, "a UUID in place of {bad:?}: {fresh}");
        served.logs(&fresh).await;
        assert!(!served.process.stderr().contains(&bad), "{bad:?} is in the log");
    }
}

#[tokio::test]
async fn one_failure_is_logged_once_and_as_an_error() {
    let served = Served::start(&[NO_BROKER]).await;
    let publish = served.publish("routing_key=q&timeout=50ms", "x").header("x-request-id", "failed-1");
    assert_eq!(send(publish).await.status(), 503);
    served.logs("failed-1").await;
    let lines = lines(&served);
    let [line] = about(&lines, "failed-1")[..] else { panic!("one line: {lines:?}") };
    assert_eq!((&line["level"], &line["problem"]), (&"ERROR".into(), &"broker-unavailable".into()));
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("no connection")), "{line}");
}

#[tokio::test]
async fn a_refused_request_is_not_logged_at_the_default_level() {
    let served = Served::start(&[NO_BROKER]).await;
    let refused = served.client.get(served.url("/nowhere")).header("x-request-id", "refused-1");
    assert_eq!(send(refused).await.status(), 404);
    assert_eq!(served.status("/health/ready").await, 503);
    let failed = served.publish("timeout=50ms", "x").header("x-request-id", "failed-2");
    assert_eq!(send(failed).await.status(), 503);
    served.logs("failed-2").await;
    let lines = lines(&served);
    assert!(about(&lines, "refused-1").is_empty());
    assert!(lines.iter().all(|line| line["route"] != "/health/ready"), "{lines:?}");
}
