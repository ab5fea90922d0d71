//! Whole topologies: `PUT /topology`. The second AMQP client and RabbitMQ itself check the results.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    broker::Broker,
    contract::Answer,
    gateway::TestGateway,
    observer::Observer,
    poll::{eventually, within},
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(30);

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

async fn apply(gateway: &TestGateway, query: &str, document: &Value) -> Answer {
    let request = gateway.put(&format!("/topology{query}")).header("content-type", "application/json");
    within(SOON, "an answer", Answer::to(request.body(document.to_string()))).await
}

/// The results, in the order of the document.
fn results(answer: &Answer) -> Vec<String> {
    let items = answer.json()["results"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["result"].as_str().unwrap_or_default().to_owned()).collect()
}

fn orders() -> Value {
    json!({
        "exchanges": [{"name": "orders", "type": "topic", "alternate_exchange": "unrouted"}, {"name": "unrouted", "type": "fanout"}],
        "queues": [{"name": "eu", "type": "quorum", "dead_letter": true}, {"name": "lost"}],
        "bindings": [
            {"source": "orders", "queue": "eu", "routing_key": "eu.#"},
            {"source": "unrouted", "queue": "lost"},
            {"source": "amq.topic", "exchange": "orders", "routing_key": "#"},
        ],
    })
}

#[tokio::test]
async fn a_document_is_applied_and_applying_it_again_changes_nothing() {
    let stage = Stage::set("topology").await;
    let answer = apply(&stage.gateway, "", &orders()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(results(&answer), ["created", "created", "created", "created", "bound", "bound", "bound"]);
    let first = answer.json()["results"][4].clone();
    assert_eq!(first, json!({"item": "bindings[0]", "name": "orders -> eu", "result": "bound"}));
    let again = apply(&stage.gateway, "", &orders()).await;
    assert_eq!(results(&again), ["exists", "exists", "exists", "exists", "bound", "bound", "bound"]);
    for (exchange, key, queue) in
        [("orders", "eu.new", "eu"), ("orders", "us.new", "lost"), ("amq.topic", "eu.x", "eu")]
    {
        assert_eq!(stage.gateway.publish(exchange, key, "x").await.status(), 200);
        stage.observer.get_one(queue, SOON).await;
    }
    for name in ["eu.dlx", "eu.dlq"] {
        let kind = if name.ends_with('x') { "exchanges" } else { "queues" };
        assert_eq!(stage.ask(Method::GET, &format!("/{kind}/{name}")).await.status, 200, "{name}");
    }
}

/// Each type of AMQP, as JSON and in RabbitMQ's own words.
const TYPES: [(&str, &str, &str); 17] = [
    ("bool", "true", "bool,true"),
    ("int8", r#"{"$amqp":"int8","value":-5}"#, "byte,-5"),
    ("uint8", r#"{"$amqp":"uint8","value":5}"#, "unsignedbyte,5"),
    ("int16", r#"{"$amqp":"int16","value":-5}"#, "short,-5"),
    ("uint16", r#"{"$amqp":"uint16","value":5}"#, "unsignedshort,5"),
    ("int32", r#"{"$amqp":"int32","value":-5}"#, "signedint,-5"),
    ("uint32", r#"{"$amqp":"uint32","value":5}"#, "unsignedint,5"),
    ("int64", "5", "long,5"),
    ("float32", r#"{"$amqp":"float32","value":0.5}"#, "float,0.5"),
    ("float64", "0.25", "double,0.25"),
    ("decimal", r#"{"$amqp":"decimal","value":{"scale":2,"value":314}}"#, "decimal,{2,314}"),
    ("text", r#""a""#, "longstr,<<\"a\">>"),
    ("bytes", r#"{"$amqp":"bytes","value":"AP8="}"#, "binary,<<0,255>>"),
    ("list", "[1,true]", "array,[{long,1},{bool,true}]"),
    ("time", r#"{"$amqp":"timestamp","value":5}"#, "timestamp,5"),
    ("table", r#"{"in":1}"#, "table,[{<<\"in\">>,long,1}]"),
    ("void", "null", "void,undefined"),
];

#[tokio::test]
async fn each_argument_of_each_kind_of_item_arrives_in_rabbitmq_with_its_type() {
    let stage = Stage::set("topology-types").await;
    let arguments: Vec<_> = TYPES.iter().map(|(name, json, _)| format!(r#""t-{name}":{json}"#)).collect();
    let arguments = format!("{{{}}}", arguments.join(","));
    let document = format!(
        r#"{{"exchanges":[{{"name":"e","type":"headers","arguments":{arguments}}}],
            "queues":[{{"name":"q","arguments":{arguments}}}],
            "bindings":[{{"source":"e","queue":"q","arguments":{arguments}}}]}}"#
    );
    let request = stage.gateway.put("/topology").header("content-type", "application/json");
    let answer = Answer::to(request.body(document)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told =
        [stage.vhost.exchange("e").await, stage.vhost.queue("q").await, stage.vhost.bindings("e").await];
    for (name, _, said) in TYPES {
        let said = format!("{{<<\"t-{name}\">>,{said}}}");
        for told in &told {
            assert!(told.contains(&said), "{said}: {told}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_exists_and_makes_nothing() {
    let stage = Stage::set("topology-dry").await;
    stage.declare("/queues/lost", "{}").await;
    let answer = apply(&stage.gateway, "?dry_run=true", &orders()).await;
    assert_eq!(results(&answer), ["absent", "absent", "absent", "exists", "unknown", "unknown", "unknown"]);
    for path in
        ["/exchanges/orders", "/exchanges/unrouted", "/queues/eu", "/queues/eu.dlq", "/exchanges/eu.dlx"]
    {
        assert_eq!(stage.ask(Method::GET, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_queue_without_its_dead_letter_queue_is_absent_in_a_dry_run_and_created_when_applied() {
    let stage = Stage::set("topology-pair").await;
    let document = json!({"queues": [{"name": "q", "dead_letter": true}]});
    assert_eq!(results(&apply(&stage.gateway, "", &document).await), ["created"]);
    stage.observer.delete_queue("q.dlq").await;
    assert_eq!(results(&apply(&stage.gateway, "?dry_run=true", &document).await), ["absent"]);
    assert_eq!(results(&apply(&stage.gateway, "", &document).await), ["created"]);
    assert_eq!(stage.observer.count("q.dlq").await, Some(0));
    assert_eq!(results(&apply(&stage.gateway, "?dry_run=true", &document).await), ["exists"]);
    assert_eq!(results(&apply(&stage.gateway, "", &document).await), ["exists"]);
}

#[tokio::test]
async fn an_unknown_type_of_exchange_is_400_before_another_exchange_is_made() {
    let stage = Stage::set("topology-type").await;
    let document = json!({"exchanges": [{"name": "a", "type": "topic"}, {"name": "b", "type": "x-nothing"}]});
    let answer = apply(&stage.gateway, "", &document).await;
    assert_eq!((answer.status, answer.text("field").as_str()), (400, "exchanges[1].type"), "{answer:?}");
    assert!(answer.text("detail").ends_with("nothing was made"), "{}", answer.text("detail"));
    assert_eq!(answer.json().get("results"), None);
    assert_eq!(stage.ask(Method::GET, "/exchanges/a").await.status, 404);
}

#[tokio::test]
async fn a_document_over_a_conflicting_queue_is_409_names_it_and_makes_nothing() {
    let stage = Stage::set("topology-conflict").await;
    stage.declare("/queues/lost", r#"{"max_length":5}"#).await;
    let answer = apply(&stage.gateway, "", &orders()).await;
    assert_eq!(answer.verdict(), problem(409, "precondition-failed"));
    let detail = answer.text("detail");
    assert!(detail.starts_with("queues[1]: ") && detail.contains("'x-max-length'"), "{detail}");
    assert_eq!(answer.text("field"), "queues[1]");
    assert_eq!(answer.json().get("results"), None, "nothing was made");
    for path in
        ["/exchanges/orders", "/exchanges/unrouted", "/queues/eu", "/queues/eu.dlq", "/exchanges/eu.dlx"]
    {
        assert_eq!(stage.ask(Method::GET, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_end_of_a_binding_that_does_not_exist_is_404_and_nothing_is_made() {
    let stage = Stage::set("topology-reference").await;
    for (binding, name) in [
        (json!({"source": "nowhere", "queue": "q"}), "exchange-not-found"),
        (json!({"source": "amq.topic", "queue": "nowhere"}), "queue-not-found"),
    ] {
        let document =
            json!({"queues": [{"name": "q"}], "bindings": [{"source": "amq.topic", "queue": "q"}, binding]});
        let answer = apply(&stage.gateway, "", &document).await;
        assert_eq!(answer.verdict(), problem(404, name));
        assert!(answer.text("detail").starts_with("bindings[1]: "), "{}", answer.text("detail"));
        assert_eq!(stage.ask(Method::GET, "/queues/q").await.status, 404);
    }
}

#[tokio::test]
async fn wrong_documents_are_refused_with_the_item_and_the_field() {
    let stage = Stage::set_with("topology-wrong", &[("GATEWAY_MAX_TOPOLOGY_ITEMS", "3")]).await;
    let queue = |rest: &str| {
        serde_json::from_str::<Value>(&format!("{{\"queues\":[{{\"name\":\"a\"}},{rest}]}}")).unwrap()
    };
    for (document, status, field) in [
        (json!([]), 400, "body"),
        (json!({"queue": []}), 400, "queue"),
        (queue(r#"{"name":"a"}"#), 400, "queues[1]"),
        (queue(r#"{"type":"quorum"}"#), 400, "queues[1].name"),
        (queue(r#"{"name":""}"#), 400, "queues[1].name"),
        (queue(r#"{"name":"b","tipe":"quorum"}"#), 400, "queues[1].tipe"),
        (queue(r#"{"name":"b","max_length":-1}"#), 400, "queues[1].max_length"),
        (queue(r#"{"name":"b","type":"quorum","durable":false}"#), 400, "queues[1].durable"),
        (queue(r#"{"name":"b","type":"stream","message_ttl_ms":5}"#), 400, "queues[1].message_ttl_ms"),
        (queue(r#"{"name":"b","type":"classic","delivery_limit":5}"#), 400, "queues[1].delivery_limit"),
        (queue(r#"{"name":"b","arguments":{"n":18446744073709551615}}"#), 400, "queues[1].arguments.n"),
        (queue(r#"{"name":"a.dlq"},{"name":"c","dead_letter":{"queue":"a.dlq"}}"#), 400, "queues[2]"),
        (queue(r#"{"name":"amq.mine"}"#), 403, "queues[1]"),
        (queue(r#"{"name":"b"},{"name":"c"},{"name":"d"}"#), 413, ""),
        (json!({"bindings": [{"source": "e", "queue": "q", "exchange": "f"}]}), 400, "bindings[0].queue"),
        (json!({"bindings": [{"source": "e"}]}), 400, "bindings[0].queue"),
        (json!({"exchanges": [{"name": "e"}]}), 400, "exchanges[0].type"),
    ] {
        let answer = apply(&stage.gateway, "", &document).await;
        assert_eq!((answer.status, answer.text("field").as_str()), (status, field), "{document}: {answer:?}");
    }
    let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let request = stage.gateway.put("/topology").header("content-type", "application/json");
    assert_eq!(Answer::to(request.body(format!("{{\"queues\":{nested}}}"))).await.status, 400);
    assert_eq!(stage.ask(Method::GET, "/queues/a").await.status, 404, "a refused document made nothing");
}

#[tokio::test]
async fn cycles_of_exchange_bindings_and_of_dead_letters_are_applied_and_publishes_through_them_end() {
    let stage = Stage::set("topology-cycle").await;
    let document = json!({
        "exchanges": [{"name": "a", "type": "fanout"}, {"name": "b", "type": "fanout"}],
        "queues": [{"name": "q", "dead_letter": {"exchange": "a"}}],
        "bindings": [{"source": "a", "exchange": "b"}, {"source": "b", "exchange": "a"}, {"source": "b", "queue": "q"}],
    });
    assert_eq!(apply(&stage.gateway, "", &document).await.status, 200);
    assert_eq!(stage.gateway.publish("a", "", "x").await.status(), 200);
    stage.observer.get_one("q", SOON).await;
}

/// The plugin's type is unknown, so RabbitMQ refuses it after the other exchange was made.
#[tokio::test]
async fn a_document_that_rabbitmq_refuses_in_the_middle_lists_what_was_made() {
    let stage = Stage::set("topology-middle").await;
    let document = json!({
        "exchanges": [{"name": "good", "type": "topic"}],
        "queues": [{"name": "bad", "arguments": {"x-plugin": {"$amqp": "int8", "value": 1}, "x-max-priority": 5, "x-queue-type": "quorum"}}],
        "bindings": [{"source": "good", "queue": "bad"}],
    });
    let answer = apply(&stage.gateway, "", &document).await;
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    assert!(answer.text("detail").starts_with("queues[0]: "), "{}", answer.text("detail"));
    assert_eq!(results(&answer), ["created", "failed", "not_done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_a_kill_of_rabbitmq_interrupts_is_completed_by_applying_it_again() {
    let broker = Broker::own().await;
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url())]).await;
    let queues: Vec<_> = (0..150).map(|n| json!({"name": format!("q{n}")})).collect();
    let exchanges: Vec<_> = (0..50).map(|n| json!({"name": format!("e{n}"), "type": "topic"})).collect();
    let bindings: Vec<_> = (0..100)
        .map(|n| json!({"source": format!("e{}", n % 50), "queue": format!("q{n}"), "routing_key": "#"}))
        .collect();
    let document = json!({"queues": queues, "exchanges": exchanges, "bindings": bindings});
    let kill = async {
        let observer = Observer::connect(&broker.url()).await;
        eventually(SOON, "a queue is made", || async { observer.count("q5").await.is_some() }).await;
        broker.kill().await;
    };
    let (first, ()) = tokio::join!(apply(&gateway, "?timeout=4s", &document), kill);
    assert!([503, 504].contains(&first.status), "{first:?}");
    assert_eq!(results(&first).len(), 300, "the problem lists the result of each item");
    broker.start().await;
    let again = apply(&gateway, "?timeout=60s", &document).await;
    assert_eq!(again.status, 200, "{again:?}");
    // Each exchange has two of the queues, and fifty queues have no binding.
    for n in 0..50 {
        assert_eq!(gateway.publish(&format!("e{n}"), "any", "x").await.status(), 200, "e{n}");
    }
    let observer = Observer::connect(&broker.url()).await;
    for n in 0..150 {
        assert_eq!(observer.count(&format!("q{n}")).await, Some(u32::from(n < 100)), "q{n}");
    }
}
