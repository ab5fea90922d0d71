//! Exchanges that the broker refused, for they are missing, internal or forbidden: it is asked for one again after
//! a pause, once for all who wait.
//!
//! A refusal closes the channel, which costs the broker as much as ten messages. So a caller that
//! publishes to such an exchange again and again would slow everybody down. What is told is never from memory: whoever is
//! told had come before the broker was asked.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::broker::error::{Error, Refusal, Unavailable};
use crate::domain::names::ExchangeName;

/// Least time between two questions for one exchange.
const PAUSE: Duration = Duration::from_millis(10);
/// Exchanges remembered; with more, all are forgotten.
const MAX_EXCHANGES: usize = 10_000;

/// What all who wait for a question are told, once it is known.
type Answer = Option<Error>;

/// Those who wait for what a publish is told; none, when nothing was known against its exchange.
pub(super) type Waiting = Option<watch::Sender<Answer>>;

/// When the broker is asked for each exchange that it refused, or was asked last.
#[derive(Default)]
pub(super) struct Refused(Mutex<HashMap<ExchangeName, Question>>);

/// Asked for all who come before `at`; a question of the past tells when the broker was asked last.
struct Question {
    at: Instant,
    answer: watch::Receiver<Answer>,
}

/// What a publish is to do.
#[derive(Debug)]
enum Turn {
    /// Publish at once: nothing is known against the exchange, or the deadline leaves no time for a pause.
    Free,
    /// Ask for all who come until then.
    Ask { at: Instant, waiting: watch::Sender<Answer> },
    /// Another asks.
    Wait(watch::Receiver<Answer>),
}

impl Refused {
    /// Waits until a publish to this exchange may be written. What it is told is to be learnt then.
    ///
    /// # Errors
    /// What another was told in the meantime, who had asked for this one too.
    pub(super) async fn turn(&self, exchange: &ExchangeName, deadline: Instant) -> Result<Waiting, Error> {
        loop {
            match self.next(exchange, deadline) {
                Turn::Free => return Ok(None),
                Turn::Ask { at, waiting } => {
                    sleep_until(at).await;
                    return Ok(Some(waiting));
                }
                Turn::Wait(mut answer) => {
                    if let Ok(told) = answer.wait_for(Option::is_some).await
                        && let Some(error) = &*told
                    {
                        return Err(error.clone());
                    }
                }
            }
        }
    }

    fn next(&self, exchange: &ExchangeName, deadline: Instant) -> Turn {
        let now = Instant::now();
        let mut questions = self.lock();
        let Some(last) = questions.get_mut(exchange) else { return Turn::Free };
        let is_to_come = last.at > now;
        let at = if is_to_come { last.at } else { now.max(last.at + PAUSE) };
        if deadline <= at + PAUSE {
            return Turn::Free;
        }
        // Without a sender it was given up, and the next one asks in its place.
        if is_to_come && last.answer.has_changed().is_ok() {
            return Turn::Wait(last.answer.clone());
        }
        let (waiting, answer) = watch::channel(None);
        *last = Question { at, answer };
        Turn::Ask { at, waiting }
    }

    /// What a publish was told.
    pub(super) fn learn(&self, exchange: &ExchangeName, waiting: Waiting, verdict: &Result<(), Error>) {
        match verdict {
            Err(error) if error.refuses_the_exchange() => match waiting {
                Some(waiting) => tell(&waiting, error),
                None => self.note(exchange),
            },
            Err(error @ Error::NotSent(Unavailable::ShuttingDown)) => {
                if let Some(waiting) = &waiting {
                    tell(waiting, error);
                }
            }
            // Nothing was said of the exchange (the size is looked at first): the pause goes on.
            Err(Error::Unknown(_) | Error::NotSent(_) | Error::Refused(Refusal::TooLarge { .. })) => {}
            // It is there, whatever the broker finds wrong with the message.
            Ok(()) | Err(_) => drop(self.lock().remove(exchange)),
        }
    }

    fn note(&self, exchange: &ExchangeName) {
        let now = Instant::now();
        let mut questions = self.lock();
        if let Some(question) = questions.get_mut(exchange) {
            // One that is to come stays as it is.
            question.at = question.at.max(now);
            return;
        }
        if questions.len() >= MAX_EXCHANGES {
            questions.clear();
        }
        let answer = watch::channel(None).1;
        questions.insert(exchange.clone(), Question { at: now, answer });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExchangeName, Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(waiting: &watch::Sender<Answer>, error: &Error) {
    waiting.send_replace(Some(error.clone()));
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::LazyLock;

    use futures_util::future::join_all;
    use futures_util::poll;

    use super::*;
    use crate::broker::error::Cause;

    static EXCHANGE: LazyLock<ExchangeName> = LazyLock::new(|| ExchangeName::from_path("x").expect("a name"));

    fn later() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn missing() -> Result<(), Error> {
        Err(Error::Refused(Refusal::ExchangeMissing { reason: "NOT_FOUND".to_owned() }))
    }

    async fn refused() -> Refused {
        let all = Refused::default();
        let nobody = all.turn(&EXCHANGE, later()).await.expect("it is free");
        all.learn(&EXCHANGE, nobody, &missing());
        all
    }

    #[tokio::test]
    async fn those_who_come_in_the_pause_are_told_what_one_of_them_was_told() {
        let all = refused().await;
        let internal = "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'";
        let internal = Err(Error::Refused(Refusal::AccessRefused { reason: internal.to_owned() }));
        for told in [missing(), internal, Err(Error::NotSent(Unavailable::ShuttingDown))] {
            let turn = || all.turn(&EXCHANGE, later());
            let ask = async { all.learn(&EXCHANGE, turn().await.expect("it asks"), &told) };
            let ((), second, third) = tokio::join!(ask, turn(), turn());
            assert_eq!([second.map(drop), third.map(drop)], [told.clone(), told.clone()]);
        }
    }

    #[tokio::test]
    async fn who_comes_when_the_broker_has_been_asked_asks_anew() {
        let all = refused().await;
        let asked = all.turn(&EXCHANGE, later()).await.expect("it asks");
        assert!(matches!(all.next(&EXCHANGE, later()), Turn::Ask { .. }));
        drop(asked);
    }

    #[tokio::test]
    async fn one_of_those_who_wait_asks_where_nobody_answered() {
        let large =
            Error::Refused(Refusal::TooLarge { reason: "message size 9 is larger than 8".to_owned() });
        for ended in [
            Some(Err(Error::Unknown(Cause::Silence))),
            Some(Err(Error::NotSent(Unavailable::Blocked))),
            Some(Err(large)),
            None,
        ] {
            let all = refused().await;
            let Turn::Ask { waiting, .. } = all.next(&EXCHANGE, later()) else { panic!("it asks") };
            let mut turns: Vec<_> = (0..10).map(|_| Box::pin(all.turn(&EXCHANGE, later()))).collect();
            let still_waits = join_all(turns.iter_mut().map(|turn| async { poll!(turn).is_pending() })).await;
            assert!(still_waits.iter().all(|it| *it));
            match ended {
                Some(verdict) => all.learn(&EXCHANGE, Some(waiting), &verdict),
                None => drop(waiting),
            }
            let asks = async |turn: Pin<Box<_>>| match turn.await {
                Ok(waiting) => {
                    all.learn(&EXCHANGE, waiting, &missing());
                    true
                }
                Err(error) => {
                    assert_eq!(Err(error), missing());
                    false
                }
            };
            let asked = join_all(turns.into_iter().map(asks)).await;
            assert_eq!(asked.into_iter().filter(|it| *it).count(), 1);
        }
    }

    #[tokio::test]
    async fn all_who_wait_publish_where_it_is_there() {
        let topic =
            "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for user 'guest'";
        let forbidden = Err(Error::Refused(Refusal::AccessRefused { reason: topic.to_owned() }));
        for verdict in [Ok(()), forbidden, Err(Error::Rejected)] {
            let all = refused().await;
            let Turn::Ask { waiting, .. } = all.next(&EXCHANGE, later()) else { panic!("it asks") };
            let Turn::Wait(mut answer) = all.next(&EXCHANGE, later()) else { panic!("it waits") };
            all.learn(&EXCHANGE, Some(waiting), &verdict);
            assert!(answer.changed().await.is_err());
            assert!(matches!(all.next(&EXCHANGE, later()), Turn::Free));
        }
    }

    #[tokio::test]
    async fn nobody_waits_longer_because_others_gave_up() {
        let all = refused().await;
        for _ in 0..1_000 {
            match all.next(&EXCHANGE, later()) {
                Turn::Ask { at, .. } => assert!(at <= Instant::now() + PAUSE),
                turn => panic!("{turn:?}"),
            }
        }
    }

    #[tokio::test]
    async fn who_has_no_time_for_a_pause_has_none() {
        let all = refused().await;
        assert!(matches!(all.next(&EXCHANGE, Instant::now() + PAUSE), Turn::Free));
    }
}
