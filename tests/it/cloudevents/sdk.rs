//! The CloudEvents SDK for Python as the sender: an event that it writes arrives with the values that it was made of. With the prefix
//! `ce-` the SDK also reads the messages.

use serde_json::Value;

use crate::support::{python, stage::Stage};

/// Publishes one event in both modes, and prints the messages of `q` as pika reads them.
const SEND: &str = r#"
import json, os, sys, urllib.request
from datetime import datetime, timezone
import pika
from cloudevents.core.bindings import http, rabbitmq
from cloudevents.core.v1.event import CloudEvent

def post(message):
    request = urllib.request.Request(sys.argv[1], message.body, message.headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["outcome"] == "confirmed"

def messages():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    while True:
        method, properties, body = connection.channel().basic_get("q", auto_ack=True)
        if method is None:
            return
        yield properties, body

event = CloudEvent(
    {"id": "7c2f", "source": "/orders", "type": "order.created", "subject": 'Euro € 😀 "100%"',
     "time": datetime(2018, 4, 5, 17, 31, tzinfo=timezone.utc), "attempt": 5},
    {"order": 42, "name": "größer"},
)
post(http.to_structured_event(event))
post(http.to_binary_event(event))
"#;

/// The SDK states no content type for data that is an object, so binary mode has none either, and the client adds its own.
const DUMP: &str = r"
print(json.dumps([[properties.headers, json.loads(body)] for properties, body in messages()]))
";

const READ: &str = r#"
for properties, body in messages():
    headers = {name: str(value) for name, value in properties.headers.items()}
    message = rabbitmq.RabbitMQMessage(headers, "application/json", body)
    read = rabbitmq.from_rabbitmq_event(message)
    attributes = {**event.get_attributes(), "attempt": "5", "datacontenttype": "application/json"}
    assert read.get_attributes() == attributes, read.get_attributes()
    assert read.get_data() == event.get_data(), read.get_data()
print(json.dumps("read"))
"#;

async fn run(stage: &Stage, code: &str) -> Value {
    let url = stage.gateway.url("/publish/amq.default?routing_key=q");
    let output = python::run("cloudevents.core", &format!("{SEND}{code}"), &[&url], &stage.vhost.url).await;
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[tokio::test]
async fn events_of_the_python_sdk_arrive_in_both_modes() {
    let stage = Stage::with_queue("ce-sdk").await;
    let messages = run(&stage, DUMP).await;
    let [structured, binary] = messages.as_array().map(Vec::as_slice).unwrap_or_default() else {
        panic!("two messages: {messages}")
    };
    for (message, attempt) in [(structured, serde_json::json!(5)), (binary, serde_json::json!("5"))] {
        let expected = serde_json::json!([
            {
                "cloudEvents_specversion": "1.0", "cloudEvents_id": "7c2f", "cloudEvents_source": "/orders",
                "cloudEvents_type": "order.created", "cloudEvents_subject": "Euro € 😀 \"100%\"",
                "cloudEvents_time": "2018-04-05T17:31:00Z", "cloudEvents_attempt": attempt
            },
            {"order": 42, "name": "größer"}
        ]);
        assert_eq!(*message, expected);
    }
}

#[tokio::test]
async fn the_python_sdk_reads_the_messages_of_its_own_prefix() {
    let stage = Stage::set_with("ce-sdk-prefix", &[("GATEWAY_CLOUDEVENTS_PREFIX", "ce-")]).await;
    stage.observer.declare_queue("q").await;
    assert_eq!(run(&stage, READ).await, "read");
}
