//! Topology operations that take long or make RabbitMQ close their connection, beside operations of other callers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{
    broker::Broker,
    contract::Answer,
    gateway::TestGateway,
    link::{Link, Mode, Way},
    poll::eventually,
    stage::{Stage, wired},
    stuck::StuckQueue,
};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::from_secs(2);
/// After this time an operation no longer delays the next one.
const LONG: Duration = Duration::from_secs(5);

/// A queue `stuck` whose process does not answer, beside a queue `q`.
async fn stage_with_stuck(name: &str, settings: &[(&str, &str)]) -> Stage {
    let stage = Stage::set_with(name, settings).await;
    for queue in ["q", "stuck"] {
        stage.observer.declare_queue(queue).await;
    }
    stage
}

fn start_purge(stage: &Stage, queue: &str) -> JoinHandle<Answer> {
    let url = stage.gateway.url(&format!("/queues/{queue}/messages?timeout=60s"));
    let request = stage.gateway.client().delete(url);
    tokio::spawn(Answer::to(request))
}

async fn took(stage: &Stage, method: Method, path: &str) -> (u16, Duration) {
    let begun = Instant::now();
    let answer = stage.ask(method, path).await;
    (answer.status, begun.elapsed())
}

/// Waits until this number of purges run on connections of their own.
async fn purges_run(stage: &Stage, count: usize) {
    let up = format!("gateway_broker_connections{{role=\"removal\"}} {count}\n");
    let metrics = async || stage.gateway.get("/metrics").send().await?.text().await;
    let is_up = || async { metrics().await.is_ok_and(|metrics| metrics.contains(&up)) };
    eventually(SOON, "purges run on connections of their own", is_up).await;
}

async fn resume(stuck: StuckQueue<'_>, purges: Vec<JoinHandle<Answer>>) {
    stuck.resume().await;
    for purge in purges {
        assert_eq!(purge.await.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn a_purge_without_an_answer_delays_no_operation_of_others() {
    let stage = stage_with_stuck("purge-hangs", &[]).await;
    let stuck = stage.vhost.suspend_queue("stuck").await;
    let hangs = start_purge(&stage, "stuck");
    purges_run(&stage, 1).await;
    for (method, path) in [
        (Method::GET, "/queues/q"),
        (Method::PUT, "/queues/new"),
        (Method::DELETE, "/queues/new"),
        (Method::GET, "/queues/q?timeout=1s"),
    ] {
        let (status, took) = took(&stage, method.clone(), path).await;
        assert!(status < 300 && took < AT_ONCE, "{method} {path}: {status} after {took:?}");
    }
    let call = stage.post("/rpc/q?require_consumers=true&timeout=2s").body("x");
    assert_eq!(Answer::to(call).await.verdict(), (503, "no-consumers".to_owned()));

    for path in ["/queues/q/messages?timeout=20s", "/queues/q?if_empty=true&timeout=20s"] {
        let (status, took) = took(&stage, Method::DELETE, path).await;
        assert!(status == 200 && took < LONG + AT_ONCE, "{path}: {status} after {took:?}");
    }
    resume(stuck, vec![hangs]).await;
}

#[tokio::test]
async fn purges_over_the_limit_without_an_answer_are_503_and_other_operations_work() {
    let stage = stage_with_stuck("purges-hang", &[("RABBITMQ_TOPOLOGY_CONNECTIONS", "1")]).await;
    let stuck = stage.vhost.suspend_queue("stuck").await;
    let hangs = start_purge(&stage, "stuck");
    purges_run(&stage, 1).await;
    let begun = Instant::now();
    let answer = stage.ask(Method::DELETE, "/queues/q/messages?timeout=20s").await;
    assert_eq!(answer.verdict(), (503, "overloaded".to_owned()));
    assert!(answer.text("detail").contains("RABBITMQ_TOPOLOGY_CONNECTIONS"), "{}", answer.json());
    assert!(begun.elapsed() < LONG + AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(stage.ask(Method::GET, "/queues/q").await.status, 200);
    assert_eq!(stage.ask(Method::PUT, "/queues/new").await.status, 201);
    resume(stuck, vec![hangs]).await;
    assert_eq!(stage.ask(Method::DELETE, "/queues/q/messages?timeout=20s").await.status, 200);
}

/// Purges `q`; gives status and problem.
async fn purge(gateway: &TestGateway, timeout: &str) -> (u16, String) {
    Answer::to(gateway.delete(&format!("/queues/q/messages?timeout={timeout}"))).await.verdict()
}

/// RabbitMQ may still answer the first purge, by closing the connection.
#[tokio::test]
async fn after_a_purge_without_an_answer_the_next_one_runs_on_another_connection() {
    let (_vhost, _observer, link, gateway) = wired("purge-late", &[]).await;
    let purge = async |timeout: &str| purge(&gateway, timeout).await;
    assert_eq!(purge("10s").await.0, 200);
    link.lose_named("removal-0");
    assert_eq!(purge("500ms").await, (503, "broker-unavailable".to_owned()), "no channel is opened");
    let begun = Instant::now();
    assert_eq!(purge("10s").await.0, 200);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert_eq!(link.accepted_named("removal-0"), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn a_value_that_makes_rabbitmq_close_the_connection_is_400_and_names_the_argument() {
    let stage = Stage::set("wrong-values").await;
    for (json, field) in [
        (r#"{"arguments":{"x-queue-master-locator":"x"}}"#, "arguments.x-queue-master-locator"),
        (r#"{"type":"stream","arguments":{"x-max-age":"abc"}}"#, "arguments.x-max-age"),
        (r#"{"type":"stream","arguments":{"x-max-age":5}}"#, "arguments.x-max-age"),
        (r#"{"expires_ms":0}"#, "expires_ms"),
    ] {
        let answer = stage.declare("/queues/q", json).await;
        let told = (answer.verdict(), answer.text("field"));
        assert_eq!(told, ((400, "malformed-request".to_owned()), field.to_owned()), "{json}");
    }
    assert_eq!(stage.observer.count("q").await, None);
}

/// Callers that send the same request again and again, without success, until the test stops them.
struct Callers {
    tasks: Vec<JoinHandle<()>>,
    answered: Arc<AtomicUsize>,
}

impl Callers {
    fn start(stage: &Stage, count: usize, method: &Method, path: &str) -> Self {
        let answered = Arc::<AtomicUsize>::default();
        let caller = |_| {
            let request = stage.gateway.client().request(method.clone(), stage.gateway.url(path));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                loop {
                    let answer = Answer::to(request.try_clone().expect("it has no body")).await;
                    assert!([404, 503, 504].contains(&answer.status), "{:?}", answer.verdict());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self { tasks: (0..count).map(caller).collect(), answered }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        for task in self.tasks {
            task.abort();
            let end = task.await.expect_err("the task ends only when it is stopped");
            assert!(end.is_cancelled(), "{end}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_works_beside_sixty_short_purges_of_a_stuck_queue() {
    let stage = stage_with_stuck("short-purges", &[("RABBITMQ_TOPOLOGY_CONNECTIONS", "1")]).await;
    let others = stage.vhost.connection_count().await;
    let stuck = stage.vhost.suspend_queue("stuck").await;
    let short = Callers::start(&stage, 60, &Method::DELETE, "/queues/stuck/messages?timeout=100ms");
    for _ in 0..10 {
        let (status, took) = took(&stage, Method::DELETE, "/queues/q/messages?timeout=5s").await;
        assert!(status == 200 && took < AT_ONCE, "{status} after {took:?}");
        let ours = stage.vhost.connection_count().await - others;
        assert!(ours <= 1, "RabbitMQ holds {ours} connections for purges, which may have one");
    }
    assert!(short.answered() > 60);
    short.stop().await;
    stuck.resume().await;
}

#[tokio::test]
async fn purges_with_less_time_than_a_dial_takes_wait_for_the_same_dial() {
    let (_vhost, _observer, link, gateway) = wired("slow-dial", &[]).await;
    let purge = async |timeout: &str| purge(&gateway, timeout).await;
    link.set_named("removal-*", Mode::Stall(Way::Both));
    for _ in 0..5 {
        assert_eq!(purge("100ms").await, (503, "overloaded".to_owned()));
    }
    link.mend();
    assert_eq!(purge("10s").await.0, 200);
    assert_eq!(link.accepted_named("removal-*"), 1);
    gateway.stop().await;
}

/// The channels of such inspections stay open until the queue answers. Without a replacement in time the shared connection has no
/// free channel number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_waits_or_fails_beside_many_short_inspections_of_a_stuck_queue() {
    let link = Link::to(Broker::shared().await.address()).await;
    link.set_named("topology-*", Mode::Channels(255));
    let stage = stage_with_stuck("short-inspections", &[]).await;
    let gateway = TestGateway::start(&[("AMQP_URL", &stage.vhost.url_by(link.addr()))]).await;
    let stage = Stage { gateway, ..stage };
    let stuck = stage.vhost.suspend_queue("stuck").await;
    let short = Callers::start(&stage, 15, &Method::GET, "/queues/stuck?timeout=40ms");
    while short.answered() < 600 {
        for (method, path) in [(Method::GET, "/queues/q"), (Method::PUT, "/queues/q")] {
            let (status, took) = took(&stage, method.clone(), path).await;
            assert!(status < 300 && took < AT_ONCE, "{method} {path}: {status} after {took:?}");
        }
        let call = stage.post("/rpc/q?require_consumers=true&timeout=2s").body("x");
        assert_eq!(Answer::to(call).await.verdict(), (503, "no-consumers".to_owned()));
    }
    assert_eq!(stage.ask(Method::DELETE, "/queues/q").await.status, 200);
    assert!(link.accepted_named("topology-0") > 1);
    short.stop().await;
    stuck.resume().await;
}

/// In earlier versions the gateway and RabbitMQ closed such a channel at the same time. Then lapin closed the connection, and all
/// operations on it got the error for the missing queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_gets_404_for_the_missing_queue_of_a_caller_that_disconnected_before_the_answer() {
    let stage = Stage::with_queue("left-before-404").await;
    let short = Callers::start(&stage, 3, &Method::GET, "/queues/missing?timeout=2ms");
    let (client, url) = (stage.gateway.client().clone(), stage.gateway.url("/queues/missing"));
    let leaving = tokio::spawn(async move {
        loop {
            let _left = timeout(Duration::from_millis(1), client.get(&url).send()).await;
        }
    });
    for _ in 0..60 {
        for (method, path) in [
            (Method::GET, "/queues/q"),
            (Method::PUT, "/queues/q"),
            (Method::GET, "/health/rabbitmq?queue=q"),
        ] {
            let answer = stage.ask(method.clone(), path).await;
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.json());
        }
    }
    leaving.abort();
    short.stop().await;
}
