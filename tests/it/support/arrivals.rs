//! `Arrivals`: publishes that begin at a steady rate, whether or not earlier ones were answered.
//!
//! The callers of a [`super::load::Load`] stop publishing when their connection does not answer; these publishes go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::{JoinHandle, JoinSet};

use super::{
    gateway::TestGateway,
    load::{Answers, ask, message},
};

pub struct Arrivals {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Answers>,
}

impl Arrivals {
    /// Publishes one message after each pause. `target` gives the path of each message by its number, as in a load.
    pub fn start(
        gateway: &TestGateway,
        name: &str,
        pause: Duration,
        target: impl Fn(usize) -> String + Send + 'static,
    ) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (client, base) = (gateway.client().clone(), gateway.url("/publish/"));
        let (name, stopped) = (name.to_owned(), Arc::clone(&stop));
        let work = tokio::spawn(async move {
            let mut tick = tokio::time::interval(pause);
            let mut publishes = JoinSet::new();
            for number in (0..).take_while(|_| !stopped.load(Ordering::SeqCst)) {
                tick.tick().await;
                let id = format!("{name}-{number}");
                let request = message(&client, &format!("{base}{}", target(number)), &id);
                publishes.spawn(async move { ask(request, &id).await });
            }
            Answers(publishes.join_all().await)
        });
        Self { stop, work }
    }

    /// Starts no further publish and waits for the last answer; gives all answers.
    pub async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        self.work.await.expect("no publish panics")
    }
}
