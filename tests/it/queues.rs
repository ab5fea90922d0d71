//! Queues: inspect, declare with plain words, delete and purge. The second AMQP client checks the results.
//!
//! When RabbitMQ closes a connection (540), other callers of the same gateway are not affected.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    options::{BasicGetOptions, ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{broker::Broker, contract::Answer, observer::Observer, poll::within, stage::Stage};

const SOON: Duration = Duration::from_secs(10);

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn counts(name: &str, messages: u32, consumers: u32) -> Value {
    json!({"name": name, "message_count": messages, "consumer_count": consumers})
}

async fn fill(stage: &Stage, queue: &str, messages: usize) {
    for _ in 0..messages {
        let answer = stage.gateway.publish("amq.default", queue, "x").await;
        assert_eq!(answer.status(), 200);
    }
}

/// A queue that belongs to a connection; it exists as long as the observer.
async fn exclusive_queue(observer: &Observer, name: &str) {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    observer.channel().await.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
}

#[tokio::test]
async fn inspect_counts_ready_messages_and_consumers() {
    let stage = Stage::with_queue("inspect").await;
    fill(&stage, "q", 3).await;
    let answer = stage.ask(Method::GET, "/queues/q").await;
    assert_eq!((answer.status, answer.json()), (200, counts("q", 3, 0)));
    let channel = stage.observer.channel().await;
    let unacked = channel.basic_get("q".into(), BasicGetOptions { no_ack: false }).await.unwrap();
    assert!(unacked.is_some());
    assert_eq!(stage.ask(Method::GET, "/queues/q").await.json(), counts("q", 2, 0));
    stage.observer.declare_queue("consumed").await;
    let _consumer = stage.observer.consume("consumed").await;
    assert_eq!(stage.ask(Method::GET, "/queues/consumed").await.json(), counts("consumed", 0, 1));
}

#[tokio::test]
async fn missing_queue_is_404_for_every_operation_on_it() {
    let stage = Stage::set("missing").await;
    // These names occur in RabbitMQ's error texts. The gateway must not mix them up with RabbitMQ's own words.
    for name in ["none", "no%20exchange", "in%20use"] {
        for (method, tail) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::DELETE, "?if_empty=true"),
            (Method::DELETE, "/messages"),
        ] {
            let answer = stage.ask(method, &format!("/queues/{name}{tail}")).await;
            assert_eq!(answer.verdict(), problem(404, "queue-not-found"), "{name}{tail}");
        }
    }
}

/// RabbitMQ would close the connection over an address that it did not make.
#[tokio::test]
async fn an_address_of_direct_reply_to_is_a_missing_queue_and_ends_no_connection() {
    let stage = Stage::set("direct_reply_to").await;
    for name in ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.AAAA.x"] {
        for method in [Method::GET, Method::DELETE] {
            let answer = stage.ask(method.clone(), &format!("/queues/{name}")).await;
            assert_eq!(answer.verdict(), problem(404, "queue-not-found"), "{method} {name}");
        }
        let health = stage.ask(Method::GET, &format!("/health/rabbitmq?queue={name}")).await.json();
        assert_eq!(health["checks"]["probe:connections"][0]["status"], "pass", "{health}");
    }
}

#[tokio::test]
async fn plain_declaration_is_durable_equal_to_that_of_another_client_and_idempotent() {
    let stage = Stage::set("plain").await;
    let answer = stage.declare("/queues/q", "{}").await;
    assert_eq!((answer.status, answer.json()), (201, counts("q", 0, 0)));
    assert_eq!(stage.declare("/queues/q", "{}").await.status, 200);
    let empty = Answer::to(stage.gateway.put("/queues/q")).await;
    assert_eq!((empty.status, empty.json()), (200, counts("q", 0, 0)));
    assert_eq!(stage.declare("/queues/q", "null").await.status, 200);
    assert_eq!(Answer::to(stage.gateway.put("/queues/other")).await.status, 201);
    for queue in ["q", "other"] {
        stage.observer.declare_queue(queue).await;
    }
    // RabbitMQ 4.x adds the type that it chooses to the arguments of each queue.
    stage.observer.declare_queue("anybody-s").await;
    assert_eq!(arguments(&stage, "q").await, arguments(&stage, "anybody-s").await);
}

/// The arguments of a queue as RabbitMQ prints them.
async fn arguments(stage: &Stage, queue: &str) -> String {
    let resource = format!("rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)", stage.vhost.name);
    let look = format!("{{ok, Q}} = rabbit_amqqueue:lookup({resource}), amqqueue:get_arguments(Q)");
    let print = format!("lists:flatten(io_lib:format(\"~0p\", [begin {look} end]))");
    let printed = Broker::shared().await.eval(&print).await;
    printed.replace('\\', "").trim_matches('"').to_owned()
}

#[tokio::test]
async fn every_plain_word_becomes_its_queue_argument() {
    let stage = Stage::set("words").await;
    let words = r#"{"message_ttl_ms":60000,"max_length":10,"max_length_bytes":5000000000,"overflow":"reject-publish",
        "max_priority":5,"single_active_consumer":true,"expires_ms":600000,"type":"classic","durable":true,
        "auto_delete":false,"dead_letter":{"exchange":"elsewhere","routing_key":"key"},"arguments":{"x-queue-mode":"lazy"}}"#;
    assert_eq!(stage.declare("/queues/all", words).await.status, 201);
    let expected = [
        ("x-message-ttl", AMQPValue::LongInt(60_000)),
        ("x-max-length", AMQPValue::LongInt(10)),
        ("x-max-length-bytes", AMQPValue::LongLongInt(5_000_000_000)),
        ("x-overflow", text("reject-publish")),
        ("x-max-priority", AMQPValue::LongInt(5)),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-expires", AMQPValue::LongInt(600_000)),
        ("x-queue-type", text("classic")),
        ("x-dead-letter-exchange", text("elsewhere")),
        ("x-dead-letter-routing-key", text("key")),
        ("x-queue-mode", text("lazy")),
    ];
    stage.observer.declare_queue_with("all", &expected).await;
    let arguments = arguments(&stage, "all").await;
    assert_eq!(arguments.matches("<<\"x-").count(), expected.len(), "{arguments}");
    assert_eq!(stage.declare("/queues/all", words).await.status, 200);
}

#[tokio::test]
async fn transient_and_auto_deleted_queues_have_these_properties() {
    let stage = Stage::set("transient").await;
    assert_eq!(stage.declare("/queues/q", r#"{"durable":false,"auto_delete":true}"#).await.status, 201);
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    let alike =
        stage.observer.channel().await.queue_declare("q".into(), options, FieldTable::default()).await;
    assert!(alike.is_ok(), "{alike:?}");
}

#[tokio::test]
async fn queues_of_every_type_are_declared_as_that_type() {
    let stage = Stage::set("types").await;
    for kind in ["classic", "quorum", "stream"] {
        let (path, json) = (format!("/queues/{kind}"), format!(r#"{{"type":"{kind}"}}"#));
        let answer = stage.declare(&path, &json).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        assert_eq!(stage.declare(&path, &json).await.status, 200);
        stage.observer.declare_queue_with(kind, &[("x-queue-type", text(kind))]).await;
    }
    let answer = stage.declare("/queues/limited", r#"{"type":"quorum","delivery_limit":3}"#).await;
    assert_eq!(answer.status, 201);
    let arguments = arguments(&stage, "limited").await;
    assert!(arguments.contains("<<\"x-delivery-limit\">>") && arguments.contains(",3}"), "{arguments}");
}

#[tokio::test]
async fn queue_that_exists_with_other_arguments_is_409_and_does_not_change() {
    let stage = Stage::set("differs").await;
    assert_eq!(stage.declare("/queues/q", r#"{"max_length":5}"#).await.status, 201);
    for other in [r#"{"max_length":6}"#, "{}", r#"{"max_length":5,"durable":false}"#, r#"{"type":"quorum"}"#]
    {
        let answer = stage.declare("/queues/q", other).await;
        assert_eq!(answer.verdict(), problem(409, "precondition-failed"), "{other}");
    }
    stage.observer.declare_queue_with("q", &[("x-max-length", AMQPValue::LongInt(5))]).await;
}

#[tokio::test]
async fn dead_letter_true_keeps_rejected_messages() {
    let stage = Stage::set("dead").await;
    for kind in ["", r#","type":"quorum""#] {
        let name = if kind.is_empty() { "plain" } else { "quorum" };
        let json = format!(r#"{{"dead_letter":true{kind}}}"#);
        assert_eq!(stage.declare(&format!("/queues/{name}"), &json).await.status, 201);
        assert_eq!(stage.declare(&format!("/queues/{name}"), &json).await.status, 200);
        let path = format!("/publish/amq.default?routing_key={name}");
        let request = stage.post(&path).header("X-Amqp-Expiration", "1").body("late");
        assert_eq!(Answer::to(request).await.status, 200);
        let dead = stage.observer.get_one(&format!("{name}.dlq"), SOON).await;
        assert_eq!(
            (dead.data.as_slice(), dead.exchange.as_str()),
            (&b"late"[..], format!("{name}.dlx").as_str())
        );
    }
    stage.observer.declare_queue("plain.dlq").await;
    stage.observer.declare_queue_with("quorum.dlq", &[("x-queue-type", text("quorum"))]).await;
    assert_eq!(stage.ask(Method::DELETE, "/queues/plain").await.status, 200);
    assert_eq!(stage.observer.count("plain.dlq").await, Some(0));
}

#[tokio::test]
async fn dead_letters_for_amq_default_arrive_in_the_queue_named_by_the_routing_key() {
    let stage = Stage::set("dead-default").await;
    stage.observer.declare_queue("dead").await;
    let json = r#"{"dead_letter":{"exchange":"amq.default","routing_key":"dead"}}"#;
    assert_eq!(stage.declare("/queues/q", json).await.status, 201);
    let request = stage.post("/publish/amq.default?routing_key=q").header("X-Amqp-Expiration", "0").body("x");
    assert_eq!(Answer::to(request).await.status, 200);
    assert_eq!(stage.observer.get_one("dead", SOON).await.data, b"x");
    let request = stage.publish().header("X-Amqp-Expiration", "315360000000").body("in ten years");
    assert_eq!(Answer::to(request).await.status, 200);
}

/// Whether RabbitMQ has an exchange of this name.
async fn has_exchange(stage: &Stage, name: &str) -> bool {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let channel = stage.observer.channel().await;
    channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, FieldTable::default()).await.is_ok()
}

/// Earlier versions left the dead letter exchange and queue after the refusal.
#[tokio::test]
async fn a_refused_declaration_leaves_no_dead_letter_exchange_or_queue() {
    let stage = Stage::set("refused-dead").await;
    stage.observer.declare_queue("plain").await;
    for (name, json, refusal) in [
        ("plain", r#"{"dead_letter":true}"#, problem(409, "precondition-failed")),
        ("new", r#"{"type":"stream","dead_letter":true}"#, problem(400, "malformed-request")),
        ("new", r#"{"expires_ms":0,"dead_letter":true}"#, problem(400, "malformed-request")),
        ("new", r#"{"dead_letter":true,"arguments":{"x-max-age":"1D"}}"#, problem(400, "malformed-request")),
    ] {
        let answer = stage.declare(&format!("/queues/{name}"), json).await;
        assert_eq!(answer.verdict(), refusal, "{json}");
        assert!(!answer.text("detail").contains("remains"), "{}", answer.text("detail"));
        assert_eq!(stage.observer.count(&format!("{name}.dlq")).await, None, "{json}");
        assert!(!has_exchange(&stage, &format!("{name}.dlx")).await, "{json}");
    }
    assert_eq!(stage.observer.count("new").await, None);
}

/// RabbitMQ deletes no quorum queue under conditions, so the gateway makes the dead-letter queue last.
#[tokio::test]
async fn a_refused_declaration_of_a_quorum_queue_leaves_nothing_behind() {
    let stage = Stage::set("refused-quorum").await;
    for wrong in [r#""max_priority":5"#, r#""auto_delete":true"#, r#""durable":false"#] {
        let json = format!(r#"{{"type":"quorum","dead_letter":true,{wrong}}}"#);
        let answer = stage.declare("/queues/q", &json).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{json}");
        assert!(!answer.text("detail").contains("remains"), "{}", answer.text("detail"));
        assert!(!has_exchange(&stage, "q.dlx").await, "{json}");
        assert_eq!((stage.observer.count("q.dlq").await, stage.observer.count("q").await), (None, None));
    }
}

#[tokio::test]
async fn a_refused_declaration_names_what_it_cannot_take_back() {
    let stage = Stage::set("refused-remains").await;
    let gateway = stage.gateway_as("no-dlq", "^(q|q\\.dlx|amq\\.gen-.*)$", ".*", ".*").await;
    let declare = gateway.put("/queues/q").header("content-type", "application/json");
    let answer = Answer::to(declare.body(r#"{"type":"quorum","dead_letter":true}"#)).await;
    assert_eq!(answer.verdict(), problem(403, "forbidden"));
    let remains = r#"this remains of what the gateway made: queue "q", exchange "q.dlx""#;
    assert!(answer.text("detail").contains(remains), "{}", answer.text("detail"));
    assert!(has_exchange(&stage, "q.dlx").await && stage.observer.count("q").await == Some(0));
    gateway.stop().await;
}

#[tokio::test]
async fn a_queue_cannot_be_its_own_dead_letter_queue() {
    let stage = Stage::set("own-dead").await;
    let answer = stage.declare("/queues/q", r#"{"dead_letter":{"queue":"q"}}"#).await;
    assert_eq!(
        (answer.verdict(), answer.text("field")),
        (problem(400, "malformed-request"), "dead_letter.queue".to_owned())
    );
    assert_eq!(stage.observer.count("q").await, None);
}

#[tokio::test]
async fn a_refused_declaration_deletes_nothing_that_existed_before() {
    let stage = Stage::set("refused-others").await;
    // The declaration made only the exchange.
    stage.observer.declare_queue_with("q.dlq", &[("x-max-length", AMQPValue::LongInt(5))]).await;
    let answer = stage.declare("/queues/q", r#"{"dead_letter":true}"#).await;
    assert_eq!(answer.verdict(), problem(409, "precondition-failed"));
    assert_eq!((stage.observer.count("q.dlq").await, stage.observer.count("q").await), (Some(0), None));
    assert!(!has_exchange(&stage, "q.dlx").await);
    // The declaration made nothing.
    stage.observer.declare_exchange("e", ExchangeKind::Fanout).await;
    stage.observer.declare_queue("kept").await;
    let json = r#"{"dead_letter":{"exchange":"e","queue":"kept"},"arguments":{"x-max-age":"1D"}}"#;
    assert_eq!(stage.declare("/queues/q", json).await.verdict(), problem(400, "malformed-request"));
    assert!(has_exchange(&stage, "e").await && stage.observer.count("kept").await == Some(0));
}

#[tokio::test]
async fn dead_letter_with_names_declares_the_named_exchange_and_queue() {
    let stage = Stage::set("detail").await;
    let json = r#"{"dead_letter":{"exchange":"grave","queue":"bones","routing_key":"k"}}"#;
    assert_eq!(stage.declare("/queues/q", json).await.status, 201);
    let request = stage.post("/publish/amq.default?routing_key=q").header("X-Amqp-Expiration", "1").body("x");
    assert_eq!(Answer::to(request).await.status, 200);
    let dead = stage.observer.get_one("bones", SOON).await;
    assert_eq!((dead.exchange.as_str(), dead.routing_key.as_str()), ("grave", "k"));
    assert_eq!(stage.declare("/queues/none", r#"{"dead_letter":false}"#).await.status, 201);
    stage.observer.declare_queue("none").await;
}

#[tokio::test]
async fn delete_answers_with_the_number_of_deleted_messages() {
    let stage = Stage::with_queue("delete").await;
    fill(&stage, "q", 2).await;
    let answer = stage.ask(Method::DELETE, "/queues/q?if_unused=true").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"messages_removed": 2})));
    assert_eq!(stage.observer.count("q").await, None);
    stage.observer.declare_queue("q").await;
    assert_eq!(stage.ask(Method::DELETE, "/queues/q?if_empty=true&if_unused=true").await.status, 200);
    assert_eq!(stage.ask(Method::DELETE, "/queues/q").await.status, 404);
}

#[tokio::test]
async fn delete_under_a_condition_that_fails_is_409_even_for_the_longest_name() {
    let stage = Stage::set("conditions").await;
    for name in ["message size".to_owned(), "inequivalent arg".to_owned(), "x".repeat(255)] {
        stage.observer.declare_queue(&name).await;
        let path = format!("/queues/{}", name.replace(' ', "%20"));
        fill(&stage, &name.replace(' ', "%20"), 1).await;
        let answer = stage.ask(Method::DELETE, &format!("{path}?if_empty=true")).await;
        assert_eq!(answer.verdict(), problem(409, "resource-in-use"), "{}", answer.json());
        stage.observer.drain(&name).await;
        let consumer = stage.observer.consume(&name).await;
        let answer = stage.ask(Method::DELETE, &format!("{path}?if_unused=true")).await;
        assert_eq!(answer.verdict(), problem(409, "resource-in-use"), "{}", answer.json());
        drop(consumer);
        assert_eq!(stage.ask(Method::DELETE, &path).await.status, 200);
    }
}

#[tokio::test]
async fn conditions_in_a_body_instead_of_the_query_are_400_and_nothing_is_deleted() {
    let stage = Stage::with_queue("conditions_in_body").await;
    stage.observer.declare_exchange("e", ExchangeKind::Fanout).await;
    fill(&stage, "q", 1).await;
    for (path, said) in [
        ("/queues/q", "if_unused, if_empty and timeout are parameters of the query"),
        ("/queues/q/messages", "timeout is a parameter of the query"),
        ("/queues/q/bindings/amq.topic", "routing_key, arguments and timeout are parameters of the query"),
        ("/exchanges/e", "if_unused and timeout are parameters of the query"),
    ] {
        let answer = Answer::to(stage.gateway.delete(path).body(r#"{"if_empty": true}"#)).await;
        assert_eq!((answer.status, answer.text("field").as_str()), (400, "body"), "{path}: {answer:?}");
        assert!(answer.text("detail").contains(said), "{path}: {}", answer.text("detail"));
    }
    assert_eq!(stage.observer.count("q").await, Some(1));
    assert_eq!(stage.ask(Method::GET, "/exchanges/e").await.status, 200);
}

#[tokio::test]
async fn purge_empties_the_queue_and_answers_with_the_count() {
    let stage = Stage::with_queue("purge").await;
    fill(&stage, "q", 3).await;
    let answer = stage.ask(Method::DELETE, "/queues/q/messages").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"messages_removed": 3})));
    assert_eq!(stage.ask(Method::DELETE, "/queues/q/messages").await.json(), json!({"messages_removed": 0}));
    assert_eq!(stage.observer.count("q").await, Some(0));
}

/// RabbitMQ answers some of these operations with 540 and closes the connection.
#[tokio::test]
async fn an_operation_that_the_queue_type_does_not_support_is_409_and_does_not_affect_others() {
    let stage = Stage::with_queue("cannot").await;
    for kind in ["quorum", "stream"] {
        let json = format!(r#"{{"type":"{kind}"}}"#);
        assert_eq!(stage.declare(&format!("/queues/{kind}"), &json).await.status, 201);
    }
    let impossible = async {
        for path in [
            "/queues/quorum?if_unused=true",
            "/queues/quorum?if_empty=true",
            "/queues/stream/messages",
            "/queues/stream?if_unused=true",
            "/queues/stream?if_empty=true",
        ] {
            let answer = stage.ask(Method::DELETE, path).await;
            assert_eq!(answer.verdict(), problem(409, "not-supported"), "{path}: {}", answer.json());
        }
    };
    let neighbours = async {
        loop {
            let (inspect, declare) =
                tokio::join!(stage.ask(Method::GET, "/queues/q"), stage.declare("/queues/q", "{}"));
            assert_eq!((inspect.status, declare.status), (200, 200));
        }
    };
    let race = async {
        tokio::select! {
            () = impossible => {}
            never = neighbours => never,
        }
    };
    within(SOON, "the impossible operations are refused", Box::pin(race)).await;
    for kind in ["quorum", "stream"] {
        assert_eq!(stage.ask(Method::GET, &format!("/queues/{kind}")).await.status, 200);
        assert_eq!(stage.ask(Method::DELETE, &format!("/queues/{kind}")).await.status, 200);
    }
}

/// RabbitMQ itself ignores the conditions and deletes the stream with all its messages.
#[tokio::test]
async fn a_stream_with_any_arguments_is_not_deleted_under_a_condition() {
    let stage = Stage::set("streams").await;
    for json in [
        r#"{"type":"stream"}"#,
        r#"{"type":"stream","max_length_bytes":1000000}"#,
        r#"{"type":"stream","arguments":{"x-max-age":"1h"}}"#,
        r#"{"type":"stream","arguments":{"x-stream-max-segment-size-bytes":1000000}}"#,
        r#"{"type":"stream","arguments":{"x-initial-cluster-size":1}}"#,
        r#"{"type":"stream","arguments":{"x-queue-leader-locator":"client-local"}}"#,
    ] {
        assert_eq!(stage.declare("/queues/s", json).await.status, 201, "{json}");
        for condition in ["if_empty", "if_unused"] {
            let answer = stage.ask(Method::DELETE, &format!("/queues/s?{condition}=true")).await;
            assert_eq!(answer.verdict(), problem(409, "not-supported"), "{json}: {}", answer.json());
        }
        assert_eq!(stage.ask(Method::DELETE, "/queues/s").await.status, 200, "{json}");
    }
}

#[tokio::test]
async fn an_empty_queue_with_any_arguments_is_deleted_under_a_condition() {
    let stage = Stage::set("no-streams").await;
    for json in [
        r#"{"durable":false}"#,
        r#"{"auto_delete":true}"#,
        r#"{"type":"classic","max_length":5,"max_length_bytes":1000000}"#,
        r#"{"max_length_bytes":1000000,"expires_ms":600000,"max_priority":5,"single_active_consumer":true}"#,
        r#"{"message_ttl_ms":5,"max_length_bytes":1000000,"dead_letter":{"exchange":"x","routing_key":"y"}}"#,
    ] {
        assert_eq!(stage.declare("/queues/q", json).await.status, 201, "{json}");
        let answer = stage.ask(Method::DELETE, "/queues/q?if_empty=true&if_unused=true").await;
        assert_eq!(answer.status, 200, "{json}: {}", answer.json());
    }
}

/// The question that the gateway asks RabbitMQ to find out whether a queue is a stream.
#[tokio::test]
async fn the_check_for_a_stream_makes_no_queue_where_none_exists() {
    let stage = Stage::set("no-trace").await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("stream"));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(-1));
    let channel = stage.observer.channel().await;
    let asked = channel.queue_declare("q".into(), QueueDeclareOptions::durable(), arguments).await;
    assert!(asked.is_err());
    assert_eq!(stage.observer.count("q").await, None);
}

#[tokio::test]
async fn exclusive_queue_of_another_connection_is_409_locked() {
    let stage = Stage::set("locked").await;
    exclusive_queue(&stage.observer, "q").await;
    for (method, path) in [
        (Method::GET, "/queues/q"),
        (Method::PUT, "/queues/q"),
        (Method::DELETE, "/queues/q"),
        (Method::DELETE, "/queues/q/messages"),
    ] {
        let answer = stage.ask(method.clone(), path).await;
        assert_eq!(answer.verdict(), problem(409, "resource-locked"), "{method} {path}");
    }
}

#[tokio::test]
async fn names_that_are_reserved_for_rabbitmq_are_403() {
    let stage = Stage::set("amq").await;
    let cases = [
        ("/queues/amq.mine", "{}"),
        ("/queues/q", r#"{"dead_letter":{"exchange":"x","queue":"amq.q"}}"#),
        ("/queues/q", r#"{"dead_letter":{"exchange":"amq.fanout","queue":"y"}}"#),
        (
            "/queues/q",
            r#"{"arguments":{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"amq.gen-x"}}"#,
        ),
        ("/queues/q", r#"{"dead_letter":{"exchange":"","routing_key":"amq.rabbitmq.trace"}}"#),
    ];
    for (path, json) in cases {
        let answer = stage.declare(path, json).await;
        assert_eq!(answer.verdict(), problem(403, "reserved-name"), "{path} {json}: {}", answer.json());
    }
    assert_eq!(stage.observer.count("q").await, None);
}

#[tokio::test]
async fn operation_without_permission_in_rabbitmq_is_403() {
    let stage = Stage::with_queue("no-permission").await;
    let gateway = stage.gateway_as("looker", "", "", "").await;
    for (method, path) in
        [(Method::PUT, "/queues/new"), (Method::DELETE, "/queues/q"), (Method::DELETE, "/queues/q/messages")]
    {
        let answer = Answer::to(gateway.client().request(method.clone(), gateway.url(path))).await;
        assert_eq!(answer.verdict(), problem(403, "forbidden"), "{method} {path}: {}", answer.json());
    }
}

/// A declaration that is refused with 400, and the field that the problem names.
const REFUSED: &[(&str, &str)] = &[
    ("[]", "body"),
    ("{", "body"),
    ("{} {}", "body"),
    (r#"{"ttl":5}"#, "ttl"),
    (r#"{"durable":"yes"}"#, "durable"),
    (r#"{"durable":true,"durable":true}"#, "durable"),
    (r#"{"type":"fast"}"#, "type"),
    (r#"{"overflow":"drop"}"#, "overflow"),
    (r#"{"message_ttl_ms":-1}"#, "message_ttl_ms"),
    (r#"{"message_ttl_ms":1.5}"#, "message_ttl_ms"),
    (r#"{"max_priority":256}"#, "max_priority"),
    (r#"{"max_length_bytes":18446744073709551615}"#, "max_length_bytes"),
    (r#"{"dead_letter":"x"}"#, "dead_letter"),
    (r#"{"dead_letter":{}}"#, "dead_letter"),
    (r#"{"dead_letter":{"queue":"a\nb"}}"#, "dead_letter.queue"),
    (r#"{"dead_letter":{"queue":"q","exchange":"a\nb"}}"#, "dead_letter.exchange"),
    (r#"{"dead_letter":{"exchange":"x","routing_key":"a\r"}}"#, "dead_letter.routing_key"),
    (r#"{"arguments":[]}"#, "arguments"),
    (r#"{"arguments":{"a":1,"a":2}}"#, "arguments.a"),
    (r#"{"arguments":{"a":{"$amqp":"int8","value":300}}}"#, "arguments.a"),
    (r#"{"arguments":{"x-max-length-bytes":18446744073709551616}}"#, "arguments.x-max-length-bytes"),
    (r#"{"max_length":5,"arguments":{"x-max-length":6}}"#, "max_length"),
    (r#"{"type":"quorum","arguments":{"x-queue-type":"classic"}}"#, "type"),
    (r#"{"overflow":"drop-head","arguments":{"x-overflow":"reject-publish"}}"#, "overflow"),
    (r#"{"dead_letter":true,"arguments":{"x-dead-letter-exchange":"other"}}"#, "dead_letter"),
    (
        r#"{"single_active_consumer":true,"arguments":{"x-single-active-consumer":false}}"#,
        "single_active_consumer",
    ),
];

#[tokio::test]
async fn wrong_declaration_is_400_and_the_problem_names_the_field() {
    let stage = Stage::set("wrong").await;
    let mut mistakes = Vec::new();
    for (json, field) in REFUSED {
        let answer = stage.declare("/queues/q", json).await;
        if (answer.verdict(), answer.text("field").as_str()) != (problem(400, "malformed-request"), *field) {
            mistakes.push(format!("{json}: {}", answer.json()));
        }
    }
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    assert_eq!(stage.observer.count("q").await, None);
}

#[tokio::test]
async fn declaration_that_rabbitmq_refuses_is_400() {
    let stage = Stage::set("invalid").await;
    for json in [
        r#"{"expires_ms":0}"#,
        r#"{"type":"quorum","durable":false}"#,
        r#"{"type":"stream","message_ttl_ms":5}"#,
    ] {
        let answer = stage.declare("/queues/q", json).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{json}: {}", answer.json());
    }
    assert_eq!(stage.declare("/queues/q", "{}").await.status, 201);
}

#[tokio::test]
async fn name_with_a_line_break_is_400_and_never_another_queue() {
    let stage = Stage::set("breaks").await;
    stage.observer.declare_queue("secret").await;
    let long = format!("/queues/{}", "x".repeat(256));
    for path in ["/queues/sec%0Aret", "/queues/sec%0Dret", "/queues/secret%00", long.as_str()] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = stage.ask(method, path).await;
            assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{path}");
            assert_eq!(answer.text("field"), "queue");
        }
        let answer = stage.ask(Method::DELETE, &format!("{path}/messages")).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{path}");
    }
    assert_eq!(stage.observer.count("secret").await, Some(0));
}

#[tokio::test]
async fn names_are_used_byte_for_byte() {
    let stage = Stage::set("byte-names").await;
    for (path, name) in [
        ("a%2Fb", "a/b"),
        ("%20a%20", " a "),
        ("%C3%A9", "é"),
        ("a+b", "a+b"),
        ("a%2Fmessages", "a/messages"),
    ] {
        let answer = stage.declare(&format!("/queues/{path}"), "{}").await;
        assert_eq!((answer.status, answer.text("name")), (201, name.to_owned()));
        assert_eq!(stage.observer.count(name).await, Some(0));
        assert_eq!(stage.ask(Method::DELETE, &format!("/queues/{path}/messages")).await.status, 200);
        assert_eq!(stage.ask(Method::DELETE, &format!("/queues/{path}")).await.status, 200);
    }
}

#[tokio::test]
async fn body_that_is_not_json_is_415() {
    let stage = Stage::set("media").await;
    let put = |headers: &[(&str, &str)]| {
        let request = stage.gateway.put("/queues/q").body("{}");
        Answer::to(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
    };
    let json = ("content-type", "application/json");
    for headers in [&[][..], &[("content-type", "text/plain")], &[json, ("content-encoding", "gzip")]] {
        assert_eq!(put(headers).await.verdict(), problem(415, "unsupported-media-type"), "{headers:?}");
    }
    assert_eq!(put(&[("content-type", "application/json; charset=utf-8")]).await.status, 201);
}

#[tokio::test]
async fn unknown_parameters_and_timeouts_over_the_maximum_are_400() {
    let stage = Stage::with_queue("parameters").await;
    let cases = [
        (Method::GET, "/queues/q?if_empty=true", "if_empty"),
        (Method::GET, "/queues/q?timeout=61s", "timeout"),
        (Method::PUT, "/queues/q?timeout=0", "timeout"),
        (Method::DELETE, "/queues/q?if_unused=1", "if_unused"),
        (Method::DELETE, "/queues/q?if_used=true", "if_used"),
        (Method::DELETE, "/queues/q/messages?if_empty=true", "if_empty"),
    ];
    for (method, path, field) in cases {
        let answer = stage.ask(method, path).await;
        assert_eq!((answer.status, answer.text("field")), (400, field.to_owned()), "{path}");
    }
    assert_eq!(stage.ask(Method::GET, "/queues/q?timeout=60s").await.status, 200);
}

/// lapin never forgets how RabbitMQ closed a channel of some number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_is_found_after_more_requests_for_missing_queues_than_a_connection_has_channels() {
    const CHANNELS: usize = 2_047;
    const CALLERS: usize = 16;
    let stage = Stage::with_queue("missing-often").await;
    let look = |_| async {
        for _ in 0..=CHANNELS / CALLERS {
            let answer = stage.ask(Method::GET, "/queues/missing").await;
            assert_eq!(answer.verdict(), (404, "queue-not-found".to_owned()));
        }
    };
    futures_util::future::join_all((0..CALLERS).map(look)).await;
    assert_eq!(stage.ask(Method::GET, "/queues/q").await.status, 200);
}
