//! `Arrivals`: publishes that begin at a steady pace, whether or not those before were answered.
//!
//! Callers of a [`super::load::Load`] that wait for a connection which does not answer publish no more; these go on.

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
    /// One message after each pause; `target` names the place of each message by its number, as in a load.
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

    /// Starts no more; all answers, when the last one is there.
    pub async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        self.work.await.expect("no publish panics")
    }
}
