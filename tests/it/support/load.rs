//! `Load`: callers that publish one message after another, and every answer that they got.
//!
//! Ids are unique over the whole load, so that the queues can be held against the answers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    book::{Book, Outcome},
    gateway::TestGateway,
    poll::{eventually, within},
};

/// Longer than any deadline that a test gives.
const NOBODY_HANGS: Duration = Duration::from_secs(65);

/// What one caller was told.
#[derive(Debug, Clone)]
pub struct Answer {
    pub id: String,
    pub status: StatusCode,
    pub has_retry_after: bool,
    /// Receipt or problem, as it came.
    pub text: String,
    pub body: Value,
    pub sent: Instant,
    pub at: Instant,
}

impl Answer {
    pub async fn of(id: &str, sent: Instant, response: Response) -> Self {
        let status = response.status();
        let has_retry_after = response.headers().contains_key("retry-after");
        let text = response.text().await.expect("the answer has a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { id: id.to_owned(), status, has_retry_after, text, body, sent, at: Instant::now() }
    }

    /// The field `outcome`; empty without one.
    pub fn outcome(&self) -> &str {
        self.body["outcome"].as_str().unwrap_or_default()
    }

    /// The field `outcome`, which must be there.
    pub fn known_outcome(&self) -> Outcome {
        Outcome::deserialize(&self.body["outcome"]).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The kind of problem; empty for a receipt.
    pub fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("/problems/").unwrap_or(kind)
    }

    pub fn is_confirmed(&self) -> bool {
        self.status == StatusCode::OK && self.outcome() == "confirmed"
    }

    pub fn is_duplicate_possible(&self) -> bool {
        self.body["duplicate_possible"] == true
    }

    pub fn took(&self) -> Duration {
        self.at - self.sent
    }

    /// 503, nothing sent, and it says when to try again.
    pub fn assert_refused(&self, problem: &str) {
        assert_eq!(
            (self.status.as_u16(), self.problem(), self.outcome()),
            (503, problem, "not_sent"),
            "{self:?}"
        );
        assert!(self.has_retry_after, "{self:?}");
    }

    /// 504: nobody knows.
    pub fn assert_unknown(&self) {
        let (problem, outcome) = (self.problem(), self.outcome());
        assert_eq!((self.status.as_u16(), problem, outcome), (504, "outcome-unknown", "unknown"), "{self:?}");
    }

    pub fn assert_confirmed(&self) {
        assert!(self.is_confirmed(), "{self:?}");
    }
}

/// Publishes once, alone, as a gateway does to an exchange that it does not know. So the next publish goes over a
/// channel for many, and tells that it is open.
pub async fn prove(gateway: &TestGateway, target: &str) {
    publish(gateway, target, "proof").await.assert_confirmed();
}

/// Publishes one message with this id; `target` is the path below `/publish/`, with its query.
pub async fn publish(gateway: &TestGateway, target: &str, id: &str) -> Answer {
    ask(message(gateway.client(), &gateway.url(&format!("/publish/{target}")), id), id).await
}

pub(super) fn message(client: &Client, url: &str, id: &str) -> RequestBuilder {
    client.post(url).header("content-type", "text/plain").header("x-amqp-message-id", id).body(id.to_owned())
}

pub(super) async fn ask(request: RequestBuilder, id: &str) -> Answer {
    let sent = Instant::now();
    let response = within(NOBODY_HANGS, "the gateway answers", request.send()).await;
    Answer::of(id, sent, response.expect("the gateway answers")).await
}

/// Callers at work.
pub struct Load {
    callers: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Load {
    /// `callers` that publish until they are stopped; `target` names the place of each message by its number.
    pub fn start(
        gateway: &TestGateway,
        name: &str,
        callers: usize,
        target: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> Self {
        Self::of(gateway, name, callers, usize::MAX, target)
    }

    /// The same, each caller ending by itself after `messages`.
    pub fn of(
        gateway: &TestGateway,
        name: &str,
        callers: usize,
        messages: usize,
        target: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> Self {
        let mut load = Self { callers: JoinSet::new(), stop: Arc::default(), answers: Arc::default() };
        for caller in 0..callers {
            let (stop, answers, target) = (Arc::clone(&load.stop), Arc::clone(&load.answers), target.clone());
            let (client, base) = (gateway.client().clone(), gateway.url("/publish/"));
            let name = format!("{name}-{caller}");
            load.callers.spawn(async move {
                for number in (0..messages).take_while(|_| !stop.load(Ordering::SeqCst)) {
                    let id = format!("{name}-{number}");
                    let answer = ask(message(&client, &format!("{base}{}", target(number)), &id), &id).await;
                    answers.lock().expect("no caller panics").push(answer);
                }
            });
        }
        load
    }

    /// Answers so far.
    pub fn answered(&self) -> usize {
        self.answers.lock().expect("no caller panics").len()
    }

    /// Confirmed answers so far.
    pub fn confirmed(&self) -> usize {
        let answers = self.answers.lock().expect("no caller panics");
        answers.iter().filter(|answer| answer.is_confirmed()).count()
    }

    /// When the first confirm arrived of a message that was sent or still waited at `instant`.
    pub fn first_confirm_after(&self, instant: Instant) -> Option<Instant> {
        let answers = self.answers.lock().expect("no caller panics");
        answers.iter().filter(|answer| answer.is_confirmed() && answer.at > instant).map(|it| it.at).min()
    }

    /// Waits until `count` more are confirmed.
    pub async fn flows(&self, count: usize, deadline: Duration) {
        let wanted = self.confirmed() + count;
        eventually(deadline, &format!("{count} more confirms"), || async { self.confirmed() >= wanted })
            .await;
    }

    /// Lets every caller finish its message; all answers.
    pub async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        self.end().await
    }

    /// Waits for callers that end by themselves; all answers.
    pub async fn end(mut self) -> Answers {
        while let Some(caller) = self.callers.join_next().await {
            caller.expect("no caller panics");
        }
        Answers(std::mem::take(&mut self.answers.lock().expect("no caller panics")))
    }
}

/// All that the callers of a load were told.
pub struct Answers(pub Vec<Answer>);

impl Answers {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nobody saw an error.
    pub fn assert_all_confirmed(&self) {
        let failed: Vec<_> = self.0.iter().filter(|answer| !answer.is_confirmed()).collect();
        let count = (failed.len(), self.len());
        assert!(failed.is_empty(), "{count:?} callers saw an error, the first {:?}", failed[0]);
    }

    /// The answers agree with all that is in the queues: see [`Book`], and an id that is there twice was said to be.
    pub fn assert_agree_with(&self, drained: &[String]) {
        let book = Book::default();
        for answer in &self.0 {
            book.note(&answer.id, answer.known_outcome());
        }
        book.assert_agrees(drained);
        let mut copies: HashMap<&str, usize> = HashMap::new();
        for id in drained {
            *copies.entry(id).or_default() += 1;
        }
        let told = |answer: &&Answer| answer.is_duplicate_possible() || answer.outcome() == "unknown";
        for answer in self.0.iter().filter(|answer| !told(answer)) {
            let count = copies.get(answer.id.as_str()).copied().unwrap_or_default();
            assert!(count <= 1, "{count} copies, not told: {answer:?}");
        }
    }
}
