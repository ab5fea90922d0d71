//! Single publishes, batches and streams at once, with messages that no queue takes and that a queue refuses, through kills of
//! RabbitMQ: each answer is true, and a message that is in a queue twice was announced.
//!
//! `make test-exactness` is the long form: a million messages in release mode.

#![expect(clippy::print_stdout, reason = "the figures of the long form")]

use std::{
    collections::HashMap,
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lapin::{BasicProperties, types::AMQPValue};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    book::{Book, Lies, Outcome},
    broker::Broker,
    gateway::TestGateway,
    observer::Observer,
    poll::{eventually, pass},
    publish_stream::{PublishStream, StreamAnswer, StreamWriter},
};

const SOON: Duration = Duration::from_mins(1);
const TIMEOUT: &str = "timeout=60s";
/// Callers of single publishes, callers of batches, and streams. Each kind publishes a third of the messages.
const CALLERS: [usize; 3] = [16, 4, 4];
const BATCH: usize = 100;
/// The queues, by the number of a message. One message in ten has no queue, one in ten a full one.
const QUEUES: [&str; 10] =
    ["classic", "quorum", "classic", "quorum", "classic", "quorum", "classic", "quorum", "full", "nowhere"];

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |count| count.parse().expect("a number"))
}

/// The answers of all callers.
#[derive(Default)]
struct Answers {
    book: Book,
    /// The messages that may be in a queue twice.
    announced: Mutex<Vec<String>>,
    /// The messages whose outcome is unknown.
    unknown: Mutex<Vec<String>>,
    count: AtomicUsize,
}

impl Answers {
    /// Notes a receipt, a result, or a problem.
    fn note(&self, id: &str, answer: &Value) {
        let outcome: Outcome = serde_json::from_value(answer["outcome"].clone()).expect("an outcome");
        self.book.note(id, outcome);
        if answer["duplicate_possible"] == true {
            self.announced.lock().expect("no writer panics").push(id.to_owned());
        }
        if outcome == Outcome::Unknown {
            self.unknown.lock().expect("no writer panics").push(id.to_owned());
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn note_result(&self, result: &Value) {
        self.note(result["message_id"].as_str().expect("an id"), result);
    }
}

struct Stage {
    gateway: TestGateway,
    answers: Answers,
}

fn item(caller: &str, number: usize) -> Value {
    let queue = QUEUES[number % QUEUES.len()];
    json!({"routing_key": queue, "properties": {"message_id": format!("{caller}-{number}")}, "body_text": "x"})
}

/// Publishes one message after the other.
async fn single(stage: Arc<Stage>, caller: String, messages: usize) {
    let path = format!("/publish/amq.default?{TIMEOUT}");
    for n in 0..messages {
        let request = stage.gateway.post(&path).header("content-type", "application/vnd.amqp.message+json");
        let answer = request.body(item(&caller, n).to_string()).send().await.expect("an answer");
        stage.answers.note(&format!("{caller}-{n}"), &answer.json().await.expect("JSON"));
    }
}

/// Publishes batches, one after the other.
async fn batches(stage: Arc<Stage>, caller: String, messages: usize) {
    let path = format!("/publish/amq.default/batch?{TIMEOUT}");
    for batch in 0..messages.div_ceil(BATCH) {
        let items: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(|n| item(&caller, n)).collect();
        let request = stage.gateway.post(&path).header("content-type", "application/json");
        let answer = request.body(Value::from(items).to_string()).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
        for result in results {
            stage.answers.note_result(result);
        }
    }
}

/// Publishes a stream, and reads its results meanwhile.
async fn stream(stage: Arc<Stage>, caller: String, messages: usize) {
    let path = format!("/publish/amq.default/stream?{TIMEOUT}");
    let (writer, answer) = PublishStream::open(stage.gateway.address(), &path).await.split();
    let writing = tokio::spawn(write(writer, caller, messages));
    read(answer, &stage.answers, messages).await;
    writing.await.expect("the gateway reads all lines");
}

async fn write(mut writer: StreamWriter, caller: String, messages: usize) {
    for n in 0..messages {
        writer.send(format!("{}\n", item(&caller, n))).await;
    }
    writer.finish().await;
}

async fn read(mut answer: StreamAnswer, answers: &Answers, messages: usize) {
    while let Some(line) = answer.next().await {
        if line["summary"].is_null() {
            answers.note_result(&line);
        } else {
            assert_eq!(
                (&line["summary"]["read"], &line["summary"]["end"]),
                (&messages.into(), &"complete".into())
            );
            return;
        }
    }
    panic!("the answer of a stream has no summary");
}

async fn declare(observer: &Observer) {
    let text = |text: &str| AMQPValue::LongString(text.into());
    observer.declare_queue("classic").await;
    observer.declare_queue_with("quorum", &[("x-queue-type", text("quorum"))]).await;
    let full = [("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))];
    observer.declare_queue_with("full", &full).await;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    observer.publish("", "full", b"fills it", persistent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_publishes_batches_and_streams_get_true_answers_through_kills_of_rabbitmq() {
    let (messages, kills) = (number("GATEWAY_TEST_REQUESTS", 6_000), number("GATEWAY_TEST_KILLS", 1));
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    declare(&observer).await;
    broker.sync_topology().await;
    drop(observer);
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url())]).await;
    let stage = Arc::new(Stage { gateway, answers: Answers::default() });
    let (mut callers, begun, each) = (JoinSet::new(), Instant::now(), messages / 3);
    let share = |kind: usize| (each / CALLERS[kind]).next_multiple_of(BATCH);
    for n in 0..CALLERS[0] {
        callers.spawn(single(Arc::clone(&stage), format!("single{n}"), share(0)));
    }
    for n in 0..CALLERS[1] {
        callers.spawn(batches(Arc::clone(&stage), format!("batch{n}"), share(1)));
    }
    for n in 0..CALLERS[2] {
        callers.spawn(stream(Arc::clone(&stage), format!("stream{n}"), share(2)));
    }
    let all: usize = (0..CALLERS.len()).map(|kind| CALLERS[kind] * share(kind)).sum();
    for kill in 1..=kills {
        let due = all * kill / (kills + 2);
        let reached = || async { stage.answers.count.load(Ordering::Relaxed) >= due };
        eventually(SOON * 2, "the messages before the next kill are answered", reached).await;
        broker.kill().await;
        broker.start().await;
        pass(Duration::from_millis(100)).await;
    }
    callers.join_all().await;
    let Stage { gateway, answers } = Arc::into_inner(stage).expect("every caller has ended");
    assert_eq!(answers.count.load(Ordering::Relaxed), all, "every message has one answer");
    check(&Observer::connect(&broker.url()).await, &answers).await;
    println!("figure: {all} messages, {kills} kills, {:?}", begun.elapsed());
    gateway.stop().await;
    broker.give_back().await;
}

/// Compares the answers with the queues.
async fn check(observer: &Observer, answers: &Answers) {
    let mut there = observer.take_ids("classic").await;
    there.extend(observer.take_ids("quorum").await);
    let refusing: Vec<_> = observer.drain_ids("full").await.into_iter().filter(|id| !id.is_empty()).collect();
    assert_eq!(
        answers.book.compare(&there, &refusing),
        Lies::default(),
        "the answers disagree with the queues"
    );
    let mut copies: HashMap<&str, usize> = HashMap::new();
    for id in &there {
        *copies.entry(id).or_default() += 1;
    }
    let announced = answers.announced.lock().expect("no writer panics");
    copies.retain(|id, count| *count > 1 && !announced.iter().any(|it| it == id));
    assert_eq!(copies, HashMap::new(), "messages are in a queue twice, and no answer says so");
    for outcome in
        [Outcome::Confirmed, Outcome::Unroutable, Outcome::Rejected, Outcome::NotSent, Outcome::Unknown]
    {
        println!("figure: {} {outcome}", answers.book.count(outcome));
    }
    assert_eq!(answers.book.count(Outcome::NotSent), 0, "a restart delays messages");
    // A message that was lost with its connection, and then returned, may be in a queue, as far as the gateway can know.
    let unknown = answers.unknown.lock().expect("no writer panics");
    let has_queue = |id: &&String| !id.ends_with('9');
    assert_eq!(unknown.iter().find(has_queue), None, "{} are unknown", unknown.len());
}
