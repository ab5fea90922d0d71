//! Exchanges that were found missing: the broker is asked for one again after a pause, once for all who wait.
//!
//! A missing exchange closes the channel, which costs the broker as much as ten messages. So a caller that
//! publishes to one again and again would slow everybody down. What is told is never from memory: whoever is
//! told had come before the broker was asked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::broker::error::Error;
use crate::domain::names::ExchangeName;

/// Least time between two questions for one exchange.
const PAUSE: Duration = Duration::from_millis(10);
/// Exchanges remembered; with more, all are forgotten.
const MAX_EXCHANGES: usize = 10_000;

/// The broker's words, once they are known.
type Words = Option<String>;

/// When the broker is asked for each exchange that was missing, or was asked last.
#[derive(Default)]
pub(super) struct Missing(Mutex<HashMap<ExchangeName, Question>>);

struct Question {
    at: Instant,
    answer: watch::Receiver<Words>,
}

impl Question {
    /// Whether who comes now may wait for its answer. A question that was given up has none.
    fn is_to_come(&self) -> bool {
        self.at > Instant::now() && self.answer.has_changed().is_ok()
    }
}

/// What a publish does about its exchange.
#[derive(Debug)]
pub(super) enum Turn {
    /// Nothing is known against it.
    Free,
    /// It asks for all who come until then.
    Asks {
        /// When.
        at: Instant,
        /// Those who wait.
        waiting: watch::Sender<Words>,
    },
    /// Another asks for it.
    Waits(watch::Receiver<Words>),
}

impl Missing {
    /// The turn of a publish to this exchange.
    pub(super) fn turn(&self, exchange: &ExchangeName) -> Turn {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = questions.get_mut(exchange) else { return Turn::Free };
        if last.is_to_come() {
            return Turn::Waits(last.answer.clone());
        }
        let at = (last.at + PAUSE).max(Instant::now());
        let (waiting, answer) = watch::channel(None);
        *last = Question { at, answer };
        Turn::Asks { at, waiting }
    }

    /// What the broker said to a publish.
    pub(super) fn learn(&self, exchange: &ExchangeName, turn: Turn, verdict: &Result<(), Error>) {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Err(Error::ExchangeMissing { reason }) => match turn {
                Turn::Asks { waiting, .. } => drop(waiting.send(Some(reason.clone()))),
                Turn::Free | Turn::Waits(_) => {
                    if questions.len() >= MAX_EXCHANGES {
                        questions.clear();
                    }
                    let answer = watch::channel(None).1;
                    questions.insert(exchange.clone(), Question { at: Instant::now(), answer });
                }
            },
            Ok(()) | Err(Error::Unroutable { .. } | Error::Rejected) => drop(questions.remove(exchange)),
            Err(_) => {}
        }
    }
}

impl Turn {
    /// Until the publish may be written.
    ///
    /// # Errors
    /// [`Error::ExchangeMissing`], when another has asked in the meantime.
    pub(super) async fn come(&mut self) -> Result<(), Error> {
        match self {
            Self::Free => Ok(()),
            Self::Asks { at, .. } => {
                sleep_until(*at).await;
                Ok(())
            }
            Self::Waits(answer) => match answer.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(reason)) => Err(Error::ExchangeMissing { reason: reason.clone() }),
                // It is there now, or nobody knows.
                Ok(None) | Err(_) => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> ExchangeName {
        ExchangeName::from_path("x").expect("a name")
    }

    fn missing() -> Result<(), Error> {
        Err(Error::ExchangeMissing { reason: "NOT_FOUND".to_owned() })
    }

    fn found_missing() -> Missing {
        let all = Missing::default();
        assert!(matches!(all.turn(&exchange()), Turn::Free));
        all.learn(&exchange(), Turn::Free, &missing());
        all
    }

    #[tokio::test]
    async fn those_who_come_in_the_pause_are_told_what_one_of_them_was_told() {
        let all = found_missing();
        let (mut first, mut second) = (all.turn(&exchange()), all.turn(&exchange()));
        assert_eq!(first.come().await, Ok(()));
        all.learn(&exchange(), first, &missing());
        assert_eq!(second.come().await, missing());
    }

    #[tokio::test]
    async fn who_comes_when_the_broker_has_been_asked_asks_anew() {
        let all = found_missing();
        let mut first = all.turn(&exchange());
        first.come().await.expect("it asks");
        assert!(matches!(all.turn(&exchange()), Turn::Asks { .. }));
    }

    #[tokio::test]
    async fn those_who_wait_publish_themselves_when_the_one_who_asks_has_another_answer_or_none() {
        let other = [Some(Ok(())), Some(Err(Error::Silence)), None];
        for verdict in other {
            let all = found_missing();
            let (first, mut second) = (all.turn(&exchange()), all.turn(&exchange()));
            match &verdict {
                Some(verdict) => all.learn(&exchange(), first, verdict),
                None => drop(first),
            }
            assert_eq!(second.come().await, Ok(()));
            match all.turn(&exchange()) {
                Turn::Free => assert_eq!(verdict, Some(Ok(()))),
                Turn::Asks { .. } => assert_ne!(verdict, Some(Ok(()))),
                Turn::Waits(_) => panic!("nobody asks"),
            }
        }
    }
}
