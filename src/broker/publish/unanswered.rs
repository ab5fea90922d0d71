//! Measures how long the publishes of one connection have waited for their answers, and which destinations are the
//! reason.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::channels::Progress;
use crate::broker::destination::KnownDestination;

/// The unanswered publishes of a connection.
#[derive(Default)]
pub(super) struct Unanswered {
    /// Number of publishes that are past their callers' deadlines.
    pub(super) overdue: usize,
    /// The earliest deadline of all publishes.
    pub(super) earliest_deadline: Option<Instant>,
    /// When RabbitMQ last answered on the connection.
    last_answer: Option<Instant>,
    /// When the caller handed in the newest publish that has an answer.
    newest_answered: Option<Instant>,
    destinations: HashMap<KnownDestination, Waiting>,
}

/// The publishes to one destination.
struct Waiting {
    oldest: Instant,
    count: usize,
}

impl Unanswered {
    /// Adds the last answers on a channel of the connection.
    pub(super) fn note_progress(&mut self, progress: Progress) {
        self.last_answer = self.last_answer.max(progress.last_answer);
        self.newest_answered = self.newest_answered.max(progress.newest_answered);
    }

    /// Adds a publish that was handed in at `since` and unanswered.
    pub(super) fn add(
        &mut self,
        destination: &KnownDestination,
        since: Instant,
        deadline: Instant,
        now: Instant,
    ) {
        self.earliest_deadline = Some(self.earliest_deadline.map_or(deadline, |at| at.min(deadline)));
        self.overdue += usize::from(deadline < now);
        let new = Waiting { oldest: since, count: 0 };
        let waiting = self.destinations.entry(destination.clone()).or_insert(new);
        waiting.oldest = waiting.oldest.min(since);
        waiting.count += 1;
    }

    /// Whether publishes wait, and RabbitMQ answered none for this time.
    pub(super) fn is_silent_for(&self, time: Duration, now: Instant) -> bool {
        let oldest = self.destinations.values().map(|waiting| waiting.oldest).min();
        oldest.is_some_and(|oldest| now >= self.last_answer.map_or(oldest, |at| at.max(oldest)) + time)
    }

    /// Whether every waiting publish is past its caller's deadline.
    pub(super) fn are_all_overdue(&self) -> bool {
        self.overdue == self.count()
    }

    fn count(&self) -> usize {
        self.destinations.values().map(|waiting| waiting.count).sum()
    }

    /// The destination with the most waiting publishes.
    pub(super) fn most(&self) -> Option<&KnownDestination> {
        self.destinations.iter().max_by_key(|(_, waiting)| waiting.count).map(|(destination, _)| destination)
    }

    /// Whether there are several destinations, and nine of ten publishes go to the same one.
    fn are_nearly_all_to_one_of_several(&self) -> bool {
        let most = self.destinations.values().map(|waiting| waiting.count).max().unwrap_or_default();
        self.destinations.len() > 1 && most * 10 >= self.count() * 9
    }

    /// The destinations whose publishes wait while RabbitMQ answers others. `was_another_confirmed` tells whether
    /// RabbitMQ has confirmed a publish to another destination since then.
    ///
    /// Before the gateway replaces a connection, it treats the destination with nearly all of the publishes as slow,
    /// although RabbitMQ may answer no other destination either. Otherwise that destination would stop the replacement
    /// too. If it is not the reason, RabbitMQ answers it on its own connection, and it returns to the shared lanes.
    pub(super) fn slow(
        &self,
        slow_after: Duration,
        is_to_be_replaced: bool,
        now: Instant,
        was_another_confirmed: impl Fn(&KnownDestination, Instant) -> bool,
    ) -> impl Iterator<Item = &KnownDestination> {
        let is_stopped = self.is_silent_for(slow_after, now);
        let is_guessed = is_to_be_replaced && self.are_nearly_all_to_one_of_several();
        let most = self.most();
        let is_slow = move |destination: &KnownDestination, oldest: Instant| {
            let Some(due) = now.checked_sub(slow_after) else { return false };
            // RabbitMQ has answered a newer publish on the connection, so the queue of this one is slow. Or RabbitMQ has
            // stopped reading from the connection, as it does when one queue accepts no messages: then the destination
            // with the most publishes is slow.
            let is_overtaken = self.newest_answered.is_some_and(|at| at >= oldest + slow_after / 2);
            let is_the_reason = is_stopped && most == Some(destination);
            let is_unanswered = oldest <= due && destination.last_answer().is_none_or(|at| at < due);
            let is_known = || is_guessed && is_the_reason || was_another_confirmed(destination, due);
            (is_overtaken || is_the_reason) && is_unanswered && is_known()
        };
        let waiting = self.destinations.iter();
        waiting.filter(move |(to, waiting)| is_slow(to, waiting.oldest)).map(|(destination, _)| destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ExchangeName, ShortText};

    const SECOND: Duration = Duration::from_secs(1);

    /// Two destinations, and an instant after their creation.
    struct Stage {
        start: Instant,
        stuck: KnownDestination,
        healthy: KnownDestination,
    }

    fn stage() -> Stage {
        let destination = || KnownDestination::new(ExchangeName::default(), ShortText::default());
        let (stuck, healthy) = (destination(), destination());
        Stage { start: Instant::now(), stuck, healthy }
    }

    impl Stage {
        /// The unanswered publishes if this number of publishes was handed in to each destination at the start.
        fn unanswered(&self, stuck: usize, healthy: usize) -> Unanswered {
            let mut unanswered = Unanswered::default();
            for (destination, count) in [(&self.stuck, stuck), (&self.healthy, healthy)] {
                for _ in 0..count {
                    unanswered.add(destination, self.start, self.start + SECOND * 10, self.start);
                }
            }
            unanswered
        }

        /// The destinations that are slow after this time.
        fn slow(
            &self,
            unanswered: &Unanswered,
            after: Duration,
            is_to_be_replaced: bool,
        ) -> Vec<&'static str> {
            let now = self.start + after;
            let others = |destination: &KnownDestination, since| {
                let other = if *destination == self.stuck { &self.healthy } else { &self.stuck };
                other.last_confirm().is_some_and(|at| at >= since)
            };
            let slow: Vec<_> = unanswered.slow(SECOND, is_to_be_replaced, now, others).collect();
            let names = [("stuck", &self.stuck), ("healthy", &self.healthy)];
            names.into_iter().filter(|(_, it)| slow.contains(it)).map(|(name, _)| name).collect()
        }
    }

    #[test]
    fn destination_with_most_publishes_is_slow_while_another_is_confirmed() {
        let stage = stage();
        stage.healthy.note_answer(stage.start + SECOND / 2, true);
        let unanswered = stage.unanswered(6, 4);
        assert_eq!(stage.slow(&unanswered, SECOND, false), ["stuck"]);
        assert!(stage.slow(&unanswered, SECOND * 9 / 10, false).is_empty(), "too early");
        assert!(stage.slow(&unanswered, SECOND * 3, false).is_empty(), "nothing is confirmed any more");
    }

    #[test]
    fn no_destination_is_slow_when_none_is_confirmed() {
        let stage = stage();
        assert!(stage.slow(&stage.unanswered(30, 10), SECOND * 3, true).is_empty());
        assert!(stage.slow(&stage.unanswered(9, 1), SECOND * 3, false).is_empty(), "it is not replaced");
        assert!(stage.slow(&stage.unanswered(10, 0), SECOND * 3, true).is_empty(), "there is no other");
    }

    #[test]
    fn destination_with_nearly_all_publishes_is_slow_before_its_connection_is_replaced() {
        let stage = stage();
        assert_eq!(stage.slow(&stage.unanswered(9, 1), SECOND * 3, true), ["stuck"]);
    }

    #[test]
    fn destination_with_few_overtaken_publishes_is_slow() {
        let stage = stage();
        stage.healthy.note_answer(stage.start + SECOND, true);
        let mut unanswered = stage.unanswered(1, 5);
        let progress = Progress {
            last_answer: Some(stage.start + SECOND),
            newest_answered: Some(stage.start + SECOND / 2),
        };
        unanswered.note_progress(progress);
        assert_eq!(stage.slow(&unanswered, SECOND * 3 / 2, false), ["stuck"]);
    }

    #[test]
    fn destination_that_was_answered_elsewhere_within_the_time_is_not_slow() {
        let stage = stage();
        stage.stuck.note_answer(stage.start + SECOND / 2, false);
        stage.healthy.note_answer(stage.start + SECOND / 2, true);
        assert!(stage.slow(&stage.unanswered(9, 1), SECOND, true).is_empty());
    }
}
