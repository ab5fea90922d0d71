//! Workers take messages at several replicas and settle them at others, in every way, while connections are cut and replicas are
//! replaced: no message is lost, and none comes back after it was answered `acked`.
//!
//! `make test-consume-chaos` is the long form, with kills of RabbitMQ.

#![expect(clippy::print_stdout, reason = "the figures of the long form")]

use std::{
    collections::{BTreeMap, HashSet},
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lapin::{BasicProperties, types::AMQPValue};
use serde_json::{Value, json};
use tokio::{sync::RwLock, task::JoinSet};

use crate::support::{
    broker::{Broker, OwnBroker},
    gateway::TestGateway,
    link::Link,
    observer::Observer,
    poll::pass,
};

const QUEUES: [&str; 2] = ["classic", "quorum"];
const REPLICAS: usize = 3;
/// How many of ten messages are settled in each way; the rest is never settled, as by a worker that crashed.
const WAYS: [(&str, u32); 4] = [("ack", 6), ("release", 1), ("retry", 1), ("dead_letter", 1)];

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |count| count.parse().expect("a number"))
}

/// The knowledge of the workers about one message.
#[derive(Debug, Default, Clone)]
struct Life {
    /// When a worker got the answer `acked`.
    acked: Option<Instant>,
    /// Whether the answer to an ack was unknown.
    perhaps_acked: bool,
    is_dead: bool,
    /// The retries that workers asked for.
    retries: i64,
    /// Whether a copy may be in a queue beside the original.
    perhaps_twice: bool,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Lives(Mutex<BTreeMap<String, Life>>);

impl Lives {
    fn with<T>(&self, id: &str, change: impl FnOnce(&mut Life) -> T) -> T {
        change(self.0.lock().expect("no writer panics").entry(id.to_owned()).or_default())
    }

    /// A worker got a message by a pull that it sent at this time.
    fn came(&self, message: &Value, sent: Instant, classic_came_back: bool) {
        let id = id(message);
        let count = &message["headers"]["x-retry-count"];
        let count = count.get("value").unwrap_or(count).as_i64().unwrap_or_default();
        self.with(&id, |life| {
            let is_excused = life.perhaps_twice || classic_came_back;
            if life.acked.is_some_and(|acked| acked < sent) && !is_excused {
                life.wrong.push(format!("came back after its ack: {message}"));
            }
            if count > life.retries {
                life.wrong.push(format!("was retried {} times, and says {count}", life.retries));
            }
        });
    }

    fn settled(&self, id: &str, way: &str, result: &Value) {
        let outcome = result["outcome"].as_str().unwrap_or_default();
        let is_unknown = result["problem"]["type"] == "/problems/outcome-unknown";
        self.with(id, |life| match (way, outcome, is_unknown) {
            ("ack", "acked", _) => life.acked = Some(Instant::now()),
            ("ack", _, true) => life.perhaps_acked = true,
            ("dead_letter", "dead_lettered", _) => life.is_dead = true,
            ("retry" | "dead_letter", _, true) => life.perhaps_twice = true,
            _ => {}
        });
    }
}

fn id(message: &Value) -> String {
    message["properties"]["message_id"].as_str().expect("an id").to_owned()
}

/// The replicas, the queues and the workers.
struct Stage {
    replicas: Vec<RwLock<TestGateway>>,
    lives: Lives,
    is_over: AtomicBool,
    /// Whether RabbitMQ was killed: a classic queue then brings back messages whose ack it had read.
    was_killed: AtomicBool,
    pulled: AtomicUsize,
    settled: AtomicUsize,
}

/// A generator of numbers, each the same in every run of a worker.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn way(&mut self) -> Option<&'static str> {
        let mut throw = u32::try_from(self.throw(10)).expect("a small number");
        for (way, share) in WAYS {
            if throw < share {
                return Some(way);
            }
            throw -= share;
        }
        None
    }
}

impl Stage {
    async fn post(&self, replica: u64, path: &str, body: &Value) -> Option<Value> {
        let gateway = self.replicas[usize::try_from(replica).expect("a small number")].read().await;
        let request = gateway.post(path).header("content-type", "application/json").body(body.to_string());
        drop(gateway);
        request.send().await.ok()?.json().await.ok()
    }

    async fn work(self: Arc<Self>, worker: u64) {
        let mut dice = Dice(worker + 1);
        while !self.is_over.load(Ordering::Relaxed) {
            let queue = QUEUES[usize::try_from(dice.throw(2)).expect("a small number")];
            let pull = json!({"max": 1 + dice.throw(8), "wait": "1s", "lease": "3s"});
            let (sent, replica) = (Instant::now(), dice.throw(REPLICAS as u64));
            let came_back = self.was_killed.load(Ordering::Relaxed) && queue == "classic";
            let Some(answer) = self.post(replica, &format!("/queues/{queue}/messages/pull"), &pull).await
            else {
                continue;
            };
            let messages = answer["messages"].as_array().cloned().unwrap_or_default();
            for message in &messages {
                self.pulled.fetch_add(1, Ordering::Relaxed);
                self.lives.came(message, sent, came_back);
                if let Some(way) = dice.way() {
                    self.settle(dice.throw(REPLICAS as u64), queue, way, message).await;
                }
            }
        }
    }

    async fn settle(&self, replica: u64, queue: &str, way: &str, message: &Value) {
        let (id, lease) = (id(message), &message["lease_id"]);
        if way == "retry" {
            self.lives.with(&id, |life| life.retries += 1);
        }
        let item = match way {
            "retry" => json!({"lease_id": lease, "delay": "1s"}),
            "dead_letter" => json!({"lease_id": lease, "reason": "a test"}),
            _ => lease.clone(),
        };
        let body = json!({way: [item], "dead_letter_to": {"exchange": "amq.default", "routing_key": "dead"}});
        let path = format!("/queues/{queue}/messages/settle?timeout=5s");
        let unknown = json!({"results": [{"problem": {"type": "/problems/outcome-unknown"}}]});
        let answer = self.post(replica, &path, &body).await.unwrap_or(unknown);
        self.lives.settled(&id, way, &answer["results"][0]);
        self.settled.fetch_add(1, Ordering::Relaxed);
    }
}

async fn declare(observer: &Observer, messages: usize) {
    for queue in QUEUES {
        let kind = [("x-queue-type", AMQPValue::LongString(queue.into()))];
        observer.declare_queue_with(queue, &kind).await;
    }
    observer.declare_queue("dead").await;
    for n in 0..messages {
        let properties =
            BasicProperties::default().with_message_id(n.to_string().into()).with_delivery_mode(2);
        observer.publish("", QUEUES[n % 2], n.to_string().as_bytes(), properties).await;
    }
}

async fn replica(link: &Link, broker: &Broker) -> TestGateway {
    let url = broker.url().replace(&broker.address().to_string(), &link.addr().to_string());
    TestGateway::start(&[("AMQP_URL", &url), ("GATEWAY_SHUTDOWN_TIMEOUT", "1s")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_and_none_comes_back_after_its_ack_through_cuts_and_replacements_of_replicas() {
    let (messages, seconds) = (number("GATEWAY_TEST_REQUESTS", 1_000), number("GATEWAY_TEST_SECONDS", 8));
    let (workers, kills) = (number("GATEWAY_TEST_WORKERS", 16), number("GATEWAY_TEST_KILLS", 0));
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    declare(&observer, messages).await;
    broker.sync_topology().await;
    drop(observer);
    let (mut links, mut replicas) = (Vec::new(), Vec::new());
    for _ in 0..REPLICAS {
        let link = Link::to(broker.address()).await;
        replicas.push(RwLock::new(replica(&link, &broker).await));
        links.push(link);
    }
    let stage = Arc::new(Stage {
        replicas,
        lives: Lives::default(),
        is_over: AtomicBool::new(false),
        was_killed: AtomicBool::new(false),
        pulled: AtomicUsize::new(0),
        settled: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        tasks.spawn(Arc::clone(&stage).work(worker as u64));
    }
    let faults = disturb(&stage, &links, &broker, Duration::from_secs(seconds as u64), kills).await;
    stage.is_over.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    let stage = Arc::into_inner(stage).expect("every worker has ended");
    for gateway in stage.replicas {
        gateway.into_inner().stop().await;
    }
    let observer = Observer::connect(&broker.url()).await;
    check(&observer, &stage.lives, messages, kills > 0).await;
    println!("figure: {:?} pulled, {:?} settled, {faults} faults", stage.pulled, stage.settled);
    broker.give_back().await;
}

/// Cuts connections, replaces replicas and kills RabbitMQ, until the time is over. Returns the number of faults.
async fn disturb(stage: &Stage, links: &[Link], broker: &OwnBroker, time: Duration, kills: usize) -> usize {
    let begun = Instant::now();
    let (mut dice, mut faults, mut killed) = (Dice(99), 0, 0);
    while begun.elapsed() < time {
        pass(Duration::from_millis(300)).await;
        let (number, fault) = (usize::try_from(dice.throw(REPLICAS as u64)).expect("small"), dice.throw(5));
        let link = &links[number];
        match fault {
            0 => link.cut(),
            1 | 2 => link.cut_named("lease-0"),
            3 => link.cut_named("publish-*"),
            _ => {
                let mut gateway = stage.replicas[number].write().await;
                let next = replica(link, broker).await;
                std::mem::replace(&mut *gateway, next).stop().await;
            }
        }
        faults += 1;
        let due = begun.elapsed().as_millis() * (kills as u128 + 1) > time.as_millis() * (killed as u128 + 1);
        if killed < kills && due {
            killed += 1;
            stage.was_killed.store(true, Ordering::Relaxed);
            broker.kill().await;
            broker.start().await;
        }
    }
    faults
}

/// Compares the knowledge of the workers with the queues.
async fn check(observer: &Observer, lives: &Lives, messages: usize, was_killed: bool) {
    let mut left = HashSet::new();
    for queue in QUEUES {
        for name in [queue.to_owned(), format!("{queue}.retry.1s")] {
            if observer.count(&name).await.is_some() {
                left.extend(observer.take_ids(&name).await);
            }
        }
    }
    let dead: HashSet<_> = observer.take_ids("dead").await.into_iter().collect();
    let lives = lives.0.lock().expect("no writer panics");
    let mut wrong: Vec<_> =
        lives.iter().flat_map(|(id, life)| life.wrong.iter().map(move |it| format!("{id} {it}"))).collect();
    let mut acked = 0;
    for n in 0..messages {
        let (id, life) = (n.to_string(), lives.get(&n.to_string()).cloned().unwrap_or_default());
        acked += usize::from(life.acked.is_some());
        let is_somewhere =
            life.acked.is_some() || life.perhaps_acked || left.contains(&id) || dead.contains(&id);
        if !is_somewhere {
            wrong.push(format!("{id} is lost: {life:?}"));
        }
        let is_excused = life.perhaps_twice || was_killed && n % 2 == 0;
        if life.acked.is_some() && left.contains(&id) && !is_excused {
            wrong.push(format!("{id} is in a queue after its ack: {life:?}"));
        }
        if life.is_dead && !dead.contains(&id) {
            wrong.push(format!("{id} is not among the dead letters: {life:?}"));
        }
    }
    println!("figure: {acked} acked, {} dead letters, {} left", dead.len(), left.len());
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    assert!(acked * 10 > messages, "only {acked} of {messages} were acked");
}
