//! No argument of a declaration closes a connection that others use. The test combines arguments, values and types of queue.

#![expect(clippy::print_stdout, reason = "the list of what closed a connection, for who wants to compare it")]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    broker::Broker,
    contract::Answer,
    gateway::TestGateway,
    link::Link,
    observer::Observer,
    poll::{eventually, pass},
};

const SOON: Duration = Duration::from_secs(10);
/// Of the other caller, between its requests.
const PAUSE: Duration = Duration::from_millis(5);

/// Arguments that one gateway declares. After some 500 refusals the gateway replaces the connection that others use, with or
/// without this test.
const AT_A_TIME: usize = 3;

const TYPES: [&str; 3] = ["classic", "quorum", "stream"];

/// The arguments of RabbitMQ 3.10 to 4.x, one of a plugin, and one that RabbitMQ does not know.
const ARGUMENTS: [&str; 26] = [
    "x-cancel-on-ha-failover",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-expires",
    "x-ha-policy",
    "x-initial-cluster-size",
    "x-max-age",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-message-deduplication",
    "x-message-ttl",
    "x-overflow",
    "x-queue-leader-locator",
    "x-queue-master-locator",
    "x-queue-mode",
    "x-queue-type",
    "x-queue-version",
    "x-quorum-initial-group-size",
    "x-single-active-consumer",
    "x-stream-filter-size-bytes",
    "x-stream-max-segment-size-bytes",
];

fn values() -> Vec<Value> {
    let mut values: Vec<Value> =
        [-1, 0, 1, 2, 16, 255, 256, 65_536, 315_360_000_001, i64::MAX, i64::MIN].map(Value::from).to_vec();
    values.extend(
        [
            "",
            "x",
            "abc",
            "1",
            "5D",
            "D",
            "-1s",
            "lazy",
            "random",
            "min-masters",
            "drop-head",
            "at-least-once",
            "é",
        ]
        .map(Value::from),
    );
    values.extend([json!(true), json!(false), json!(null), json!(1.5), json!([1]), json!({"a": 1})]);
    values.extend([
        json!({"$amqp": "int8", "value": 5}),
        json!({"$amqp": "uint32", "value": 5}),
        json!({"$amqp": "timestamp", "value": 5}),
        json!({"$amqp": "bytes", "value": "AP8="}),
    ]);
    values
}

/// One declaration.
struct Case {
    kind: &'static str,
    argument: &'static str,
    value: Value,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{} {}: {}", self.kind, self.argument, self.value)
    }
}

fn cases(kind: &'static str, arguments: &[&'static str]) -> impl Iterator<Item = Case> {
    let of = move |argument| values().into_iter().map(move |value| Case { kind, argument, value });
    arguments.iter().copied().flat_map(of)
}

impl Case {
    fn body(&self) -> Value {
        let arguments = json!({ self.argument: self.value });
        match self.argument {
            "x-queue-type" => json!({ "arguments": arguments }),
            _ => json!({ "type": self.kind, "arguments": arguments }),
        }
    }

    async fn declare(&self, gateway: &TestGateway) -> Answer {
        let answer = Answer::to(gateway.put("/queues/of-case").json(&self.body())).await;
        if answer.status == 201 {
            let deletion = gateway.client().request(Method::DELETE, gateway.url("/queues/of-case"));
            // With `x-expires` RabbitMQ may have deleted the queue already.
            assert!(matches!(Answer::to(deletion).await.status, 200 | 404), "{self}");
        }
        answer
    }
}

/// The results of the declarations of one type of queue.
#[derive(Default)]
struct Report {
    declared: usize,
    /// Declarations after which RabbitMQ closed the connection that they ran alone on.
    closed: Vec<String>,
    /// Declarations that got another answer than success or an error of the caller, and declarations that closed a connection of
    /// others.
    failed: Vec<String>,
    /// Number of requests of another caller.
    asked: usize,
    /// Requests of the other caller that failed.
    disturbed: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make test-arguments"]
async fn no_argument_of_a_declaration_closes_a_connection_that_others_use() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("arguments").await;
    Observer::connect(&vhost.url).await.declare_queue("q").await;
    for kind in TYPES {
        let mut report = Report::default();
        for arguments in ARGUMENTS.chunks(AT_A_TIME) {
            let link = Link::to(broker.address()).await;
            let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
            let neighbour = Neighbour::start(&gateway);
            declare_all(cases(kind, arguments), &gateway, &link, &mut report).await;
            let (asked, disturbed) = neighbour.stop().await;
            report.asked += asked;
            report.disturbed.extend(disturbed);
            gateway.stop().await;
        }
        let Report { declared, closed, failed, asked, disturbed } = report;
        let figure = format!("{declared} declarations, {} closed their own connection", closed.len());
        println!("figure: {kind}: {figure}; {asked} requests of another caller");
        for case in closed {
            println!("figure: closed its own connection: {case}");
        }
        assert!(disturbed.is_empty(), "{disturbed:#?}");
        assert!(failed.is_empty(), "{failed:#?}");
    }
}

async fn declare_all(
    cases: impl Iterator<Item = Case>,
    gateway: &TestGateway,
    link: &Link,
    report: &mut Report,
) {
    let others = ["topology-0", "publish-0", "probe-0", "reply-0"];
    let dialled = || others.map(|name| link.accepted_named(name));
    eventually(SOON, "the connections of others are open", || async { dialled() == [1; 4] }).await;
    let mut before = dialled();
    for case in cases {
        let own = link.accepted_named("declaration-*");
        let answer = case.declare(gateway).await;
        report.declared += 1;
        if link.open_named("declaration-*") == 0 && own > 0
            || link.accepted_named("declaration-*") > own.max(1)
        {
            report.closed.push(format!("{case}: {:?}", answer.verdict()));
        }
        if !matches!(answer.status, 201 | 400 | 409) {
            report.failed.push(format!(
                "{case}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        let now = dialled();
        if now != before {
            report.failed.push(format!("{case}: a connection of others was lost"));
            before = now;
        }
    }
}

/// Inspects a queue again and again while the declarations run.
struct Neighbour {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Neighbour {
    fn start(gateway: &TestGateway) -> Self {
        let (client, url) = (gateway.client().clone(), gateway.url("/queues/q"));
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let (mut asked, mut failed) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                let status = client.get(&url).send().await.map(|answer| answer.status());
                asked += 1;
                if !status.as_ref().is_ok_and(StatusCode::is_success) {
                    failed.push(format!("{status:?}"));
                }
                pass(PAUSE).await;
            }
            (asked, failed)
        });
        Self { is_over, task }
    }

    async fn stop(self) -> (usize, Vec<String>) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("it ends when it is told to")
    }
}
