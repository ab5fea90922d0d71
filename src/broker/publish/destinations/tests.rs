//! The lanes that messages use, and how answers change the choice.

mod further_routing_keys;
mod hazardous;

use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::poll;
use tokio::time::advance;
use tokio_util::task::TaskTracker;

use super::*;
use crate::broker::connection::{Connector, OutageLog};
use crate::broker::{Address, ConsumeSettings, Login, PublishSettings, Settings};
use crate::domain::field::FieldTable;
use crate::domain::message::{Destination, Message, MessageId, Properties};
use crate::domain::names::ShortText;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

const SLOW_AFTER: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const ALMOST_A_MINUTE: Duration = Duration::from_secs(59);

fn destinations(slow_connections: usize) -> Destinations {
    let publish = PublishSettings {
        connections: 1,
        pool_size: 1,
        channel_window: 10,
        channel_window_bytes: 1 << 20,
        max_header_bytes: 1 << 16,
        isolated_connections: 1,
        isolated_channels: 1,
        slow_connections,
        slow_after: SLOW_AFTER,
        slow_window: 4,
    };
    let settings = Settings {
        // No program listens there.
        addresses: vec![Address { host: "127.0.0.1".to_owned(), port: 1 }],
        vhost: "/".to_owned(),
        login: Login::External,
        tls: None,
        heartbeat: 10,
        connection_timeout: SLOW_AFTER,
        retry_delay: SLOW_AFTER,
        refused_delay: SLOW_AFTER,
        blocked_timeout: None,
        publish: publish.clone(),
        consume: ConsumeSettings::of_ones(),
        topology_connections: 1,
        topology_file: None,
        max_pending_replies: 1,
    };
    let (log, lifecycle, tasks) = (OutageLog::default(), Lifecycle::default(), TaskTracker::new());
    let connector =
        Connector::new(&settings, &Metrics::default(), (&log, &lifecycle), &tasks).expect("settings");
    Destinations::new(SlowConnections::new(connector, &publish), SLOW_AFTER)
}

fn exchange(name: &str) -> ExchangeName {
    if name.is_empty() { ExchangeName::default() } else { ExchangeName::from_path(name).expect("a name") }
}

fn publish_of(size: usize, name: &str, routing_key: &str) -> Publish {
    let message = Message {
        id: MessageId::generate(),
        properties: Properties::default(),
        headers: FieldTable::default(),
        body: Bytes::from(vec![0; size]),
    };
    let routing_key = ShortText::parse(routing_key).expect("short");
    let destination = Destination { exchange: exchange(name), routing_key, mandatory: true };
    Publish::new(message, destination, Instant::now() + MINUTE, true)
}

fn publish(name: &str, routing_key: &str) -> Publish {
    publish_of(1, name, routing_key)
}

fn missing() -> Result<(), Error> {
    Err(Error::Refused(Refusal::ExchangeMissing {
        reason: "NOT_FOUND - no exchange 'x' in vhost '/'".to_owned(),
    }))
}

fn topic_refused() -> Result<(), Error> {
    let reason = "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for user 'guest'";
    Err(Error::Refused(Refusal::AccessRefused { reason: reason.to_owned() }))
}

fn too_large() -> Result<(), Error> {
    Err(Error::Refused(Refusal::TooLarge { reason: "message size 9 is larger than 8".to_owned() }))
}

impl Destinations {
    fn way(&self, publish: &Publish) -> &'static str {
        match self.route(publish, false) {
            Ok((_, Route::Shared)) => "shared",
            Ok((_, Route::Isolated)) => "isolated",
            Ok((_, Route::Slow { is_isolated: false, .. })) => "slow",
            Ok((_, Route::Slow { is_isolated: true, .. })) => "slow, alone",
            Ok((_, Route::Hazardous(_))) => "hazardous",
            Err(Unavailable::TooManySlow { .. }) => "none",
            Err(error) => panic!("{error}"),
        }
    }

    fn learn_now(&self, publish: &Publish, answer: &Result<(), Error>) {
        self.learn(publish, Instant::now(), answer);
    }

    /// Marks the destination of a publish as slow.
    fn slow_down(&self, publish: &Publish) -> KnownDestination {
        let (destination, _) = self.route(publish, false).unwrap_or_else(|error| panic!("{error}"));
        self.mark_slow(&destination);
        destination
    }

    fn next(&self, deadline: Instant) -> NextStep {
        self.lock().refused(&exchange("x")).map_or(NextStep::Publish, |refused| refused.next_step(deadline))
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_is_good_for_a_minute_after_each_success() {
    let (all, to) = (destinations(0), publish("x", "k"));
    assert_eq!(all.way(&to), "isolated");
    for answer in [Ok(()), Err(Error::Rejected), Err(Error::Unroutable { reason: String::new() })] {
        all.learn_now(&to, &answer);
        assert_eq!((all.way(&to), all.way(&publish("x", "other"))), ("shared", "shared"));
        assert_eq!(all.way(&publish("y", "k")), "isolated");
        advance(ALMOST_A_MINUTE).await;
        assert_eq!(all.way(&to), "shared");
        advance(SLOW_AFTER).await;
        assert_eq!(all.way(&to), "isolated");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_or_a_refusal_sends_the_next_message_alone_and_silence_does_not() {
    let (all, to) = (destinations(0), publish("x", "k"));
    let invalid = Err(Error::Refused(Refusal::Invalid { reason: "user_id".to_owned() }));
    for (answer, way) in [
        (Err(Error::lost("gone")), "isolated"),
        (missing(), "isolated"),
        (invalid, "isolated"),
        (Err(Error::Unknown(Cause::Silence)), "shared"),
        (Err(Error::NotSent(Unavailable::Busy)), "shared"),
        (too_large(), "shared"),
    ] {
        all.learn_now(&to, &Ok(()));
        all.learn_now(&to, &answer);
        assert_eq!(all.way(&to), way, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_refused_by_key_stays_isolated_for_a_minute_despite_successes() {
    let (all, to) = (destinations(0), publish("x", "k"));
    all.learn_now(&to, &topic_refused());
    for _ in 0..2 {
        all.learn_now(&to, &Ok(()));
        assert_eq!(all.way(&to), "isolated");
        advance(MINUTE / 2).await;
    }
    all.learn_now(&to, &Ok(()));
    assert_eq!(all.way(&to), "shared");
}

#[tokio::test]
async fn a_body_larger_than_any_before_goes_alone() {
    let (all, small) = (destinations(0), publish("x", "k"));
    let large = |size| publish_of(size, "x", "k");
    all.learn_now(&small, &Ok(()));
    assert_eq!((all.way(&large(SMALL_BODY)), all.way(&large(SMALL_BODY + 1))), ("shared", "isolated"));
    all.learn_now(&large(100_000), &Ok(()));
    assert_eq!((all.way(&large(100_000)), all.way(&large(100_001))), ("shared", "isolated"));
    all.learn_now(&large(50_000), &too_large());
    assert_eq!((all.way(&large(49_999)), all.way(&large(50_000))), ("shared", "isolated"));
}

#[tokio::test]
async fn a_resent_message_goes_alone() {
    let (all, to) = (destinations(0), publish("x", "k"));
    all.learn_now(&to, &Ok(()));
    assert!(matches!(all.route(&to, false), Ok((_, Route::Shared))));
    assert!(matches!(all.route(&to, true), Ok((_, Route::Isolated))));
}

#[tokio::test]
async fn a_declared_exchange_is_no_longer_refused() {
    let (all, to) = (destinations(0), publish("x", "k"));
    all.learn_now(&to, &missing());
    assert!(matches!(all.next(to.deadline), NextStep::Ask { .. }));
    all.declared(&exchange("x"));
    assert!(matches!(all.next(to.deadline), NextStep::Publish));
}

#[tokio::test(start_paused = true)]
async fn a_slow_destination_beyond_the_limit_is_refused_until_it_answers() {
    let (all, stuck, other) = (destinations(0), publish("", "stuck"), publish("", "other"));
    all.learn_now(&other, &Ok(()));
    let destination = all.slow_down(&stuck);
    assert_eq!((all.way(&stuck), all.way(&other)), ("none", "shared"));
    advance(Duration::from_millis(10)).await;
    destination.note_answer(Instant::now(), true);
    // One message tests whether the destination answers in time again.
    assert_eq!((all.way(&stuck), all.way(&stuck)), ("isolated", "none"));
    all.learn(&stuck, Instant::now() - SLOW_AFTER, &Ok(()));
    assert_eq!(all.way(&stuck), "none");
    all.learn_now(&stuck, &Ok(()));
    assert_eq!(all.way(&stuck), "shared");
}

#[tokio::test]
async fn a_slow_destination_has_a_connection_of_its_own_until_it_answers_in_time() {
    let (all, stuck, other) = (destinations(1), publish("", "stuck"), publish("", "other"));
    all.learn_now(&other, &Ok(()));
    all.slow_down(&stuck);
    assert_eq!((all.way(&stuck), all.way(&other)), ("slow", "shared"));
    assert_eq!(all.way(&publish_of(SMALL_BODY + 1, "", "stuck")), "slow, alone");
    all.slow_down(&other);
    assert_eq!(all.way(&other), "none");
    all.learn_now(&stuck, &Ok(()));
    assert_eq!(all.way(&stuck), "shared");
    // When the connection is closed, it is free for the other destination.
    let freed = async {
        while all.way(&other) == "none" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SLOW_AFTER * 5, freed).await.expect("it is free");
    assert_eq!(all.way(&other), "slow");
}

#[tokio::test(start_paused = true)]
async fn eight_slow_keys_make_the_exchange_slow_but_not_the_default_exchange() {
    let all = destinations(1);
    for name in ["x", ""] {
        all.learn_now(&publish(name, "healthy"), &Ok(()));
        for number in 0..7 {
            all.slow_down(&publish(name, &format!("key-{number}")));
        }
        assert_eq!(all.way(&publish(name, "healthy")), "shared");
    }
    for name in ["x", ""] {
        all.slow_down(&publish(name, "key-7"));
    }
    assert_eq!(all.way(&publish("x", "healthy")), "slow");
    assert_eq!(all.way(&publish("", "healthy")), "shared");
    assert_eq!(all.lock().slow().count(), 1 + 8);
}

#[tokio::test(start_paused = true)]
async fn a_slow_destination_without_a_publish_for_a_minute_is_forgotten() {
    let (all, stuck) = (destinations(1), publish("x", "k"));
    all.learn_now(&stuck, &Ok(()));
    all.slow_down(&stuck);
    advance(ALMOST_A_MINUTE).await;
    all.forget_idle();
    assert_eq!(all.way(&stuck), "slow");
    advance(MINUTE).await;
    all.forget_idle();
    assert_eq!((all.way(&stuck), all.slow_lanes().len()), ("isolated", 0));
}

#[tokio::test]
async fn at_most_ten_thousand_idle_destinations_are_remembered() {
    let all = destinations(0);
    let in_flight = all.route(&publish("x", "in flight"), false).map(|(destination, _)| destination).ok();
    all.slow_down(&publish("x", "stuck"));
    for number in 0..25_000 {
        all.way(&publish("x", &number.to_string()));
    }
    let remembered = all.lock().destinations().count();
    assert!(remembered <= 10_000, "{remembered}");
    let known = all.route(&publish("x", "in flight"), false).map(|(destination, _)| destination).ok();
    assert_eq!(known, in_flight);
    assert_eq!(all.way(&publish("x", "stuck")), "none");
    for number in 0..25_000 {
        all.way(&publish(&format!("exchange-{number}"), "k"));
    }
    let remembered = all.lock().destinations().count();
    assert!(remembered <= 10_000, "{remembered}");
}

fn later() -> Instant {
    Instant::now() + MINUTE
}

/// A table with an exchange `x` that RabbitMQ has just refused.
async fn refused() -> Destinations {
    let all = destinations(0);
    let waiters = all.wait_while_refused(&exchange("x"), later()).await.expect("it is free");
    assert!(waiters.is_none());
    all.answer(waiters.as_ref(), &missing());
    all
}

impl Destinations {
    /// Records an answer as the publisher does.
    fn answer(&self, waiters: Option<&watch::Sender<Option<Error>>>, answer: &Result<(), Error>) {
        self.learn_now(&publish("x", "k"), answer);
        if let Err(error) = answer {
            Self::answer_waiters(waiters, error);
        }
    }
}

#[tokio::test]
async fn callers_that_come_in_the_pause_are_told_the_answer_to_one_of_them() {
    let all = refused().await;
    let internal = "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'";
    let internal = Err(Error::Refused(Refusal::AccessRefused { reason: internal.to_owned() }));
    for told in [missing(), internal, Err(Error::NotSent(Unavailable::ShuttingDown))] {
        let name = exchange("x");
        let turn = || all.wait_while_refused(&name, later());
        let ask = async { all.answer(turn().await.expect("it asks").as_ref(), &told) };
        let ((), second, third) = tokio::join!(ask, turn(), turn());
        assert_eq!([second.map(drop), third.map(drop)], [told.clone(), told.clone()]);
    }
}

#[tokio::test]
async fn a_caller_that_comes_after_rabbitmq_was_asked_asks_again() {
    let all = refused().await;
    let asked = all.wait_while_refused(&exchange("x"), later()).await.expect("it asks");
    assert!(matches!(all.next(later()), NextStep::Ask { .. }));
    drop(asked);
}

#[tokio::test]
async fn one_of_the_callers_that_wait_asks_where_there_was_no_answer() {
    for ended in [
        Some(Err(Error::Unknown(Cause::Silence))),
        Some(Err(Error::NotSent(Unavailable::Blocked))),
        Some(too_large()),
        None,
    ] {
        let (all, name) = (refused().await, exchange("x"));
        let NextStep::Ask { waiters, .. } = all.next(later()) else { panic!("it asks") };
        let mut turns: Vec<_> = (0..10).map(|_| Box::pin(all.wait_while_refused(&name, later()))).collect();
        let still_waits = join_all(turns.iter_mut().map(|turn| async { poll!(turn).is_pending() })).await;
        assert!(still_waits.iter().all(|it| *it));
        match ended {
            Some(answer) => all.answer(Some(waiters).as_ref(), &answer),
            None => drop(waiters),
        }
        let asks = async |turn: Pin<Box<_>>| match turn.await {
            Ok(waiters) => {
                all.answer(Option::as_ref(&waiters), &missing());
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
async fn all_callers_that_wait_publish_where_the_exchange_is_there() {
    for answer in [Ok(()), topic_refused(), Err(Error::Rejected)] {
        let all = refused().await;
        let NextStep::Ask { waiters, .. } = all.next(later()) else { panic!("it asks") };
        let NextStep::Wait(mut waiting) = all.next(later()) else { panic!("it waits") };
        let waiters = Some(waiters);
        all.answer(waiters.as_ref(), &answer);
        drop(waiters);
        assert!(waiting.changed().await.is_err());
        assert!(matches!(all.next(later()), NextStep::Publish));
    }
}

#[tokio::test]
async fn no_caller_waits_longer_because_others_gave_up() {
    let all = refused().await;
    for _ in 0..1_000 {
        match all.next(later()) {
            NextStep::Ask { at, .. } => assert!(at <= Instant::now() + refused::PAUSE),
            turn => panic!("{turn:?}"),
        }
    }
}

#[tokio::test]
async fn a_caller_without_time_for_a_pause_has_none() {
    let all = refused().await;
    assert!(matches!(all.next(Instant::now() + refused::PAUSE), NextStep::Publish));
}
