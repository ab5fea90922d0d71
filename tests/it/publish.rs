//! Publishing raw bodies: the message in the queue, the answer to the caller, and the requests that the gateway refuses.
//!
//! A second AMQP client reads the messages that arrive.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    message::Delivery,
    options::ExchangeDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{RequestBuilder, header::HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{broker::Broker, contract::Answer, observer::message_id, raw::Raw, stage::Stage};

const SOON: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;

/// Sends the request, expects the message to be confirmed, and takes it out of `q`.
async fn delivered(stage: &Stage, request: RequestBuilder) -> Delivery {
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.text("outcome"), "confirmed");
    let delivery = stage.observer.get_one("q", SOON).await;
    assert_eq!(message_id(&delivery), answer.text("message_id"));
    delivery
}

fn string(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn headers(delivery: &Delivery) -> FieldTable {
    delivery.properties.headers().clone().unwrap_or_default()
}

fn header(delivery: &Delivery, name: &str) -> Option<AMQPValue> {
    headers(delivery).inner().get(name).cloned()
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[tokio::test]
async fn raw_bodies_arrive_untouched() {
    let stage = Stage::with_queue("bodies").await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for body in [vec![], b"{\"a\": 1} ".to_vec(), b"\xff\xfe\0".to_vec(), every_byte, large] {
        let delivery = delivered(&stage, stage.publish().body(body.clone())).await;
        assert!(delivery.data == body, "{} bytes came out as {}", body.len(), delivery.data.len());
    }
}

#[tokio::test]
async fn without_properties_a_message_is_persistent_with_a_uuid_of_version_7_and_nothing_else() {
    let stage = Stage::with_queue("defaults").await;
    let answer = Answer::to(stage.post("/publish/amq.default?routing_key=q").body("x")).await;
    let id = answer.text("message_id");
    assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    let receipt = json!({
        "outcome": "confirmed", "message_id": id, "exchange": "amq.default", "routing_key": "q",
        "attempts": 1, "duplicate_possible": false
    });
    assert_eq!((answer.status, answer.json()), (200, receipt));
    let delivery = stage.observer.get_one("q", SOON).await;
    let expected =
        lapin::BasicProperties::default().with_delivery_mode(2).with_message_id(id.as_str().into());
    let properties = delivery.properties.clone().with_headers(FieldTable::default());
    assert_eq!(properties, expected.with_headers(FieldTable::default()));
    assert_eq!(headers(&delivery), FieldTable::default());
}

#[tokio::test]
async fn every_property_header_arrives() {
    let stage = Stage::with_queue("properties").await;
    let request = stage
        .post("/publish/amq.default?routing_key=q")
        .header("Content-Type", "application/x-thing; v=1")
        .header("Content-Encoding", "gzip")
        .header("X-Amqp-Message-Id", "id 1")
        .header("X-Amqp-Correlation-Id", HeaderValue::from_bytes("korrelé".as_bytes()).unwrap())
        .header("X-Amqp-Reply-To", "replies")
        .header("X-Amqp-Type", "greeting")
        .header("X-Amqp-App-Id", "tests")
        .header("X-Amqp-Priority", "255")
        .header("X-Amqp-Expiration", "60000")
        .header("X-Amqp-Delivery-Mode", "transient")
        .header("X-Amqp-Timestamp", "2026-11-24T00:00:00Z")
        .body("x");
    let delivery = delivered(&stage, request).await;
    let given = &delivery.properties;
    let texts = [
        (given.content_type().as_ref(), "application/x-thing; v=1"),
        (given.content_encoding().as_ref(), "gzip"),
        (given.message_id().as_ref(), "id 1"),
        (given.correlation_id().as_ref(), "korrelé"),
        (given.reply_to().as_ref(), "replies"),
        (given.kind().as_ref(), "greeting"),
        (given.app_id().as_ref(), "tests"),
        (given.expiration().as_ref(), "60000"),
        (given.user_id().as_ref(), ""),
        (given.cluster_id().as_ref(), ""),
    ];
    for (value, expected) in texts {
        assert_eq!(string(value), expected);
    }
    assert_eq!((*given.priority(), *given.delivery_mode()), (Some(255), Some(1)));
    assert_eq!(*given.timestamp(), Some(1_795_478_400));
}

#[tokio::test]
async fn other_spellings_of_a_property_value_have_the_same_meaning() {
    let stage = Stage::with_queue("spellings").await;
    let request = stage.publish().header("X-Amqp-Delivery-Mode", "persistent");
    let request = request.header("x-amqp-timestamp", "1795478400").header("X-AMQP-PRIORITY", "0");
    let delivery = delivered(&stage, request.body("x")).await;
    assert_eq!(*delivery.properties.timestamp(), Some(1_795_478_400));
    assert_eq!((*delivery.properties.priority(), *delivery.properties.delivery_mode()), (Some(0), Some(2)));
}

#[tokio::test]
async fn custom_headers_arrive_as_text_with_their_name_in_lower_case() {
    let stage = Stage::with_queue("headers").await;
    let request = stage
        .publish()
        .header("X-Amqp-Header-Tenant", "a b")
        .header("X-Amqp-Header-x-delay", "500")
        .header("X-Amqp-Header-Umlaut", HeaderValue::from_bytes("ä€".as_bytes()).unwrap())
        .header("X-Amqp-Header-Empty", "");
    let delivery = delivered(&stage, request.body("x")).await;
    for (name, value) in [("tenant", "a b"), ("x-delay", "500"), ("umlaut", "ä€"), ("empty", "")] {
        assert_eq!(header(&delivery, name), Some(long(value)), "{name}");
    }
    assert_eq!(headers(&delivery).inner().len(), 4);
}

#[tokio::test]
async fn trace_context_arrives_as_message_headers() {
    let stage = Stage::with_queue("trace").await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = stage.publish().header("traceparent", parent).header("baggage", "k=v");
    let request = request.header("tracestate", "a=1").header("tracestate", "b=2");
    let delivery = delivered(&stage, request.body("x")).await;
    assert_eq!(header(&delivery, "traceparent"), Some(long(parent)));
    assert_eq!(header(&delivery, "tracestate"), Some(long("a=1, b=2")));
    assert_eq!(header(&delivery, "baggage"), Some(long("k=v")));
}

#[tokio::test]
async fn prefer_minimal_answers_204_with_the_receipt_in_headers() {
    let stage = Stage::with_queue("minimal").await;
    for preference in ["return=minimal", "respond-async, return=minimal"] {
        let answer = Answer::to(stage.publish().header("Prefer", preference).body("x")).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(answer.header("x-gateway-attempts"), "1");
        assert_eq!(answer.header("x-gateway-duplicate-possible"), "false");
        assert_eq!(answer.header("preference-applied"), "return=minimal");
        let delivery = stage.observer.get_one("q", SOON).await;
        assert_eq!(message_id(&delivery), answer.header("x-amqp-message-id"));
    }
    let answer = Answer::to(stage.publish().header("Prefer", "return=representation").body("x")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn without_mandatory_the_outcome_is_accepted_whether_or_not_a_queue_took_it() {
    let stage = Stage::with_queue("accepted").await;
    for key in ["q", "nowhere"] {
        let path = format!("/publish/amq.default?routing_key={key}&mandatory=false");
        let answer = Answer::to(stage.post(&path).body("x")).await;
        assert_eq!((answer.status, answer.text("outcome")), (200, "accepted".to_owned()));
    }
    assert_eq!(stage.observer.count("q").await, Some(1));
}

#[tokio::test]
async fn unroutable_message_is_422_and_in_no_queue() {
    let stage = Stage::with_queue("unroutable").await;
    stage.observer.declare_exchange("topics", ExchangeKind::Topic).await;
    stage.observer.bind("q", "topics", "a.*").await;
    for path in
        ["/publish/topics?routing_key=b.c", "/publish/amq.default?routing_key=none", "/publish/topics"]
    {
        let answer = Answer::to(stage.post(path).header("X-Amqp-Message-Id", "m").body("x")).await;
        assert_eq!(answer.verdict(), (422, "unroutable".to_owned()));
        let body = answer.json();
        assert_eq!((&body["outcome"], &body["retryable"]), (&json!("unroutable"), &json!(false)));
        assert_eq!((&body["message_id"], &body["attempts"]), (&json!("m"), &json!(1)));
    }
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn message_that_a_full_queue_refuses_is_503_rejected() {
    let stage = Stage::set("rejected").await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    stage.observer.declare_queue_with("q", &full).await;
    assert_eq!(Answer::to(stage.publish().body("first")).await.status, 200);
    let answer = Answer::to(stage.publish().body("second")).await;
    assert_eq!(answer.verdict(), (503, "rejected".to_owned()));
    let body = answer.json();
    assert_eq!((&body["outcome"], &body["retryable"]), (&json!("rejected"), &json!(true)));
    let id = answer.text("message_id");
    assert!(Uuid::parse_str(&id).is_ok(), "{body}");
    let ids = stage.observer.drain_ids("q").await;
    assert!(ids.len() == 1 && ids[0] != id);
}

#[tokio::test]
async fn publish_to_missing_exchange_is_404() {
    let stage = Stage::with_queue("missing").await;
    for _ in 0..3 {
        let answer = Answer::to(stage.post("/publish/missing?routing_key=q").body("x")).await;
        assert_eq!(answer.verdict(), (404, "exchange-not-found".to_owned()));
        assert_eq!(
            (answer.text("outcome"), &answer.json()["retryable"]),
            ("not_sent".to_owned(), &json!(false))
        );
        assert!(Uuid::parse_str(&answer.text("message_id")).is_ok());
        delivered(&stage, stage.publish().body("the next message is confirmed")).await;
    }
    stage.observer.declare_exchange("missing", ExchangeKind::Fanout).await;
    stage.observer.bind("q", "missing", "").await;
    delivered(&stage, stage.post("/publish/missing").body("confirmed, not 404 from memory")).await;
}

#[tokio::test]
async fn publish_to_internal_exchange_is_403() {
    let stage = Stage::set("internal").await;
    let options = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
    let channel = stage.observer.channel().await;
    let declare =
        channel.exchange_declare("inside".into(), ExchangeKind::Fanout, options, FieldTable::default());
    declare.await.unwrap();
    let answer = Answer::to(stage.post("/publish/inside").body("x")).await;
    assert_eq!(answer.verdict(), (403, "forbidden".to_owned()));
    assert_eq!(answer.text("outcome"), "not_sent");
}

#[tokio::test]
async fn publish_without_permission_in_rabbitmq_is_403_and_does_not_affect_other_callers() {
    let stage = Stage::with_queue("permission").await;
    stage.observer.declare_exchange("closed", ExchangeKind::Fanout).await;
    let gateway = stage.gateway_as("half-writer", "", "amq\\.default", "").await;
    let request = |exchange: &str| gateway.post(&format!("/publish/{exchange}?routing_key=q")).body("x");
    let answer = Answer::to(request("closed")).await;
    assert_eq!(answer.verdict(), (403, "forbidden".to_owned()));
    assert_eq!(answer.text("outcome"), "not_sent");
    assert!(answer.text("detail").contains("closed"), "{}", answer.json());
    assert_eq!(Answer::to(request("amq.default")).await.status, 200);
}

/// A raw request that is refused: the query, one header, and the status, problem and field of the answer.
type Refused = (&'static str, (&'static str, &'static str), u16, &'static str, &'static str);

const REFUSED: &[Refused] = &[
    ("", ("X-Amqp-Expiration", "315360000001"), 400, "malformed-request", "x-amqp-expiration"),
    ("", ("X-Amqp-Expiration", "1.5"), 400, "malformed-request", "x-amqp-expiration"),
    ("", ("X-Amqp-Expiration", "-1"), 400, "malformed-request", "x-amqp-expiration"),
    ("", ("X-Amqp-Expiration", "5s"), 400, "malformed-request", "x-amqp-expiration"),
    ("", ("X-Amqp-Expiration", ""), 400, "malformed-request", "x-amqp-expiration"),
    ("", ("X-Amqp-Priority", "256"), 400, "malformed-request", "x-amqp-priority"),
    ("", ("X-Amqp-Priority", "-1"), 400, "malformed-request", "x-amqp-priority"),
    ("", ("X-Amqp-Priority", "+1"), 400, "malformed-request", "x-amqp-priority"),
    ("", ("X-Amqp-Priority", "high"), 400, "malformed-request", "x-amqp-priority"),
    ("", ("X-Amqp-Delivery-Mode", "3"), 400, "malformed-request", "x-amqp-delivery-mode"),
    ("", ("X-Amqp-Delivery-Mode", "Persistent"), 400, "malformed-request", "x-amqp-delivery-mode"),
    ("", ("X-Amqp-Timestamp", "yesterday"), 400, "malformed-request", "x-amqp-timestamp"),
    ("", ("X-Amqp-Timestamp", "+5"), 400, "malformed-request", "x-amqp-timestamp"),
    ("", ("X-Amqp-Timestamp", "1795478400000"), 400, "malformed-request", "x-amqp-timestamp"),
    ("", ("X-Amqp-User-Id", "guest"), 400, "malformed-request", "x-amqp-user-id"),
    ("", ("X-Amqp-Unheard-Of", "x"), 400, "malformed-request", "x-amqp-unheard-of"),
    ("", ("X-Amqp-X-Amqp-Type", "x"), 400, "malformed-request", "x-amqp-x-amqp-type"),
    ("", ("X-Amqp-Type", "tab\tinside"), 400, "malformed-request", "x-amqp-type"),
    ("", ("Content-Type", "text/\tplain"), 400, "malformed-request", "content-type"),
    ("", ("X-Amqp-Reply-To", "amq.rabbitmq.reply-to"), 400, "malformed-request", "x-amqp-reply-to"),
    ("", ("X-Amqp-Header-CC", "other"), 400, "malformed-request", "headers.cc"),
    ("", ("X-Amqp-Header-BCC", "other"), 400, "malformed-request", "headers.bcc"),
    ("", ("X-Amqp-Header-X-Death", "x"), 400, "malformed-request", "headers.x-death"),
    ("", ("X-Amqp-Header-X-First-Death-Queue", "x"), 400, "malformed-request", "headers.x-first-death-queue"),
    ("", ("X-Amqp-Header-X-Last-Death-Reason", "x"), 400, "malformed-request", "headers.x-last-death-reason"),
    ("", ("X-Amqp-Header-X-Delivery-Count", "1"), 400, "malformed-request", "headers.x-delivery-count"),
    ("", ("X-Amqp-Header-X-Acquired-Count", "1"), 400, "malformed-request", "headers.x-acquired-count"),
    ("", ("X-Amqp-Header-X-Opt-Thing", "1"), 400, "malformed-request", "headers.x-opt-thing"),
    ("", ("Idempotency-Key", "\"k\""), 400, "malformed-request", "Idempotency-Key"),
    ("&timeout=0", FINE, 400, "malformed-request", "timeout"),
    ("&timeout=0s", FINE, 400, "malformed-request", "timeout"),
    ("&timeout=61", FINE, 400, "malformed-request", "timeout"),
    ("&timeout=1m1s", FINE, 400, "malformed-request", "timeout"),
    ("&timeout=soon", FINE, 400, "malformed-request", "timeout"),
    ("&mandatory=1", FINE, 400, "malformed-request", "mandatory"),
    ("&mandatory=", FINE, 400, "malformed-request", "mandatory"),
    ("&retry=no", FINE, 400, "malformed-request", "retry"),
    ("&immediate=true", FINE, 400, "malformed-request", "immediate"),
    ("&routing_key=again", FINE, 400, "malformed-request", "routing_key"),
    ("&mandatory=true&mandatory=true", FINE, 400, "malformed-request", "mandatory"),
];

/// A header that changes nothing in the request's result.
const FINE: (&str, &str) = ("X-Fine", "fine");

#[tokio::test]
async fn a_mistake_in_the_request_is_refused_before_rabbitmq_is_asked() {
    let stage = Stage::with_queue("door").await;
    for (query, (name, value), status, problem, field) in REFUSED {
        let path = format!("/publish/amq.default?routing_key=q{query}");
        let request = stage.post(&path).header("X-Amqp-Message-Id", "told").header(*name, *value);
        let answer = Answer::to(request.body("x")).await;
        assert_eq!(answer.verdict(), (*status, (*problem).to_owned()), "{query} {name}: {value}");
        let body = answer.json();
        assert_eq!((&body["field"], &body["outcome"]), (&json!(field), &json!("not_sent")), "{body}");
        assert_eq!(body["message_id"], "told", "{body}");
        assert_eq!(body["retryable"], false, "{body}");
    }
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn property_given_twice_is_400_and_the_problem_names_it() {
    let stage = Stage::with_queue("twice").await;
    for name in ["x-amqp-type", "x-amqp-message-id", "x-amqp-header-a", "content-type"] {
        let request = stage.post("/publish/amq.default?routing_key=q").header(name, "1").header(name, "2");
        let answer = Answer::to(request.body("x")).await;
        assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{name}");
        assert_eq!(answer.text("field"), name);
    }
}

#[tokio::test]
async fn property_that_is_too_long_or_not_utf_8_is_400_and_the_problem_names_it() {
    let stage = Stage::with_queue("long").await;
    let fits = "é".repeat(127);
    let long = "x".repeat(256);
    for name in ["x-amqp-type", "x-amqp-message-id", "x-amqp-correlation-id", "x-amqp-app-id", "content-type"]
    {
        for wrong in [long.as_bytes(), b"\xff"] {
            let request = stage.post("/publish/amq.default?routing_key=q");
            let answer =
                Answer::to(request.header(name, HeaderValue::from_bytes(wrong).unwrap()).body("x")).await;
            assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{name}");
            assert_eq!(answer.text("field"), name);
        }
    }
    let request = stage.publish().header("x-amqp-type", HeaderValue::from_bytes(fits.as_bytes()).unwrap());
    assert_eq!(string(delivered(&stage, request.body("x")).await.properties.kind().as_ref()), fits);
    let key = format!("/publish/amq.default?routing_key={long}");
    let answer = Answer::to(stage.post(&key).body("x")).await;
    assert_eq!((answer.status, answer.text("field")), (400, "routing_key".to_owned()));
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused_and_headers_at_the_limits_are_accepted() {
    let stage = Stage::with_queue("limits").await;
    let with = |count: usize| {
        (0..count)
            .fold(stage.publish(), |request, n| request.header(format!("x-amqp-header-{n}"), "v"))
            .body("x")
    };
    assert_eq!(headers(&delivered(&stage, with(100)).await).inner().len(), 100);
    let answer = Answer::to(with(101)).await;
    assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()));
    assert_eq!((answer.text("field"), &answer.json()["limit"]), ("headers".to_owned(), &json!(100)));
    // 4 bytes for the table, 1 + 1 for the name, 1 + 4 for the value's type and length.
    let sized = |bytes: usize| stage.publish().header("x-amqp-header-a", "x".repeat(bytes - 11)).body("x");
    delivered(&stage, sized(16 * 1024)).await;
    let answer = Answer::to(sized(16 * 1024 + 1)).await;
    assert_eq!(answer.verdict(), (431, "headers-too-large".to_owned()));
    assert_eq!((answer.text("outcome"), &answer.json()["limit"]), ("not_sent".to_owned(), &json!(16 * 1024)));
}

#[tokio::test]
async fn timeouts_up_to_the_maximum_are_accepted_and_the_problem_names_the_maximum() {
    let stage = Stage::with_queue("timeouts").await;
    for timeout in ["60", "60s", "1m", "59s500ms", "1500ms"] {
        let path = format!("/publish/amq.default?routing_key=q&timeout={timeout}");
        assert_eq!(Answer::to(stage.post(&path).body("x")).await.status, 200, "{timeout}");
    }
    let answer = Answer::to(stage.post("/publish/amq.default?routing_key=q&timeout=2m").body("x")).await;
    let cap = answer.text("limit");
    assert!(
        answer.status == 400 && answer.text("detail").contains(&cap) && !cap.is_empty(),
        "{}",
        answer.json()
    );
}

#[tokio::test]
async fn reserved_queues_cannot_be_published_to_by_the_default_exchange() {
    let stage = Stage::set("reserved").await;
    stage.observer.declare_exchange("mine", ExchangeKind::Fanout).await;
    for key in ["amq.rabbitmq.reply-to.g1h2", "amq.rabbitmq.trace", "amq.gen-abc"] {
        let request = |exchange: &str| stage.post(&format!("/publish/{exchange}?routing_key={key}"));
        let answer = Answer::to(request("amq.default").header("X-Amqp-Message-Id", "m").body("x")).await;
        assert_eq!(answer.verdict(), (403, "reserved-name".to_owned()), "{key}");
        assert_eq!(
            (answer.text("outcome"), answer.text("message_id")),
            ("not_sent".to_owned(), "m".to_owned())
        );
        // The routing key of another exchange need not name a queue.
        assert_eq!(Answer::to(request("mine").body("x")).await.verdict().0, 422);
    }
}

#[tokio::test]
async fn names_are_used_byte_for_byte() {
    let stage = Stage::with_queue("names").await;
    let longest = "é".repeat(127);
    for name in ["a/b", " a b ", "çà.€", "a+b", "%2F", "a..b", "#*", longest.as_str()] {
        stage.observer.declare_exchange(name, ExchangeKind::Direct).await;
        stage.observer.bind("q", name, name).await;
        let escaped = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let path = format!("/publish/{escaped}?routing_key={escaped}");
        let answer = Answer::to(stage.post(&path).body("x")).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.json());
        assert_eq!((answer.text("exchange"), answer.text("routing_key")), (name.to_owned(), name.to_owned()));
        let delivery = stage.observer.get_one("q", SOON).await;
        assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), (name, name));
    }
}

#[tokio::test]
async fn names_that_amqp_cannot_carry_are_400() {
    let stage = Stage::set("no-names").await;
    let long = format!("/publish/{}", "x".repeat(256));
    let cases = [
        ("/publish/a%0Ab", "exchange"),
        ("/publish/a%0D", "exchange"),
        ("/publish/%00", "exchange"),
        ("/publish/%7F", "exchange"),
        ("/publish/%C2%85", "exchange"),
        (long.as_str(), "exchange"),
        ("/publish/x?routing_key=a%0A", "routing_key"),
        ("/publish/x?routing_key=%FF", "the query"),
        ("/publish/%FF", "path"),
    ];
    for (path, field) in cases {
        let answer = Answer::to(stage.post(path).body("x")).await;
        assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{path}");
        assert_eq!((answer.text("field"), answer.text("outcome")), (field.to_owned(), "not_sent".to_owned()));
    }
}

#[tokio::test]
async fn body_over_the_gateway_s_limit_is_413_and_the_problem_names_the_limit() {
    let settings = [("GATEWAY_MAX_BODY_BYTES", "1KiB")];
    let stage = Stage::set_with("too-large", &settings).await;
    stage.observer.declare_queue("q").await;
    delivered(&stage, stage.publish().body(vec![1; 1024])).await;
    let request = stage.publish().header("X-Amqp-Message-Id", "m").body(vec![1; 1025]);
    let answer = Answer::to(request).await;
    assert_eq!(answer.verdict(), (413, "payload-too-large".to_owned()));
    let body = answer.json();
    assert_eq!(
        (&body["limit"], &body["outcome"], &body["message_id"]),
        (&json!(1024), &json!("not_sent"), &json!("m"))
    );
}

/// The limit is that of RabbitMQ 4.x; no other test publishes a body of this size.
#[tokio::test]
async fn body_over_rabbitmq_s_limit_is_413_and_does_not_affect_other_callers() {
    Broker::shared().await.eval("application:set_env(rabbit, max_message_size, 16777216)").await;
    let stage = Stage::set_with("broker-limit", &[("GATEWAY_MAX_BODY_BYTES", "17MiB")]).await;
    stage.observer.declare_queue("q").await;
    let answer = Answer::to(stage.publish().body(vec![0; 16 * MIB + 1])).await;
    assert_eq!(answer.verdict(), (413, "payload-too-large".to_owned()), "{}", answer.json());
    assert_eq!(answer.text("outcome"), "not_sent");
    delivered(&stage, stage.publish().body("small")).await;
}

#[tokio::test]
async fn request_id_is_kept_or_generated_and_is_in_problems() {
    let stage = Stage::with_queue("ids").await;
    let answer = Answer::to(stage.publish().header("x-request-id", "mine-1").body("x")).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (200, "mine-1"));
    let answer = Answer::to(stage.post("/publish/missing").header("x-request-id", "mine-2").body("x")).await;
    assert_eq!(
        (answer.text("instance").as_str(), answer.header("x-request-id")),
        ("urn:request:mine-2", "mine-2")
    );
    let answer = Answer::to(stage.publish().header("x-request-id", "x".repeat(129)).body("x")).await;
    assert!(Uuid::parse_str(answer.header("x-request-id")).is_ok());
}

#[tokio::test]
async fn problem_of_a_publish_has_only_the_members_of_the_contract() {
    let stage = Stage::set("members").await;
    let answer = Answer::to(stage.post("/publish/missing").header("X-Amqp-Message-Id", "m").body("x")).await;
    let Value::Object(body) = answer.json() else { panic!("an object") };
    let mut members: Vec<_> = body.keys().map(String::as_str).collect();
    members.sort_unstable();
    let expected =
        ["attempts", "detail", "instance", "message_id", "outcome", "retryable", "status", "title", "type"];
    assert_eq!(members, expected);
    assert_eq!(body["title"], "Exchange not found");
}

#[tokio::test]
async fn a_message_with_an_empty_id_gets_an_id_that_the_answer_contains() {
    let stage = Stage::with_queue("no-id").await;
    let request = stage.post("/publish/amq.default?routing_key=q").header("x-amqp-message-id", "");
    let told = Answer::to(request.body("x")).await.text("message_id");
    assert_eq!(told.len(), 36, "{told:?}");
    assert_eq!(stage.observer.drain_ids("q").await, [told]);
}

/// A caller with a large body gets the answer before it sends the body.
#[tokio::test]
async fn a_wrong_name_is_refused_before_the_body_arrives() {
    let stage = Stage::set("before-body").await;
    for path in ["/publish/a%00b", "/publish/x?routing_key=%FF", "/rpc/a%00b", "/rpc/q?timeout=%FF"] {
        let header = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
        let answer = Raw::ask(stage.gateway.address(), header).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_problem_names_no_message_id_where_the_caller_gave_an_empty_one() {
    let stage = Stage::set("empty-id").await;
    let request = stage.post("/publish/amq.default?timeout=0").header("X-Amqp-Message-Id", "");
    let answer = Answer::to(request.body("x")).await;
    assert_eq!((answer.status, answer.json().get("message_id")), (400, None), "{}", answer.json());
}
