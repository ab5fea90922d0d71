//! Servers of many kinds: those of other projects, as in RabbitMQ's tutorial six, and servers that are slow, end, answer twice,
//! answer with an unknown correlation id or send long replies.

use super::{SOON, call, problem};
use crate::support::{
    amqplib,
    echo::{answer, echo, id_of, serve},
    pika,
    poll::eventually,
    stage::Stage,
};

const UNMATCHED: &str = "gateway_rpc_unmatched_replies_total";

/// Waits until a consumer reads from the queue.
async fn served(stage: &Stage, queue: &str) {
    let served = || async {
        let found = stage.gateway.get(&format!("/queues/{queue}")).send().await.unwrap();
        let found: serde_json::Value = found.json().await.unwrap();
        found["consumer_count"] == 1
    };
    eventually(SOON, "the server consumes", served).await;
}

async fn counts_fibonacci(stage: &Stage, numbers: &[(u32, u32)]) {
    served(stage, "rpc_queue").await;
    for (number, fibonacci) in numbers {
        let answer = call(stage, "/rpc/rpc_queue", number.to_string()).await;
        assert_eq!((answer.status, answer.body), (200, fibonacci.to_string().into_bytes()));
    }
}

#[tokio::test]
async fn the_python_server_of_rabbitmqs_tutorial_answers() {
    const SERVER: &str = "
import os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()
channel.queue_declare(queue='rpc_queue')
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def on_request(ch, method, props, body):
    ch.basic_publish(exchange='', routing_key=props.reply_to,
                     properties=pika.BasicProperties(correlation_id=props.correlation_id),
                     body=str(fib(int(body))))
    ch.basic_ack(delivery_tag=method.delivery_tag)
    if int(body) == 0: ch.stop_consuming()
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue='rpc_queue', on_message_callback=on_request)
channel.start_consuming()
connection.close()
";
    let stage = Stage::set("rpc-pika").await;
    tokio::join!(pika::run(&stage.vhost.url, SERVER), counts_fibonacci(&stage, &[(10, 55), (0, 0)]));
}

#[tokio::test]
async fn the_javascript_server_of_rabbitmqs_tutorial_answers() {
    let stage = Stage::set("rpc-amqplib").await;
    let _server = amqplib::start("rpc_server.js", &stage.vhost.url);
    counts_fibonacci(&stage, &[(10, 55), (20, 6765), (0, 0)]).await;
}

#[tokio::test]
async fn a_reply_after_the_deadline_is_dropped_and_reaches_no_other_caller() {
    let stage = Stage::set("rpc-late").await;
    stage.observer.declare_queue("slow").await;
    let first = call(&stage, "/rpc/slow?timeout=500ms", "first");
    let (first, request) = tokio::join!(first, stage.observer.get_one("slow", SOON));
    assert_eq!(first.verdict(), problem(504, "rpc-timeout"));
    assert_eq!(first.text("outcome"), "unknown");
    let late_then_in_time = async {
        let next = stage.observer.get_one("slow", SOON).await;
        let channel = stage.observer.channel().await;
        answer(&channel, &request, echo).await;
        let dropped = || async { stage.gateway.metric(UNMATCHED).await == Some(1.0) };
        eventually(SOON, "the late reply is counted", dropped).await;
        answer(&channel, &next, echo).await;
    };
    let (second, ()) = tokio::join!(call(&stage, "/rpc/slow", "second"), late_then_in_time);
    assert_eq!((second.status, second.body.as_slice()), (200, &b"second"[..]));
    assert_eq!(stage.gateway.metric(UNMATCHED).await, Some(1.0));
}

/// A server that takes a request and ends before it has acknowledged it, as if it was killed.
const DIES: &str = "
import os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue='work', on_message_callback=lambda *request: os._exit(0))
channel.start_consuming()
";

#[tokio::test]
async fn a_call_whose_server_ends_is_answered_by_the_next_server() {
    let stage = Stage::set("rpc-dies").await;
    stage.observer.declare_queue("work").await;
    let servers = async {
        pika::run(&stage.vhost.url, DIES).await;
        serve(&stage.observer, "work", echo).await;
    };
    let (answer, ()) = tokio::join!(call(&stage, "/rpc/work?timeout=25s", "x"), servers);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"x"[..]));
}

#[tokio::test]
async fn a_call_whose_only_server_ends_times_out() {
    let stage = Stage::set("rpc-dies-alone").await;
    stage.observer.declare_queue("work").await;
    let caller = async {
        served(&stage, "work").await;
        call(&stage, "/rpc/work?timeout=1s", "x").await
    };
    let (answer, _) = tokio::join!(caller, pika::run(&stage.vhost.url, DIES));
    assert_eq!(answer.verdict(), problem(504, "rpc-timeout"));
    assert_eq!(answer.text("outcome"), "unknown");
    assert_eq!(stage.gateway.metric("gateway_rpc_pending_replies").await, Some(0.0));
}

#[tokio::test]
async fn repeated_and_foreign_replies_are_counted_and_dropped() {
    let stage = Stage::set("rpc-foreign").await;
    serve(&stage.observer, "noisy", |request| {
        let own = id_of(request);
        let stranger = Some("00000000-0000-4000-8000-000000000000".to_owned());
        vec![
            (None, b"no id".to_vec()),
            (Some("nonsense".to_owned()), b"no uuid".to_vec()),
            (stranger, b"stranger".to_vec()),
            (own.clone(), b"mine".to_vec()),
            (own, b"again".to_vec()),
        ]
    })
    .await;
    let answer = call(&stage, "/rpc/noisy", "x").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"mine"[..]));
    let counted = || async { stage.gateway.metric(UNMATCHED).await == Some(4.0) };
    eventually(SOON, "four unmatched replies", counted).await;
    assert_eq!(stage.gateway.metric("gateway_rpc_pending_replies").await, Some(0.0));
}

#[tokio::test]
async fn large_replies_arrive_whole() {
    let stage = Stage::set("rpc-large").await;
    serve(&stage.observer, "echo", echo).await;
    for size in [64 << 10, 8 << 20] {
        let body = vec![b'x'; size];
        let answer = call(&stage, "/rpc/echo", body.clone()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{size} bytes come back");
    }
}

/// A server that answers each request as the body of the request says.
const ODD: &str = "
import os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()
channel.queue_declare(queue='odd')
def nested(levels):
    return [nested(levels - 1)] if levels else []
ODD = {
    b'deep': {'headers': {'h': nested(500)}},
    b'type': {'type': b'caf\\xe9'},
    b'name': {'headers': {b'caf\\xe9': 'x'}},
}
def on_request(ch, method, props, body):
    odd = pika.BasicProperties(correlation_id=props.correlation_id, **ODD.get(body, {}))
    ch.basic_publish('', props.reply_to, body, odd)
    if body == b'end': ch.stop_consuming()
channel.basic_consume('odd', on_request, auto_ack=True)
channel.start_consuming()
connection.close()
";

#[tokio::test]
async fn an_unusual_reply_neither_stops_the_gateway_nor_loses_other_replies() {
    let stage = Stage::set("rpc-odd").await;
    stage.observer.declare_queue("idle").await;
    let neighbour = call(&stage, "/rpc/idle", "neighbour");
    let calls = async {
        let request = stage.observer.get_one("idle", SOON).await;
        served(&stage, "odd").await;
        for body in ["deep", "type", "name", "end"] {
            let answer = call(&stage, "/rpc/odd?timeout=5s", body).await;
            assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()));
        }
        answer(&stage.observer.channel().await, &request, echo).await;
    };
    let (neighbour, (), _) = tokio::join!(neighbour, calls, pika::run(&stage.vhost.url, ODD));
    assert_eq!((neighbour.status, neighbour.body.as_slice()), (200, &b"neighbour"[..]));
}
