//! SIGTERM and SIGINT: how the gateway serves, finishes requests and ends, and how long it may take.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle, time::Instant};

use super::{NO_BROKER, SOON, Served, send};
use crate::support::{
    broker::{Broker, Vhost},
    link::{Link, Mode, Way},
    observer::Observer,
    poll::{eventually, pass, within},
    raw::Raw,
    stage::linked,
};

/// A gateway with a proxy between it and RabbitMQ, and a queue to publish to.
struct Wired {
    vhost: Vhost<'static>,
    link: Link,
    observer: Observer,
    served: Served,
}

impl Wired {
    async fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let (vhost, observer, link, url) = linked(name).await;
        let served = Served::start_ready(&[settings, &[("AMQP_URL", &url)]].concat()).await;
        Self { vhost, link, observer, served }
    }

    /// A publish that RabbitMQ has, whose confirm does not come.
    async fn publish_without_answer(&self) -> JoinHandle<reqwest::Result<Response>> {
        // The first message is isolated, the next one goes over a shared channel, which is open then.
        assert_eq!(send(self.served.publish("routing_key=q", "proof")).await.status(), 200);
        self.observer.drain("q").await;
        let first = send(self.served.publish("routing_key=q", "first")).await;
        assert_eq!(first.status(), 200);
        self.link.set(Mode::Stall(Way::ToClient));
        let publish = tokio::spawn(self.served.publish("routing_key=q&timeout=60s", "second").send());
        let arrived = || async { self.observer.count("q").await == Some(2) };
        eventually(SOON, "RabbitMQ has the message", arrived).await;
        publish
    }

    async fn refuses_connections(&self) {
        let refused = || async { TcpStream::connect(self.served.address).await.is_err() };
        eventually(SOON, "the gateway accepts no more connections", refused).await;
    }
}

async fn problem(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a body");
    (status, serde_json::from_slice(&body).expect("a problem is JSON"))
}

#[tokio::test]
async fn after_sigterm_the_gateway_is_not_ready_at_once_and_still_serves_for_the_drain_delay() {
    let mut wired = Wired::start("drain", &[("GATEWAY_DRAIN_DELAY", "3s")]).await;
    let served = &mut wired.served;
    let begun = Instant::now();
    served.process.terminate().await;
    served.logs("stopping").await;

    let ready = served.get("/health/ready").await;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.headers()["connection"], "close");
    assert_eq!(served.status("/health/live").await, 200);
    let publish = send(served.publish("routing_key=q", "late")).await;
    assert_eq!(publish.status(), 200);
    assert_eq!(publish.headers()["connection"], "close");

    assert_eq!(served.exit_code().await, 0);
    assert!(begun.elapsed() >= Duration::from_secs(3), "ended after {:?}", begun.elapsed());
    assert_eq!(wired.observer.drain("q").await.len(), 1);
}

#[tokio::test]
async fn sigint_has_no_drain_delay() {
    let mut served = Served::start(&[NO_BROKER, ("GATEWAY_DRAIN_DELAY", "1h")]).await;
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
}

#[tokio::test]
async fn a_publish_in_flight_is_finished_and_confirmed() {
    let mut wired = Wired::start("finish", &[]).await;
    let publish = wired.publish_without_answer().await;
    wired.served.process.signal("INT").await;
    wired.refuses_connections().await;

    wired.link.mend();
    let answer = within(SOON, "the answer", publish).await.unwrap().expect("the gateway answers");
    let (status, receipt) = problem(answer).await;
    assert_eq!((status, &receipt["outcome"], &receipt["attempts"]), (200, &"confirmed".into(), &1.into()));
    assert_eq!(wired.served.exit_code().await, 0);
    assert_eq!(wired.observer.drain("q").await.len(), 2);
}

#[tokio::test]
async fn after_the_stop_rabbitmq_has_no_connection_of_the_gateway() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("goodbye").await;
    let mut served = Served::start_ready(&[("AMQP_URL", &vhost.url)]).await;
    let all_up = || async { vhost.connection_count().await == 7 };
    eventually(
        SOON,
        "two connections are for shared messages, two for isolated ones, one each for topology, replies and probes",
        all_up,
    )
    .await;
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    eventually(SOON, "no connection is left", || async { vhost.connection_count().await == 0 }).await;
    assert!(!served.process.stderr().contains("WARN"), "{}", served.process.stderr());
}

#[tokio::test]
async fn a_publish_that_waits_for_a_lost_rabbitmq_is_answered_that_the_gateway_stops() {
    let mut served = Served::start(&[NO_BROKER, ("GATEWAY_DRAIN_DELAY", "2s")]).await;
    served.process.terminate().await;
    served.logs("stopping").await;
    let answer = send(served.publish("routing_key=q&timeout=60s", "never")).await;
    assert_eq!(answer.headers()["retry-after"], "5");
    let (status, problem) = problem(answer).await;
    assert_eq!((status, &problem["type"]), (503, &"/problems/shutting-down".into()));
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&"not_sent".into(), &true.into()));
    assert_eq!(served.exit_code().await, 0);
}

#[tokio::test]
async fn purges_that_wait_are_answered_that_the_gateway_stops() {
    let mut served = Served::start(&[NO_BROKER, ("GATEWAY_SHUTDOWN_TIMEOUT", "1h")]).await;
    let purge = || tokio::spawn(served.client.delete(served.url("/queues/q/messages?timeout=60s")).send());
    let purges: Vec<_> = std::iter::repeat_with(purge).take(3).collect();
    let are_waiting = || async {
        let metrics = served.get("/metrics").await.text().await.expect("a body");
        metrics.contains("\ngateway_http_requests_in_flight 3\n")
    };
    eventually(SOON, "the purges wait", are_waiting).await;
    served.process.signal("INT").await;
    for purge in purges {
        let answer = within(SOON, "its answer", purge).await.unwrap().expect("the gateway answers");
        assert_eq!(problem(answer).await.1["type"], "/problems/shutting-down");
    }
    assert_eq!(served.exit_code().await, 0);
}

#[tokio::test]
async fn at_the_shutdown_timeout_each_caller_gets_the_outcome_of_its_message() {
    let settings = [
        ("GATEWAY_SHUTDOWN_TIMEOUT", "500ms"),
        ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
        ("RABBITMQ_POOL_SIZE", "1"),
        ("RABBITMQ_CHANNEL_WINDOW", "1"),
    ];
    let mut wired = Wired::start("bounded", &settings).await;
    let call = wired.served.client.post(wired.served.url("/rpc/q?timeout=60s")).body("x");
    let call = tokio::spawn(call.send());
    let arrived = || async { wired.observer.count("q").await == Some(1) };
    eventually(SOON, "RabbitMQ has the request of the call", arrived).await;
    let written = wired.publish_without_answer().await;
    let waiting = tokio::spawn(wired.served.publish("routing_key=q&timeout=60s", "waits").send());
    let mut half = Raw::connect(wired.served.address).await;
    let half_a_body = "Host: localhost\r\nContent-Length: 9\r\n\r\nhalf";
    half.send(format!("POST /publish/amq.default?routing_key=q HTTP/1.1\r\n{half_a_body}")).await;
    let is_waiting = || async {
        let metrics = wired.served.get("/metrics").await.text().await.expect("a body");
        metrics.contains("\ngateway_publishes_waiting 1\n")
    };
    eventually(SOON, "a publish waits for a permit", is_waiting).await;

    let begun = Instant::now();
    wired.served.process.signal("INT").await;
    for (answer, status, kind, outcome) in [
        (call, 504, "/problems/outcome-unknown", "unknown"),
        (written, 504, "/problems/outcome-unknown", "unknown"),
        (waiting, 503, "/problems/shutting-down", "not_sent"),
    ] {
        let answer = within(SOON, "its answer", answer).await.unwrap().expect("the gateway answers");
        let told = problem(answer).await;
        assert_eq!((told.0, &told.1["type"], &told.1["outcome"]), (status, &kind.into(), &outcome.into()));
    }
    let answer = half.response(SOON).await;
    assert_eq!((answer.status, answer.text().contains("shutting-down")), (503, true), "{answer:?}");
    assert_eq!(wired.served.exit_code().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    drop(wired.link);
    eventually(SOON, "no connection is left", || async { wired.vhost.connection_count().await <= 1 }).await;
}

#[tokio::test]
async fn further_signals_during_the_stop_do_not_block_it() {
    let mut served = Served::start(&[NO_BROKER, ("GATEWAY_DRAIN_DELAY", "1s")]).await;
    served.process.terminate().await;
    served.logs("stopping").await;
    served.process.terminate().await;
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
}

/// Between two publishes of one caller.
const PAUSE: Duration = Duration::from_millis(20);

/// How requests ended for callers that publish one message after another.
#[derive(Debug, Default)]
struct Ends {
    answered: usize,
    /// Connections that the gateway refused.
    refused: usize,
    /// Requests without an answer.
    cut: Vec<String>,
}

/// Publishes with short pauses until the gateway has ended.
async fn publish_to_the_end(client: Client, url: String) -> Ends {
    let mut ends = Ends::default();
    loop {
        match client.post(&url).header("content-type", "text/plain").body("x").send().await {
            Ok(answer) if answer.status() == 200 => {
                ends.answered += 1;
                pass(PAUSE).await;
            }
            Ok(answer) => ends.cut.push(format!("{answer:?}")),
            Err(error) if error.is_connect() => {
                ends.refused += 1;
                return ends;
            }
            Err(error) => {
                ends.cut.push(format!("{error:?}"));
                return ends;
            }
        }
    }
}

async fn busy_callers_see_no_cut(name: &str, signal: &str, callers: usize) {
    let mut wired = Wired::start(name, &[("GATEWAY_DRAIN_DELAY", "500ms")]).await;
    let url = wired.served.url("/publish/amq.default?routing_key=q");
    let client = || Client::builder().no_proxy().build().expect("a client without TLS");
    let callers: Vec<_> =
        (0..callers).map(|_| tokio::spawn(publish_to_the_end(client(), url.clone()))).collect();
    let flows = || async { wired.observer.count("q").await.is_some_and(|count| count > 200) };
    eventually(SOON, "all of them publish", flows).await;
    wired.served.process.signal(signal).await;
    let mut answered = 0;
    for caller in callers {
        let ends = within(SOON, "the end of a caller", caller).await.expect("no panic");
        assert!(ends.cut.is_empty() && ends.refused == 1, "{ends:?}");
        answered += ends.answered;
    }
    assert_eq!(wired.served.exit_code().await, 0);
    assert_eq!(wired.observer.drain("q").await.len(), answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_a_busy_caller_is_cut_by_sigint() {
    busy_callers_see_no_cut("busy-int", "INT", 32).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_a_busy_caller_is_cut_by_sigterm() {
    busy_callers_see_no_cut("busy-term", "TERM", 32).await;
}
