//! `Direct`: a direct publisher to RabbitMQ, without the gateway, with a fresh channel for each message. It shows how RabbitMQ
//! itself would have answered at that moment.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::observer::Observer;

/// Longer than an election.
const PATIENCE: Duration = Duration::from_secs(3);
/// The beginning of the ids of its messages.
const ID: &str = "direct-";

/// RabbitMQ's answer to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Ack,
    Nack,
    /// The node could not be reached, or did not answer in time.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub sent: Instant,
    pub at: Instant,
    pub told: Told,
}

pub struct Direct {
    stop: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    work: JoinHandle<()>,
}

/// A connection to one node, which is opened again when it is lost.
struct Place {
    url: String,
    connection: tokio::sync::Mutex<Option<Arc<Observer>>>,
}

impl Direct {
    /// Publishes to a queue after each pause, to one node after the other, whether or not earlier messages were answered.
    pub fn start(urls: Vec<String>, queue: &str, pause: Duration) -> Self {
        let (stop, attempts) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Attempt>>>::default());
        let places =
            urls.into_iter().map(|url| Arc::new(Place { url, connection: tokio::sync::Mutex::default() }));
        let places: Vec<_> = places.collect();
        let (queue, stopped, noted) = (queue.to_owned(), Arc::clone(&stop), Arc::clone(&attempts));
        let work = tokio::spawn(async move {
            let mut tick = tokio::time::interval(pause);
            let mut publishes = JoinSet::new();
            for number in (0..).take_while(|_| !stopped.load(Ordering::SeqCst)) {
                tick.tick().await;
                let place = Arc::clone(&places[number % places.len()]);
                let (queue, noted) = (queue.clone(), Arc::clone(&noted));
                publishes.spawn(async move {
                    let sent = Instant::now();
                    let told = place.publish(&queue, &format!("{ID}{number}")).await;
                    let attempt = Attempt { sent, at: Instant::now(), told };
                    noted.lock().expect("no publish panics").push(attempt);
                });
            }
            publishes.join_all().await;
        });
        Self { stop, attempts, work }
    }

    /// The time of the confirm for the first message that was sent after `instant` and confirmed.
    pub fn first_ack_after(&self, instant: Instant) -> Option<Instant> {
        let attempts = self.attempts.lock().expect("no publish panics");
        attempts
            .iter()
            .filter(|attempt| attempt.told == Told::Ack && attempt.sent >= instant)
            .map(|attempt| attempt.at)
            .min()
    }

    /// Waits for the last answer; gives all answers.
    pub async fn stop(self) -> Vec<Attempt> {
        self.stop.store(true, Ordering::SeqCst);
        self.work.await.expect("no publish panics");
        std::mem::take(&mut self.attempts.lock().expect("no publish panics"))
    }

    /// Whether a message in a queue comes from a direct publisher.
    pub fn is_own(id: &str) -> bool {
        id.starts_with(ID)
    }
}

impl Place {
    async fn publish(&self, queue: &str, id: &str) -> Told {
        let publish = async {
            let observer = self.connected().await?;
            observer.try_publish(queue, id).await.ok()
        };
        match timeout(PATIENCE, publish).await {
            Ok(Some(true)) => Told::Ack,
            Ok(Some(false)) => Told::Nack,
            Ok(None) | Err(_) => Told::Nothing,
        }
    }

    async fn connected(&self) -> Option<Arc<Observer>> {
        let mut connection = self.connection.lock().await;
        if let Some(observer) = connection.as_ref().filter(|observer| observer.is_connected()) {
            return Some(Arc::clone(observer));
        }
        let connect = timeout(PATIENCE, Observer::try_connect(&self.url)).await;
        *connection = connect.ok()?.ok().map(Arc::new);
        connection.clone()
    }
}
