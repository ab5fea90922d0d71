//! Hostile topology documents: clear answers in time, nothing made, and no error for those who publish beside them.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    contract::Answer,
    gateway::TestGateway,
    load::{Load, publish},
    poll::{eventually, within},
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(30);

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

async fn apply(gateway: &TestGateway, query: &str, document: impl ToString) -> Answer {
    let request = gateway.put(&format!("/topology{query}")).header("content-type", "application/json");
    within(SOON, "an answer", Answer::to(request.body(document.to_string()))).await
}

fn results(answer: &Answer) -> Vec<String> {
    let items = answer.json()["results"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["result"].as_str().unwrap_or_default().to_owned()).collect()
}

fn queues(prefix: &str, count: usize) -> Value {
    json!({"queues": (0..count).map(|n| json!({"name": format!("{prefix}{n}")})).collect::<Vec<_>>()})
}

/// Publishes beside the test.
fn beside(stage: &Stage) -> Load {
    Load::start(&stage.gateway, "beside", 4, |_| "amq.default?routing_key=q".to_owned())
}

/// A document with a queue `a`, and this list.
fn with_queue(list: &str, items: &str) -> String {
    let comma = if items.is_empty() { "" } else { "," };
    match list {
        "queues" => format!(r#"{{"queues":[{{"name":"a"}}{comma}{items}]}}"#),
        other => format!(r#"{{"queues":[{{"name":"a"}}],"{other}":[{items}]}}"#),
    }
}

#[tokio::test]
async fn hostile_documents_are_refused_with_the_item_and_the_field_and_nothing_is_made() {
    let stage = Stage::set("hostile").await;
    let long = "x".repeat(252);
    let with_long = |text: &str| text.replace("LONG", &long);
    for (list, items, status, field) in [
        ("bindings", r#"["amq.topic","a",null,null,{}]"#, 400, "bindings[0]"),
        (
            "bindings",
            r#"{"source":"amq.topic","source":"amq.direct","queue":"a"}"#,
            400,
            "bindings[0].source",
        ),
        ("bindings", r#"{"source":"amq.default","queue":"a"}"#, 400, "bindings[0].exchange"),
        ("bindings", r#"{"source":"amq.topic","exchange":"amq.default"}"#, 400, "bindings[0].exchange"),
        ("bindings", r#"{"source":"","queue":"a"}"#, 400, "bindings[0].source"),
        (
            "bindings",
            r#"{"source":"amq.topic","queue":"a","routing_key":"a\nb"}"#,
            400,
            "bindings[0].routing_key",
        ),
        ("queues", r#"["b"]"#, 400, "queues[1]"),
        ("queues", "null", 400, "queues[1]"),
        ("queues", r#"{"name":"b","name":"c"}"#, 400, "queues[1].name"),
        ("queues", r#"{"name":"b","durable":true,"durable":false}"#, 400, "queues[1].durable"),
        ("queues", r#"{"name":"b","arguments":{"x":1,"x":2}}"#, 400, "queues[1].arguments.x"),
        ("queues", r#"{"name":"b\n"}"#, 400, "queues[1].name"),
        ("queues", r#"{"name":"LONGLONG"}"#, 400, "queues[1].name"),
        ("queues", r#"{"name":"LONG","dead_letter":true}"#, 400, "queues[1].dead_letter.exchange"),
        (
            "queues",
            r#"{"name":"b","dead_letter":true,"arguments":{"x-dead-letter-exchange":"c"}}"#,
            400,
            "queues[1].dead_letter",
        ),
        ("queues", r#"{"name":"b","dead_letter":{"queue":"b"}}"#, 400, "queues[1].dead_letter.queue"),
        ("queues", r#"{"name":"b","dead_letter":{"queue":"a"}}"#, 400, "queues[1]"),
        ("queues", r#"{"name":"b","dead_letter":true},{"name":"b.dlq"}"#, 400, "queues[1]"),
        (
            "queues",
            r#"{"name":"b","arguments":{"x-dead-letter-exchange":"a\nb"}}"#,
            400,
            "queues[1].arguments.x-dead-letter-exchange",
        ),
        (
            "queues",
            r#"{"name":"b","arguments":{"x-dead-letter-routing-key":"k"}}"#,
            400,
            "queues[1].arguments.x-dead-letter-routing-key",
        ),
        ("queues", r#"{"name":"amq.gen-b"}"#, 403, "queues[1]"),
        (
            "exchanges",
            r#"{"name":"b.dlx","type":"topic"},{"name":"b.dlx","type":"topic"}"#,
            400,
            "exchanges[1]",
        ),
        ("exchanges", r#"{"name":"amq.topic","type":"topic"}"#, 403, "exchanges[0]"),
        ("exchanges", r#"{"name":"amq.default","type":"direct"}"#, 403, "exchanges[0]"),
        (
            "exchanges",
            r#"{"name":"e","type":"topic","arguments":{"alternate-exchange":"LONGLONG"}}"#,
            400,
            "exchanges[0].arguments.alternate-exchange",
        ),
    ] {
        let document = with_queue(list, &with_long(items));
        let answer = apply(&stage.gateway, "", &document).await;
        assert_eq!((answer.status, answer.text("field").as_str()), (status, field), "{document}: {answer:?}");
        let detail = answer.text("detail");
        assert!(detail.starts_with(field), "the sentence begins with the path of the field: {detail}");
    }
    let collision =
        apply(&stage.gateway, "", with_queue("queues", r#"{"name":"b","dead_letter":{"queue":"a"}}"#)).await;
    assert!(collision.text("detail").contains("dead_letter with an exchange and without a queue"));
    for name in ["a", "b", "b.dlq"] {
        assert_eq!(stage.observer.count(name).await, None, "{name}");
    }
}

/// RabbitMQ accepts such an exchange or queue, and then drops the messages.
#[tokio::test]
async fn an_item_that_refers_to_an_absent_object_is_404_and_nothing_is_made() {
    let stage = Stage::set("hostile-absent").await;
    for (list, items, name, field) in [
        (
            "exchanges",
            r#"{"name":"e","type":"topic","alternate_exchange":"nowhere"}"#,
            "exchange-not-found",
            "exchanges[0].alternate_exchange",
        ),
        (
            "queues",
            r#"{"name":"b","dead_letter":{"exchange":"nowhere"}}"#,
            "exchange-not-found",
            "queues[1].dead_letter",
        ),
        (
            "queues",
            r#"{"name":"b","arguments":{"x-dead-letter-exchange":"nowhere"}}"#,
            "exchange-not-found",
            "queues[1].dead_letter",
        ),
        (
            "queues",
            r#"{"name":"b","dead_letter":{"exchange":"amq.default","routing_key":"nowhere"}}"#,
            "queue-not-found",
            "queues[1].dead_letter",
        ),
        ("bindings", r#"{"source":"amq.topic","queue":"amq.gen-x"}"#, "queue-not-found", "bindings[0]"),
    ] {
        for query in ["", "?dry_run=true"] {
            let answer = apply(&stage.gateway, query, with_queue(list, items)).await;
            assert_eq!(
                (answer.verdict(), answer.text("field")),
                (problem(404, name), field.to_owned()),
                "{items}"
            );
            assert!(answer.text("detail").ends_with("; nothing was made"), "{}", answer.text("detail"));
            assert_eq!(stage.observer.count("a").await, None, "{items}");
        }
    }
    let itself = json!({"exchanges": [{"name": "e", "type": "topic", "alternate_exchange": "e"}]});
    assert_eq!(apply(&stage.gateway, "", itself).await.status, 200, "RabbitMQ stops at the second visit");
    assert_eq!(publish(&stage.gateway, "e?routing_key=k", "id").await.status, 422);
}

#[tokio::test]
async fn a_refused_queue_names_what_was_made_for_its_dead_letters() {
    let stage = Stage::set("hostile-pair").await;
    // Without a type the virtual host decides the type: here it is classic, which has no delivery limit.
    let document = json!({"queues": [{"name": "b", "delivery_limit": 5, "dead_letter": true}]});
    let answer = apply(&stage.gateway, "", document).await;
    assert_eq!(answer.verdict(), problem(400, "malformed-request"));
    let remains = r#"this remains of what the gateway made: exchange "b.dlx", queue "b.dlq""#;
    assert!(answer.text("detail").contains(remains), "{}", answer.text("detail"));
    assert_eq!(stage.observer.count("b.dlq").await, Some(0));
    let gateway = stage.gateway_as("hostile-pair", "^(c|amq\\.gen-|c\\.dlx).*", ".*", ".*").await;
    let document = json!({"queues": [{"name": "c", "dead_letter": {"queue": "theirs"}}]});
    let answer = apply(&gateway, "", document).await;
    assert_eq!(answer.verdict(), problem(403, "forbidden"));
    let remains = r#"this remains of what the gateway made: exchange "c.dlx""#;
    assert!(answer.text("detail").contains(remains), "{}", answer.text("detail"));
}

#[tokio::test]
async fn an_object_that_rabbitmq_forbids_is_403_and_names_the_item() {
    let stage = Stage::set("hostile-forbidden").await;
    stage.observer.declare_queue("theirs").await;
    let gateway = stage.gateway_as("hostile-few", "^(mine|amq\\.gen-.*)", ".*", ".*").await;
    for (other, results_then) in [("theirs", vec![]), ("absent", vec!["created", "failed", "not_done"])] {
        let document = json!({
            "queues": [{"name": "mine"}, {"name": other}],
            "bindings": [{"source": "amq.topic", "queue": "mine"}],
        });
        let answer = apply(&gateway, "", document).await;
        assert_eq!(answer.verdict(), problem(403, "forbidden"), "{other}");
        assert!(answer.text("detail").starts_with("queues[1]: "), "{}", answer.text("detail"));
        assert_eq!(results(&answer), results_then, "{other}");
    }
    gateway.stop().await;
}

/// RabbitMQ 3.10 closes the connection over each of these types.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_unknown_types_is_400_and_publishes_beside_it_succeed() {
    let stage = Stage::with_queue("hostile-types").await;
    let load = beside(&stage);
    let exchanges: Vec<_> =
        (0..5).map(|n| json!({"name": format!("e{n}"), "type": "x-delayed-message"})).collect();
    let answer = apply(&stage.gateway, "", json!({"exchanges": exchanges})).await;
    assert_eq!(answer.verdict(), problem(400, "malformed-request"));
    assert!(answer.text("field").starts_with("exchanges[") && answer.text("field").ends_with("].type"));
    assert!(answer.text("detail").contains("rabbitmq_delayed_message_exchange"), "{}", answer.text("detail"));
    assert_eq!(apply(&stage.gateway, "", queues("after", 3)).await.status, 200);
    load.flows(1, SOON).await;
    load.stop().await.assert_all_confirmed();
}

#[tokio::test]
async fn a_document_of_a_million_items_is_refused_by_their_number() {
    let stage = Stage::set("hostile-million").await;
    let items = vec![r#"{"name":""}"#; 500_000].join(",");
    let answer = apply(
        &stage.gateway,
        "",
        format!("{{\"queues\":[{items}],\"exchanges\":[{}]}}", vec!["5"; 500_000].join(",")),
    )
    .await;
    assert_eq!((answer.status, answer.json()["limit"].as_u64()), (413, Some(1000)));
    assert!(answer.text("detail").contains("1000000 items"), "{}", answer.text("detail"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_items_with_a_short_timeout_and_many_documents_at_once_end_in_time() {
    let stage = Stage::with_queue("hostile-many").await;
    let settings = [("AMQP_URL", &*stage.vhost.url), ("GATEWAY_MAX_TOPOLOGY_ITEMS", "10000")];
    let gateway = TestGateway::start(&settings).await;
    let load = beside(&stage);
    let since = Instant::now();
    let long = apply(&gateway, "?dry_run=true&timeout=500ms", queues("long", 10_000)).await;
    assert!([503, 504].contains(&long.status), "{long:?}");
    assert!(long.text("detail").ends_with("; nothing was made"), "{}", long.text("detail"));
    let many =
        (0..20).map(|n| apply(&stage.gateway, "?dry_run=true&timeout=1s", queues(&format!("m{n}-"), 200)));
    for answer in futures_util::future::join_all(many).await {
        assert!([200, 503, 504].contains(&answer.status), "{answer:?}");
    }
    assert!(since.elapsed() < SOON / 3, "{:?}", since.elapsed());
    assert_eq!(apply(&stage.gateway, "", queues("after", 3)).await.status, 200);
    load.stop().await.assert_all_confirmed();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_take_turns_and_a_caller_that_leaves_gives_its_turn_to_the_next() {
    let stage = Stage::set_with("hostile-turns", &[("GATEWAY_MAX_TOPOLOGY_DOCUMENTS", "1")]).await;
    stage.observer.declare_queue("q").await;
    stage.observer.declare_queue("stuck").await;
    let stuck = stage.vhost.suspend_queue("stuck").await;
    let load = beside(&stage);
    let document = json!({"queues": [{"name": "b"}, {"name": "stuck"}]});
    let request = stage.gateway.put("/topology?timeout=30s").json(&document).send();
    let caller = tokio::spawn(request);
    let is_full = || async {
        let answer = apply(&stage.gateway, "?timeout=100ms", queues("c", 1)).await;
        answer.status == 503 && answer.text("detail").contains("GATEWAY_MAX_TOPOLOGY_DOCUMENTS")
    };
    eventually(SOON, "the document has its turn", is_full).await;
    caller.abort();
    let next = within(SOON / 3, "the turn of the next", apply(&stage.gateway, "", queues("c", 1))).await;
    assert_eq!(next.status, 200, "{next:?}");
    let answer = apply(&stage.gateway, "?timeout=1s", document).await;
    assert_eq!(answer.verdict(), problem(504, "outcome-unknown"));
    let detail = answer.text("detail");
    assert_eq!(detail, "queues[1]: RabbitMQ did not answer within the deadline; nothing was made");
    stuck.resume().await;
    assert_eq!(stage.ask(Method::GET, "/queues/b").await.status, 404);
    load.stop().await.assert_all_confirmed();
}
