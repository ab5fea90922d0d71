//! The workers: they take messages at one replica and settle them at another one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::{Value, json};

use super::{
    lives::{Asked, Lives, NO_ANSWER, Taken},
    owner::Owner,
    replica::Replica,
};

pub const QUEUES: [&str; 2] = ["classic", "quorum"];
pub const REPLICAS: usize = 3;
/// How many of ten messages are settled in each way; the rest is never settled, as by a worker that crashed.
const WAYS: [(&str, u32); 4] = [("ack", 6), ("release", 1), ("retry", 1), ("dead_letter", 1)];
/// Longer than any wait of the gateway and any freeze.
const PATIENCE: Duration = Duration::from_secs(40);

/// A generator of numbers, each the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
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

/// The replicas and the workers.
pub struct Stage {
    pub replicas: Vec<Replica>,
    pub lives: Lives,
    pub is_over: AtomicBool,
    /// Whether RabbitMQ was killed.
    pub was_killed: AtomicBool,
    client: Client,
}

impl Stage {
    pub fn new(replicas: Vec<Replica>) -> Self {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client without TLS");
        let (is_over, was_killed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { replicas, lives: Lives::default(), is_over, was_killed, client }
    }

    /// Sends a request to a replica, or to the next one while it accepts no connection. Returns the answer, and the knowledge about
    /// the process that gave it.
    async fn post(&self, replica: usize, path: &str, body: &Value) -> Option<(Value, Arc<Owner>)> {
        for attempt in 0..REPLICAS {
            let (address, owner) = self.replicas[(replica + attempt) % REPLICAS].current().await;
            match self.send(address, path, body).await {
                Err(error) if error.is_connect() => {}
                answer => return answer.ok().map(|answer| (answer, owner)),
            }
        }
        None
    }

    async fn send(&self, address: SocketAddr, path: &str, body: &Value) -> reqwest::Result<Value> {
        let request = self.client.post(format!("http://{address}{path}"));
        request.header("content-type", "application/json").body(body.to_string()).send().await?.json().await
    }

    pub async fn work(self: Arc<Self>, worker: u64) {
        let mut dice = Dice(worker + 1);
        while !self.is_over.load(Ordering::Relaxed) {
            let queue = QUEUES[dice.throw(2)];
            let pull = json!({"max": 1 + dice.throw(8), "wait": "1s", "lease": "3s"});
            let asked = Instant::now();
            let is_after_crash = self.was_killed.load(Ordering::Relaxed) && queue == "classic";
            let path = format!("/queues/{queue}/messages/pull");
            let Some((answer, owner)) = self.post(dice.throw(REPLICAS), &path, &pull).await else { continue };
            let messages = answer["messages"].as_array().cloned().unwrap_or_default();
            for message in &messages {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let (id, lease) = (text(&message["properties"]["message_id"]), text(&message["lease_id"]));
                let owner = Arc::clone(&owner);
                let taken = Taken { id, queue, lease, asked, owner, is_after_crash };
                self.lives.came(&taken, message);
                if let Some(way) = dice.way() {
                    self.settle(&mut dice, &taken, way).await;
                }
            }
        }
    }

    /// Settles a message, and sends the same request again when the answer is unknown, and now and then when it is not.
    async fn settle(&self, dice: &mut Dice, taken: &Taken, way: &'static str) {
        self.lives.settles(taken, way);
        let first = self.ask(dice, taken, way, None).await;
        if first == NO_ANSWER || first == "outcome-unknown" || dice.throw(8) == 0 {
            self.ask(dice, taken, way, Some(&first)).await;
        }
    }

    async fn ask(&self, dice: &mut Dice, taken: &Taken, way: &'static str, first: Option<&str>) -> String {
        let lease = &taken.lease;
        let item = match way {
            "retry" => json!({"lease_id": lease, "delay": "1s"}),
            "dead_letter" => json!({"lease_id": lease, "reason": "a test"}),
            _ => json!(lease),
        };
        let body = json!({way: [item], "dead_letter_to": {"exchange": "amq.default", "routing_key": "dead"}});
        let timeout = ["1s", "1s", "1s", "5s"][dice.throw(4)];
        let path = format!("/queues/{}/messages/settle?timeout={timeout}", taken.queue);
        let frozen = taken.owner.frozen();
        let answer = self.post(dice.throw(REPLICAS), &path, &body).await;
        let word = answer.map_or_else(|| NO_ANSWER.to_owned(), |(answer, _)| word(&answer));
        self.lives.settled(taken, &Asked { way, word: &word, first, frozen });
        word
    }
}

/// The outcome of the only action of a settle, or the name of its problem or of that of the request.
fn word(answer: &Value) -> String {
    let result = &answer["results"][0];
    let name = result["outcome"].as_str().or(result["problem"]["type"].as_str()).or(answer["type"].as_str());
    name.unwrap_or_else(|| panic!("{answer}")).replace("/problems/", "")
}
