//! Batches and publish streams while RabbitMQ is away, restarts or blocks, and while the gateway stops.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    book::{Book, Lies, Outcome},
    broker::{Broker, OwnBroker},
    contract::Answer,
    gateway::TestGateway,
    observer::{Observer, message_id},
    poll::eventually,
    publish_stream::PublishStream,
};

const SOON: Duration = Duration::from_secs(30);
const STREAM: &str = "/publish/amq.default/stream?routing_key=q&timeout=30s";

/// A RabbitMQ of its own with a durable queue `q`, and a gateway.
async fn own(settings: &[(&str, &str)]) -> (OwnBroker, Observer, TestGateway) {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    broker.sync_topology().await;
    let url = broker.url();
    let mut all = vec![("AMQP_URL", url.as_str())];
    all.extend_from_slice(settings);
    let gateway = TestGateway::start(&all).await;
    (broker, observer, gateway)
}

async fn drain(broker: &OwnBroker) -> Vec<(String, u64)> {
    let observer = Observer::connect(&broker.url()).await;
    let drained = observer.drain("q").await;
    let number = |data: &[u8]| std::str::from_utf8(data).expect("a number").parse().expect("a number");
    drained.iter().map(|it| (message_id(it), number(&it.data))).collect()
}

fn item(n: u64) -> Value {
    json!({"id": n.to_string(), "properties": {"message_id": format!("m{n}")}, "body_text": n.to_string()})
}

fn outcome(result: &Value) -> Outcome {
    serde_json::from_value(result["outcome"].clone()).expect("an outcome")
}

/// The first copy of each message, in the order of the queue. A message that was sent again may have two copies.
fn firsts(drained: &[(String, u64)]) -> Vec<u64> {
    let mut firsts = Vec::new();
    for (_, number) in drained {
        if !firsts.contains(number) {
            firsts.push(*number);
        }
    }
    firsts
}

/// Whether these are the `count` numbers from `first` on, in their order. The failure shows the place.
fn is_in_order(numbers: &[u64], first: u64, count: u64) {
    let wrong = (first..first + count).zip(numbers).find(|(expected, found)| expected != *found);
    assert_eq!(wrong, None, "the order, as (expected, found)");
    assert_eq!(numbers.len() as u64, count, "messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_rabbitmq_delay_a_stream_and_a_batch_but_cause_no_error_and_keep_the_order() {
    let (broker, observer, gateway) = own(&[]).await;
    drop(observer);
    let mut stream = PublishStream::open(gateway.address(), STREAM).await;
    let (mut sent, mut results) = (0, Vec::new());
    for round in 0..2 {
        for _ in 0..600 {
            stream.line(&item(sent)).await;
            sent += 1;
        }
        results.push(stream.next().await.expect("a result"));
        broker.kill().await;
        for _ in 0..100 {
            stream.line(&item(sent)).await;
            sent += 1;
        }
        let items: Value = (0..300).map(|n| item(10_000 * (round + 1) + n)).collect();
        let batch = gateway.post("/publish/amq.default/batch?routing_key=q&timeout=60s");
        let batch = batch.header("content-type", "application/json").body(items.to_string());
        let batch = tokio::spawn(Answer::to(batch));
        broker.start().await;
        let batch = batch.await.expect("an answer");
        assert_eq!(batch.status, 200, "{}", batch.json());
    }
    let (rest, summary) = stream.end().await;
    results.extend(rest);
    assert_eq!((results.len() as u64, &summary["counts"]["confirmed"]), (sent, &sent.into()), "{summary}");
    let drained = drain(&broker).await;
    let of = |from: u64, to: u64| {
        let part: Vec<_> = drained.iter().filter(|(_, n)| (from..to).contains(n)).cloned().collect();
        firsts(&part)
    };
    is_in_order(&of(0, 10_000), 0, sent);
    for batch in 1..=2 {
        is_in_order(&of(10_000 * batch, 10_000 * (batch + 1)), 10_000 * batch, 300);
    }
    let again = results.iter().filter(|result| result["duplicate_possible"] == true).count();
    let copies = drained.len() as u64 - sent - 600;
    assert!(copies <= again as u64 + 600, "{copies} copies, {again} results tell of one");
    gateway.stop().await;
    broker.give_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_rabbitmq_is_away_a_stream_reads_on_only_after_its_lines_have_their_results() {
    let (broker, _observer, gateway) = own(&[]).await;
    let path = "/publish/amq.default/stream?routing_key=q&timeout=1s";
    let mut stream = PublishStream::open(gateway.address(), path).await;
    stream.line(&item(0)).await;
    assert_eq!(outcome(&stream.next().await.expect("a result")), Outcome::Confirmed);
    broker.stop_app().await;
    eventually(SOON, "the gateway notices", || async { !gateway.is_ready().await }).await;
    for n in 1..4 {
        stream.line(&item(n)).await;
        let result = stream.next().await.expect("a result");
        assert_eq!(result["problem"]["type"], "/problems/broker-unavailable", "{result}");
    }
    broker.start_app().await;
    eventually(SOON, "the gateway is ready", || gateway.is_ready()).await;
    stream.line(&item(4)).await;
    assert_eq!(outcome(&stream.next().await.expect("a result")), Outcome::Confirmed);
    assert_eq!(stream.end().await.1["read"], 5);
    assert_eq!(firsts(&drain(&broker).await), [0, 4]);
    gateway.stop().await;
    broker.give_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_begins_while_rabbitmq_is_away_is_confirmed_when_it_comes() {
    let (broker, _observer, gateway) = own(&[]).await;
    broker.kill().await;
    eventually(SOON, "the gateway notices", || async { !gateway.is_ready().await }).await;
    let mut stream = PublishStream::open(gateway.address(), STREAM).await;
    for n in 0..1000 {
        stream.line(&item(n)).await;
    }
    broker.start().await;
    let (results, summary) = stream.end().await;
    assert_eq!((results.len(), &summary["counts"]["confirmed"]), (1000, &1000.into()), "{summary}");
    is_in_order(&firsts(&drain(&broker).await), 0, 1000);
    gateway.stop().await;
    broker.give_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_an_alarm_lines_and_batches_are_refused_at_once_and_published_again_after_it() {
    let (broker, observer, gateway) = own(&[]).await;
    let path = "/publish/amq.default/stream?routing_key=q&timeout=2s";
    let mut stream = PublishStream::open(gateway.address(), path).await;
    stream.line(&item(0)).await;
    assert_eq!(outcome(&stream.next().await.expect("a result")), Outcome::Confirmed);
    broker.alarm_on().await;
    // RabbitMQ tells a connection of the alarm only after a publish on it.
    let mut n = 1;
    loop {
        stream.line(&item(n)).await;
        n += 1;
        let result = stream.next().await.expect("a result");
        if result["problem"]["type"] == "/problems/broker-blocked" {
            assert_eq!(outcome(&result), Outcome::NotSent);
            break;
        }
        assert_eq!(outcome(&result), Outcome::Unknown, "{result}");
        assert!(n < 20, "RabbitMQ does not block the gateway");
    }
    let items: Value = (0..10).map(item).collect();
    let batch = gateway.post("/publish/amq.default/batch?routing_key=q");
    let batch = batch.header("content-type", "application/json").body(items.to_string());
    assert_eq!(Answer::to(batch).await.verdict(), (503, "broker-blocked".to_owned()));
    // The gateway reads no line while RabbitMQ blocks it.
    for further in n..n + 20 {
        stream.line(&item(further)).await;
    }
    broker.alarm_off().await;
    let (results, summary) = stream.end().await;
    let refused = results.iter().filter(|it| outcome(it) == Outcome::NotSent).count();
    assert!(refused < 20 && results.len() == 20, "{summary}");
    drop(observer);
    gateway.stop().await;
    broker.give_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_gateway_stops_a_stream_settles_its_lines_and_says_how_many_it_read() {
    let (broker, observer, gateway) = own(&[]).await;
    let mut stream = PublishStream::open(gateway.address(), STREAM).await;
    let book = Book::default();
    for n in 0..200 {
        stream.line(&item(n)).await;
    }
    book.note("m0", outcome(&stream.next().await.expect("a result")));
    let (mut writer, mut answer) = stream.split();
    let late = item(9999).to_string() + "\n";
    let sending = tokio::spawn(async move {
        // Lines keep arriving while the gateway stops.
        let chunk = format!("{:x}\r\n{late}\r\n", late.len());
        while writer.send_raw(chunk.as_bytes()).await {
            tokio::task::yield_now().await;
        }
    });
    let stopping = tokio::spawn(gateway.stop());
    let (results, summary) = answer.rest().await;
    stopping.await.expect("it stops");
    sending.await.expect("the connection is closed");
    assert_eq!(summary["end"], "shutting-down", "{summary}");
    assert_eq!(summary["read"], 1 + results.len() as u64);
    for result in results.iter().filter(|it| it["message_id"] != "m9999") {
        book.note(result["message_id"].as_str().expect("an id"), outcome(result));
    }
    let late = results.iter().filter(|it| it["message_id"] == "m9999").count();
    let drained: Vec<_> = observer.drain_ids("q").await;
    let (again, others): (Vec<_>, Vec<_>) = drained.into_iter().partition(|id| id == "m9999");
    assert_eq!(book.compare(&others, &[]), Lies::default());
    assert!(again.len() <= late, "{} messages, {late} results", again.len());
    broker.give_back().await;
}

#[tokio::test]
async fn an_exchange_that_is_deleted_and_made_again_fails_only_the_lines_in_between() {
    let (broker, observer, gateway) = own(&[]).await;
    let declare = || observer.declare_exchange("e", lapin::ExchangeKind::Fanout);
    declare().await;
    observer.bind("q", "e", "").await;
    let mut stream = PublishStream::open(gateway.address(), "/publish/e/stream").await;
    let mut outcomes = Vec::new();
    for n in 0..3 {
        for line in 0..3 {
            stream.line(&item(10 * n + line)).await;
            let result = stream.next().await.expect("a result");
            let problem = result["problem"]["type"].as_str().unwrap_or("confirmed").to_owned();
            outcomes.push(problem.replace("/problems/", ""));
        }
        if n == 0 {
            observer.delete_exchange("e").await;
        } else {
            declare().await;
            observer.bind("q", "e", "").await;
        }
    }
    let (kept, lost) = ("confirmed", "exchange-not-found");
    // The first line to a missing exchange shares its channel with others, and RabbitMQ closes it.
    assert_eq!(outcomes, [kept, kept, kept, lost, lost, lost, kept, kept, kept]);
    assert_eq!(firsts(&drain(&broker).await), [0, 1, 2, 20, 21, 22]);
    drop((stream, observer));
    gateway.stop().await;
    broker.give_back().await;
}
