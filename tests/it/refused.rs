//! RabbitMQ refuses the gateway itself: callers get an answer soon and with the reason, and health names each part that fails.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    broker::{Broker, Vhost},
    contract::Answer as Told,
    gateway::TestGateway,
    link::{Link, Mode},
    load::{Answer, publish},
    observer::Observer,
    poll::{eventually, within},
    stage::{Stage, wired},
};

/// Two for shared messages, two for isolated ones, and one each for topology, replies and probes.
const CONNECTIONS: usize = 7;
const SOON: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);
/// The gateway reports a refusal after 2 s; the rest is reserve for a busy machine.
const CERTAIN: Duration = Duration::from_secs(6);
/// Much longer than any test waits.
const PATIENT: &str = "amq.default?routing_key=q&timeout=60s";

/// A call, with a query.
async fn call(gateway: &TestGateway, query: &str) -> Answer {
    let sent = Instant::now();
    let response = gateway.post(&format!("/rpc/q?{query}")).body("refused").send().await.unwrap();
    Answer::of("refused", sent, response).await
}

/// Publishes and calls get a refusal at their deadline, and soon when the deadline is far. RabbitMQ was reached, so no answer
/// says that it is absent.
async fn is_refused(gateway: &TestGateway, secret: &str, why: &str) {
    let called = call(gateway, "timeout=1s").await;
    let published = publish(gateway, "amq.default?routing_key=q&timeout=1s", "refused").await;
    for answer in [called, published] {
        is_refusal(&answer, why);
        assert!(answer.took() < SECOND * 2, "{answer:?}");
    }
    for answer in [publish(gateway, PATIENT, "patient").await, call(gateway, "timeout=60s").await] {
        is_refusal(&answer, why);
        assert!(answer.took() < CERTAIN, "{answer:?}");
        assert!(!answer.text.contains(secret), "{answer:?}");
    }
    assert!(!gateway.is_ready().await);
}

fn is_refusal(answer: &Answer, why: &str) {
    answer.assert_refused("broker-refused");
    assert!(answer.has_retry_after, "{answer:?}");
    assert!(answer.text.contains(why), "{answer:?}");
}

/// The gateway dials again for ever, each connection at most once in five seconds.
async fn is_retried_slowly(link: &Link) {
    let (dials, start) = (link.accepted(), Instant::now());
    eventually(SOON, "more dials", || async { link.accepted() > dials + CONNECTIONS }).await;
    assert!(start.elapsed() >= SECOND * 5, "a connection was dialled twice in {:?}", start.elapsed());
}

/// Publishes are confirmed without a restart of the gateway.
async fn is_mended(gateway: &TestGateway) {
    eventually(SOON, "a publish is confirmed", || async {
        publish(gateway, PATIENT, "mended").await.is_confirmed()
    })
    .await;
}

#[tokio::test]
async fn wrong_password_is_broker_refused_until_it_is_corrected() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("password").await;
    Observer::connect(&vhost.url).await.declare_queue("q").await;
    broker.add_user("forgetful", "right-one").await;
    vhost.permit("forgetful", ".*", ".*", ".*").await;
    let link = Link::to(broker.address()).await;
    let url = vhost.url_by(link.addr()).replace("guest:guest", "forgetful:open-sesame");
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &url)]).await;
    is_refused(&gateway, "open-sesame", "user name or password").await;
    is_retried_slowly(&link).await;
    broker.set_password("forgetful", "open-sesame").await;
    is_mended(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn deleted_user_is_broker_refused_until_it_is_added_again() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("deleted-user").await;
    Observer::connect(&vhost.url).await.declare_queue("q").await;
    let add = || async {
        broker.add_user("leaver", "secret-word").await;
        vhost.permit("leaver", ".*", ".*", ".*").await;
    };
    add().await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url_as("leaver", "secret-word"))]).await;
    publish(&gateway, "amq.default?routing_key=q", "before").await.assert_confirmed();
    broker.delete_user("leaver").await;
    // RabbitMQ closes the connections one after another. It answers a publish on one that is left with its own refusal.
    let are_closed = || async {
        let health = health(&gateway).await;
        checks(&health, ":connections").iter().all(|(_, check)| check["observedValue"] == 0)
    };
    eventually(SOON, "RabbitMQ has closed every connection", are_closed).await;
    is_refused(&gateway, "secret-word", "user name or password").await;
    add().await;
    is_mended(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn missing_vhost_is_broker_refused_until_it_is_added() {
    let vhost = Broker::shared().await.vhost("missing").await;
    vhost.delete().await;
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &vhost.url)]).await;
    is_refused(&gateway, "guest", "virtual host does not exist").await;
    vhost.create().await;
    Observer::connect(&vhost.url).await.declare_queue("q").await;
    is_mended(&gateway).await;
    within(SOON, "the gateway stops", gateway.stop()).await;
}

#[tokio::test]
async fn user_without_permissions_in_the_vhost_is_broker_refused_with_the_reason() {
    let (broker, vhost) = (Broker::shared().await, Broker::shared().await.vhost("stranger").await);
    broker.add_user("stranger", "secret-word").await;
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &vhost.url_as("stranger", "secret-word"))]).await;
    is_refused(&gateway, "secret-word", "does not let the gateway's user into its virtual host").await;
    gateway.stop().await;
}

/// A virtual host refuses connections for a moment while it restarts.
#[tokio::test]
async fn vhost_that_is_missing_for_a_moment_delays_callers_and_causes_no_error() {
    let stage = Stage::set("moment").await;
    let target = "amq.fanout?mandatory=false&timeout=30s";
    assert_eq!(publish(&stage.gateway, target, "before").await.outcome(), "accepted");
    stage.vhost.delete().await;
    eventually(SOON, "the gateway is not ready", || async { !stage.gateway.is_ready().await }).await;
    let again = async {
        let is_refused = || async {
            Told::to(stage.gateway.get("/health/rabbitmq"))
                .await
                .json()
                .to_string()
                .contains("does not exist")
        };
        eventually(SOON, "a dial is refused", is_refused).await;
        stage.vhost.create().await;
    };
    let (answer, ()) = tokio::join!(publish(&stage.gateway, target, "during"), again);
    assert_eq!(answer.outcome(), "accepted", "{answer:?}");
    stage.gateway.stop().await;
}

/// Limits the number of connections of a vhost.
async fn limit_connections(vhost: &Vhost<'_>, limit: usize) {
    vhost.limit("max-connections", limit).await;
}

#[tokio::test]
async fn vhost_at_its_connection_limit_is_broker_refused() {
    let vhost = Broker::shared().await.vhost("no-room").await;
    limit_connections(&vhost, 0).await;
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &vhost.url)]).await;
    is_refused(&gateway, "guest", "connection limit").await;
    gateway.stop().await;
}

/// Earlier versions passed the health check although publishes, declarations or calls failed.
#[tokio::test]
async fn health_names_each_role_without_connections_and_the_reason() {
    let (vhost, _observer, link, gateway) = wired("little-room", &[]).await;
    eventually(SOON, "every connection is open", || async { link.names().len() == CONNECTIONS }).await;
    // RabbitMQ counts a connection some time after it accepted it, so with a limit above zero it may accept all that dial at once.
    limit_connections(&vhost, 0).await;
    for name in ["publish-1", "isolated-*", "topology-0", "reply-0"] {
        link.cut_named(name);
    }
    let refused = [
        ("isolated:connections", 0, "fail"),
        ("publish:connections", 1, "warn"),
        ("reply:connections", 0, "fail"),
        ("topology:connections", 0, "fail"),
    ]
    .map(|(role, up, status)| (role.to_owned(), up.into(), status.into()));
    let are_named = || async {
        let health = health(&gateway).await;
        (at_the_limit(&health) == refused).then_some(health)
    };
    let health = eventually(SOON, "health names each refused role and the reason", are_named).await;
    assert_eq!(health["status"], "fail", "{health}");
    for (role, check) in checks(&health, ":connections") {
        let is_refused = refused.iter().any(|(name, ..)| *name == role);
        assert!(is_refused || check["status"] == "pass", "{role}: {check}");
    }
    gateway.stop().await;
}

/// The roles that RabbitMQ refuses because of its connection limit: how many connections they have, and their status.
fn at_the_limit(health: &Value) -> Vec<(String, Value, Value)> {
    let mut roles = checks(health, ":connections");
    roles.retain(|(_, check)| says(check, "connection limit"));
    roles
        .into_iter()
        .map(|(role, check)| (role, check["observedValue"].clone(), check["status"].clone()))
        .collect()
}

/// The answer of `/health/rabbitmq`.
async fn health(gateway: &TestGateway) -> Value {
    Told::to(gateway.get("/health/rabbitmq")).await.json()
}

/// The checks whose name has this end.
fn checks(health: &Value, end: &str) -> Vec<(String, Value)> {
    let checks = health["checks"].as_object().expect("checks by component");
    checks
        .iter()
        .filter(|(name, _)| name.ends_with(end))
        .map(|(name, checks)| (name.clone(), checks[0].clone()))
        .collect()
}

fn says(check: &Value, words: &str) -> bool {
    check["output"].as_str().is_some_and(|output| output.contains(words))
}

/// Earlier versions answered `broker-unavailable` at the deadline, although RabbitMQ was there and had given the reason.
#[tokio::test]
async fn call_without_configure_permission_is_broker_refused_soon_and_publishes_go_on() {
    let stage = Stage::with_queue("no-configure").await;
    let gateway = stage.gateway_as("no-configure", "^$", ".*", ".*").await;
    let answer = call(&gateway, "timeout=60s").await;
    is_refusal(&answer, "configure");
    assert!(answer.took() < CERTAIN, "{answer:?}");
    publish(&gateway, "amq.default?routing_key=q", "fine").await.assert_confirmed();
    assert!(gateway.is_ready().await, "publishes are sent");
    let answer = Told::to(gateway.get("/health/rabbitmq")).await;
    let queue = answer.json()["checks"]["reply:queue"][0].clone();
    assert_eq!((answer.status, &queue["status"]), (503, &"fail".into()), "{queue}");
    assert!(says(&queue, "configure"), "{queue}");
    stage.vhost.permit("no-configure", ".*", ".*", ".*").await;
    let has_queue = || async { health(&gateway).await["checks"]["reply:queue"][0]["status"] == "pass" };
    eventually(SOON, "the reply queue exists", has_queue).await;
    gateway.stop().await;
}

/// Publishes to destinations that are not known yet would all wait.
#[tokio::test]
async fn gateway_is_not_ready_before_a_connection_for_isolated_publishes_was_up() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("no-isolated").await;
    let link = Link::to(broker.address()).await;
    link.set_named("isolated-*", Mode::Refuse);
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
    let others_are_up = || async {
        let health = health(&gateway).await;
        let passing =
            checks(&health, ":connections").into_iter().filter(|(_, check)| check["status"] == "pass");
        let failing =
            checks(&health, ":connections").into_iter().filter(|(_, check)| check["status"] == "fail");
        (passing.count(), failing.map(|(role, _)| role).collect::<Vec<_>>())
            == (8, vec!["isolated:connections".to_owned()])
    };
    eventually(SOON, "every other role passes", others_are_up).await;
    assert_eq!(gateway.get("/health/ready").send().await.unwrap().status(), 503);
    link.mend_named("isolated-*");
    eventually(SOON, "the gateway is ready", || gateway.is_ready()).await;
    gateway.stop().await;
}

/// RabbitMQ accepts the connections and closes each one that opens a channel.
#[tokio::test]
async fn user_at_its_channel_limit_is_broker_refused() {
    let stage = Stage::with_queue("no-channel").await;
    let broker = Broker::shared().await;
    broker.add_user("channelless", "secret-word").await;
    stage.vhost.permit("channelless", ".*", ".*", ".*").await;
    broker.limit_user("channelless", "max-channels", 0).await;
    let url = stage.vhost.url_as("channelless", "secret-word");
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &url)]).await;
    let answer = publish(&gateway, PATIENT, "channelless").await;
    is_refusal(&answer, "limit of RabbitMQ on channels");
    assert!(answer.took() < SOON, "{answer:?}");
    gateway.stop().await;
}
