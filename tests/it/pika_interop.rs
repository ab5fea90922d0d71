//! Interoperability with pika: pika reads the messages that the gateway published, and topologies that pika declared route them.

use serde_json::{Value, json};

use crate::support::{contract::Answer, pika, stage::Stage};

/// Opens `channel`; `drain(queue)` takes all messages out of a queue.
const PRELUDE: &str = r"
import base64, datetime, decimal, json, os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()

def drain(queue):
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        yield method, properties, body
";

/// Prints every message of `q` as one JSON document: bytes, properties, and headers with their Python types.
const DUMP: &str = r"
def typed(value):
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    if isinstance(value, bytes):
        return ['bytes', base64.b64encode(value).decode()]
    if isinstance(value, (decimal.Decimal, datetime.datetime)):
        return [type(value).__name__, str(value)]
    return value

def dump(properties, body):
    names = ['content_type', 'content_encoding', 'delivery_mode', 'priority', 'correlation_id', 'reply_to',
             'expiration', 'message_id', 'timestamp', 'type', 'user_id', 'app_id', 'cluster_id']
    given = {name: getattr(properties, name) for name in names if getattr(properties, name) is not None}
    return {'body': base64.b64encode(body).decode(), 'properties': given, 'headers': typed(properties.headers)}

print(json.dumps([dump(properties, body) for _, properties, body in drain('q')]))
";

async fn python(stage: &Stage, code: &str) -> Value {
    let output = pika::run(&stage.vhost.url, &format!("{PRELUDE}{code}")).await;
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[tokio::test]
async fn pika_gets_bytes_and_properties_of_a_raw_publish() {
    let stage = Stage::with_queue("pika-raw").await;
    let request = stage
        .publish()
        .header("content-encoding", "gzip")
        .header("x-amqp-message-id", "m")
        .header("x-amqp-correlation-id", "c")
        .header("x-amqp-reply-to", "r")
        .header("x-amqp-type", "t")
        .header("x-amqp-app-id", "a")
        .header("x-amqp-priority", "3")
        .header("x-amqp-expiration", "60000")
        .header("x-amqp-delivery-mode", "transient")
        .header("x-amqp-timestamp", "1795478400")
        .header("x-amqp-header-tenant", "blue")
        .header("traceparent", "00-a-b-01");
    assert_eq!(Answer::to(request.body(vec![0, 255, b'\n'])).await.status, 200);
    let expected = json!([{
        "body": "AP8K",
        "properties": {
            "content_type": "application/octet-stream", "content_encoding": "gzip", "delivery_mode": 1,
            "priority": 3, "correlation_id": "c", "reply_to": "r", "expiration": "60000", "message_id": "m",
            "timestamp": 1_795_478_400, "type": "t", "app_id": "a"
        },
        "headers": {"tenant": "blue", "traceparent": "00-a-b-01"}
    }]);
    assert_eq!(python(&stage, DUMP).await, expected);
}

/// pika reads a double as a whole number, so the test uses a whole number.
#[tokio::test]
async fn pika_gets_properties_and_typed_headers_of_an_envelope() {
    let stage = Stage::with_queue("pika-envelope").await;
    let envelope = r#"{"routing_key":"q","body":{"a": 1},
        "properties":{"message_id":"m","content_type":"a/b","content_encoding":"c","delivery_mode":2,"priority":9,
            "correlation_id":"c","reply_to":"r","expiration":60000,"timestamp":1795478400,"type":"t",
            "user_id":"guest","app_id":"a","cluster_id":"l"},
        "headers":{"text":"é","yes":true,"void":null,"int":5,"min":-9223372036854775808,"double":2.0,
            "int32":{"$amqp":"int32","value":-7},"uint32":{"$amqp":"uint32","value":4294967295},
            "bytes":{"$amqp":"bytes","value":"AP8="},"time":{"$amqp":"timestamp","value":1795478400},
            "decimal":{"$amqp":"decimal","value":{"scale":2,"value":314}},
            "list":[1,"two",[null]],"table":{"in":{"deep":false}}}}"#;
    let request =
        stage.post("/publish/amq.default").header("content-type", "application/vnd.amqp.message+json");
    assert_eq!(Answer::to(request.body(envelope)).await.status, 200);
    let expected = json!([{
        "body": "eyJhIjogMX0=",
        "properties": {
            "content_type": "a/b", "content_encoding": "c", "delivery_mode": 2, "priority": 9,
            "correlation_id": "c", "reply_to": "r", "expiration": "60000", "message_id": "m",
            "timestamp": 1_795_478_400, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "l"
        },
        "headers": {
            "text": "é", "yes": true, "void": null, "int": 5, "min": i64::MIN, "double": 2,
            "int32": -7, "uint32": u32::MAX, "bytes": ["bytes", "AP8="], "time": ["datetime", "2026-11-24 00:00:00+00:00"],
            "decimal": ["Decimal", "3.14"], "list": [1, "two", [null]], "table": {"in": {"deep": false}}
        }
    }]);
    assert_eq!(python(&stage, DUMP).await, expected);
}

const TOPOLOGY: &str = r"
for kind in ['topic', 'fanout', 'direct', 'headers']:
    channel.exchange_declare(kind + 's', kind, durable=True)
bindings = {
    'orders': ('topics', 'order.#', None), 'errors': ('topics', '*.error', None), 'one': ('fanouts', '', None),
    'two': ('fanouts', 'ignored', None), 'red': ('directs', 'red', None), 'blue': ('directs', 'blue', None),
    'all': ('headerss', '', {'x-match': 'all', 'kind': 'pdf', 'pages': 5}),
    'any': ('headerss', '', {'x-match': 'any', 'kind': 'pdf', 'lang': 'fr'}),
}
for queue, (exchange, key, arguments) in bindings.items():
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, exchange, key, arguments)
channel.queue_declare('urgent', durable=True, arguments={'x-max-priority': 10})
print(json.dumps(sorted(bindings)))
";

const DRAIN_ALL: &str = r"
queues = ['orders', 'errors', 'one', 'two', 'red', 'blue', 'all', 'any', 'urgent']
print(json.dumps({queue: [body.decode() for _, _, body in drain(queue)] for queue in queues}))
";

/// Publishes an envelope and gives the status.
async fn publish(stage: &Stage, exchange: &str, envelope: Value) -> u16 {
    let request = stage.post(&format!("/publish/{exchange}"));
    let request = request.header("content-type", "application/vnd.amqp.message+json");
    Answer::to(request.body(envelope.to_string())).await.status
}

#[tokio::test]
async fn topologies_declared_by_pika_route_the_gateway_s_messages() {
    let stage = Stage::set("pika-topology").await;
    python(&stage, TOPOLOGY).await;
    let routed = |exchange: &'static str, key: &str, body: &str, status: u16| {
        (exchange, json!({"routing_key": key, "body_text": body}), status)
    };
    let with_headers = |headers: Value, body: &str, status: u16| {
        ("headerss", json!({"headers": headers, "body_text": body}), status)
    };
    let urgent = |priority: u8, body: &str| {
        let properties = json!({"priority": priority});
        ("amq.default", json!({"routing_key": "urgent", "properties": properties, "body_text": body}), 200)
    };
    let script = [
        routed("topics", "order.error", "t1", 200),
        routed("topics", "order.new.eu", "t2", 200),
        routed("topics", "stock.error", "t3", 200),
        routed("topics", "stock.new", "t4", 422),
        routed("fanouts", "", "f1", 200),
        routed("directs", "red", "d1", 200),
        routed("directs", "green", "d2", 422),
        with_headers(json!({"kind": "pdf", "pages": 5}), "h1", 200),
        with_headers(json!({"lang": "fr"}), "h2", 200),
        with_headers(json!({"kind": "zip"}), "h3", 422),
        urgent(1, "low"),
        urgent(9, "high"),
        urgent(5, "middle"),
    ];
    for (exchange, envelope, status) in script {
        assert_eq!(publish(&stage, exchange, envelope.clone()).await, status, "{exchange} {envelope}");
    }
    let expected = json!({
        "orders": ["t1", "t2"], "errors": ["t1", "t3"], "one": ["f1"], "two": ["f1"], "red": ["d1"], "blue": [],
        "all": ["h1"], "any": ["h1", "h2"], "urgent": ["high", "middle", "low"]
    });
    assert_eq!(python(&stage, DRAIN_ALL).await, expected);
}

#[tokio::test]
async fn pika_and_the_gateway_can_declare_the_same_queue() {
    let stage = Stage::set("pika-queues").await;
    assert_eq!(stage.declare("/queues/plain", "{}").await.status, 201);
    let words = r#"{"message_ttl_ms":5000,"max_length":10,"overflow":"reject-publish","dead_letter":true}"#;
    assert_eq!(stage.declare("/queues/rich", words).await.status, 201);
    let code = r"
channel.queue_declare('plain', durable=True)
channel.queue_declare('rich', durable=True, arguments={
    'x-message-ttl': 5000, 'x-max-length': 10, 'x-overflow': 'reject-publish', 'x-dead-letter-exchange': 'rich.dlx'})
channel.queue_declare('theirs', durable=True, arguments={'x-max-length': 7})
print(json.dumps('alike'))
";
    assert_eq!(python(&stage, code).await, "alike");
    assert_eq!(stage.declare("/queues/theirs", r#"{"max_length":7}"#).await.status, 200);
}
