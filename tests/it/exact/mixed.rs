//! Confirmed, refused and unroutable publishes together, to queues of different speed, with message ids that two callers share.

#![expect(clippy::print_stdout, reason = "the figures of the long form")]

use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use futures_util::future::join_all;
use lapin::{BasicProperties, types::AMQPValue};
use tokio::task::JoinSet;

use crate::support::{
    book::{Book, Lies, Outcome},
    load::Answer,
    observer::Observer,
    stage::Stage,
};

/// 256 callers in pairs, so that a pair can use one id at the same time.
const PAIRS: usize = 128;
/// How many messages in a hundred are not to be confirmed.
const SHARES: [usize; 3] = [5, 20, 50];
const TAKING: [&str; 4] = ["classic", "quorum", "lazy", "transient"];
/// The queue holds one message, and refuses every other.
const FULL: &str = "full";
const NOWHERE: &str = "nowhere";
/// Clients that empty a queue together.
const DRAINS: usize = 8;

/// `GATEWAY_TEST_REQUESTS=1000000` in release mode is the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_gets_the_outcome_of_another_message_among_slow_full_and_missing_queues() {
    let requests = env::var("GATEWAY_TEST_REQUESTS").map_or(6_912, |count| count.parse().expect("a number"));
    let stage = Arc::new(Stage::set("mixed").await);
    declare_queues(&stage.observer).await;
    let book = Arc::new(Book::default());
    for share in SHARES {
        let start = Instant::now();
        let mut pairs = JoinSet::new();
        for pair in 0..PAIRS {
            let mix = Mix { share, pair };
            pairs.spawn(mix.publish(requests / SHARES.len() / PAIRS / 2, stage.clone(), book.clone()));
        }
        let wrong: Vec<Answer> = pairs.join_all().await.concat();
        let took = start.elapsed();
        println!("{share} in 100, {} requests in {took:?}, {} wrong", requests / SHARES.len(), wrong.len());
        assert!(wrong.is_empty(), "{} are wrong, the first {:?}", wrong.len(), wrong[0]);
    }
    agrees(&book, &stage.observer).await;
    assert_eq!(stage.gateway.observes("publishes:in_flight").await, 0);
}

async fn declare_queues(observer: &Observer) {
    let text = |text: &str| AMQPValue::LongString(text.into());
    observer.declare_queue("classic").await;
    observer.declare_queue("transient").await;
    observer.declare_queue_with("quorum", &[("x-queue-type", text("quorum"))]).await;
    observer.declare_queue_with("lazy", &[("x-queue-mode", text("lazy"))]).await;
    let full = [("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))];
    observer.declare_queue_with(FULL, &full).await;
    observer.publish("", FULL, b"fills it", BasicProperties::default()).await;
}

/// The queues hold the confirmed messages, once each, and no others.
async fn agrees(book: &Book, observer: &Observer) {
    let mut there = Vec::new();
    for queue in TAKING {
        let drains = (0..DRAINS).map(|_| observer.drain_ids(queue));
        there.extend(join_all(drains).await.concat());
    }
    // The message that fills this queue has no id.
    assert_eq!(observer.drain_ids(FULL).await, [""]);
    assert_eq!(book.compare(&there, &[]), Lies::default(), "the answers disagree with the queues");
    assert_eq!(there.len(), book.count(Outcome::Confirmed), "a message is in the queues twice");
    let (unroutable, rejected) = (book.count(Outcome::Unroutable), book.count(Outcome::Rejected));
    println!("{} confirmed, {unroutable} unroutable, {rejected} rejected", there.len());
    assert!(unroutable > 0 && rejected > 0, "{unroutable} unroutable, {rejected} rejected");
}

/// The messages of one pair of callers.
#[derive(Clone, Copy)]
struct Mix {
    share: usize,
    pair: usize,
}

impl Mix {
    /// Both callers publish at once, one message after another; gives the wrong answers.
    async fn publish(self, messages: usize, stage: Arc<Stage>, book: Arc<Book>) -> Vec<Answer> {
        let mut wrong = Vec::new();
        for number in 0..messages {
            let [one, other] = self.two(number);
            let (one, other) = tokio::join!(one.publish(&stage), other.publish(&stage));
            for (message, answer) in [one, other] {
                if message.is_right(&answer) {
                    book.note(message.name, answer.known_outcome());
                } else {
                    wrong.push(answer);
                }
            }
        }
        wrong
    }

    /// Now and then both messages have the same id, and only one of them has a queue.
    fn two(self, number: usize) -> [Message; 2] {
        let name = format!("{}-{}-{number}", self.share, self.pair);
        if (self.pair + number).is_multiple_of(16) {
            let one = Message { id: name.clone(), name: name.clone(), queue: TAKING[number % TAKING.len()] };
            let other = Message { id: name.clone(), name: format!("{name} twin"), queue: NOWHERE };
            return [one, other];
        }
        [0, 1].map(|side| {
            let name = format!("{name}-{side}");
            let dice = dice(&name);
            let queue = match (dice % 100 < self.share, dice / 100) {
                (true, rest) => [NOWHERE, FULL][rest % 2],
                (false, rest) => TAKING[rest % TAKING.len()],
            };
            Message { id: name.clone(), name, queue }
        })
    }
}

/// The same number in each run.
fn dice(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() >> 32).expect("32 bits")
}

struct Message {
    id: String,
    /// The name in the book, where each name is unique.
    name: String,
    queue: &'static str,
}

impl Message {
    async fn publish(self, stage: &Stage) -> (Self, Answer) {
        let mode = if self.queue == "transient" { "transient" } else { "persistent" };
        let request = stage
            .post(&format!("/publish/amq.default?routing_key={}&timeout=60s", self.queue))
            .header("x-amqp-message-id", &self.id)
            .header("x-amqp-delivery-mode", mode)
            .body(self.name.clone());
        let sent = Instant::now();
        let answer = Answer::of(&self.id, sent, request.send().await.expect("the gateway answers")).await;
        (self, answer)
    }

    fn is_right(&self, answer: &Answer) -> bool {
        let right = match self.queue {
            NOWHERE => (422, "unroutable"),
            FULL => (503, "rejected"),
            _ => (200, "confirmed"),
        };
        (answer.status.as_u16(), answer.outcome()) == right
            && (&answer.body["message_id"], &answer.body["attempts"]) == (&self.id.as_str().into(), &1.into())
    }
}
