//! `Load`: callers that publish one message after another, and every answer that they got.
//!
//! Ids are unique over the whole load, so that a test can compare the queues with the answers.

mod answers;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder};
use tokio::task::JoinSet;

pub use self::answers::{Answer, Answers};
use super::{
    gateway::TestGateway,
    poll::{eventually, pass, within},
};

/// Longer than any deadline that a test sets.
const NOBODY_HANGS: Duration = Duration::from_secs(65);

/// Publishes one message as isolated, as the gateway does for an exchange that it does not know. After it the next publish goes
/// over a shared channel, and shows that this channel is open.
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

/// Callers that publish at this moment.
pub struct Load {
    callers: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Load {
    /// Starts `callers` that publish until they are stopped; `target` gives the path of each message by its number.
    pub fn start(
        gateway: &TestGateway,
        name: &str,
        callers: usize,
        target: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> Self {
        Self::of(gateway, name, callers, usize::MAX, target)
    }

    /// The same; each caller ends by itself after `messages`.
    pub fn of(
        gateway: &TestGateway,
        name: &str,
        callers: usize,
        messages: usize,
        target: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> Self {
        Self::with(gateway, name, callers, (messages, Duration::ZERO), target)
    }

    /// Starts `callers` that pause after each answer.
    pub fn paced(
        gateway: &TestGateway,
        name: &str,
        callers: usize,
        pause: Duration,
        target: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> Self {
        Self::with(gateway, name, callers, (usize::MAX, pause), target)
    }

    fn with(
        gateway: &TestGateway,
        name: &str,
        callers: usize,
        (messages, pause): (usize, Duration),
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
                    if !pause.is_zero() {
                        pass(pause).await;
                    }
                }
            });
        }
        load
    }

    /// The number of answers so far.
    pub fn answered(&self) -> usize {
        self.answers.lock().expect("no caller panics").len()
    }

    /// The number of confirmed answers so far.
    pub fn confirmed(&self) -> usize {
        let answers = self.answers.lock().expect("no caller panics");
        answers.iter().filter(|answer| answer.is_confirmed()).count()
    }

    /// The time of the first confirm for a message that was sent or still waited at `instant`.
    pub fn first_confirm_after(&self, instant: Instant) -> Option<Instant> {
        let answers = self.answers.lock().expect("no caller panics");
        answers.iter().filter(|answer| answer.is_confirmed() && answer.at > instant).map(|it| it.at).min()
    }

    /// Waits until `count` further messages are confirmed.
    pub async fn flows(&self, count: usize, deadline: Duration) {
        let wanted = self.confirmed() + count;
        eventually(deadline, &format!("{count} more confirms"), || async { self.confirmed() >= wanted })
            .await;
    }

    /// Waits until there are `count` answers of any kind.
    pub async fn is_answered(&self, count: usize, deadline: Duration) {
        eventually(deadline, &format!("{count} answers"), || async { self.answered() >= count }).await;
    }

    /// Waits until every caller has finished its message; gives all answers.
    pub async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        self.end().await
    }

    /// Waits for callers that end by themselves; gives all answers.
    pub async fn end(mut self) -> Answers {
        while let Some(caller) = self.callers.join_next().await {
            caller.expect("no caller panics");
        }
        Answers(std::mem::take(&mut self.answers.lock().expect("no caller panics")))
    }
}
