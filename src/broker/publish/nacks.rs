//! Decides when a lane gets a fresh channel because RabbitMQ only nacks a destination on it.
//!
//! If the first publish of a channel to a quorum queue happens during a leader election, the channel nacks for ever
//! (RabbitMQ 3.10), and a fresh channel confirms at once. A full queue nacks on every channel. So the pause between fresh
//! channels doubles until RabbitMQ confirms.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::destination::KnownDestination;

/// How long RabbitMQ must only nack before the lane gets a fresh channel.
pub(super) const NACKING: Duration = Duration::from_millis(250);
/// The first pause before the next fresh channel, and the shortest pause between two fresh channels of a lane.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two fresh channels.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// The number of destinations whose pauses are remembered.
const MAX_DESTINATIONS: usize = 1_000;

/// The pauses of one lane, by nacked destination.
#[derive(Debug, Default)]
pub(super) struct NackPauses {
    /// Each pause begins with a fresh channel, and ends when the next one is due.
    pauses: HashMap<KnownDestination, Range<Instant>>,
    last_fresh: Option<Instant>,
}

impl NackPauses {
    /// Whether the lane should get a fresh channel now, when RabbitMQ has only nacked these destinations for [`NACKING`].
    pub(super) fn wants_fresh_channel(&mut self, nacked: &[KnownDestination], now: Instant) -> bool {
        self.pauses.retain(|destination, pause| destination.last_confirm().is_none_or(|at| at < pause.start));
        if self.last_fresh.is_some_and(|at| now < at + PAUSE) {
            return false;
        }
        let is_due = |destination: &&KnownDestination| {
            self.pauses.get(destination).is_none_or(|pause| now >= pause.end)
        };
        let due: Vec<_> = nacked.iter().filter(is_due).cloned().collect();
        if due.is_empty() {
            return false;
        }
        if self.pauses.len() + due.len() > MAX_DESTINATIONS {
            self.pauses.clear();
        }
        for destination in due {
            let last = self.pauses.get(&destination).map(|pause| pause.end - pause.start);
            let length = last.map_or(PAUSE, |last| MAX_PAUSE.min(last * 2));
            self.pauses.insert(destination, now..now + length);
        }
        self.last_fresh = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ExchangeName, ShortText};

    fn destination() -> KnownDestination {
        KnownDestination::new(ExchangeName::default(), ShortText::default())
    }

    /// The seconds at which the lane gets a fresh channel, if checked once a second.
    fn fresh_at(
        pauses: &mut NackPauses,
        nacked: &KnownDestination,
        start: Instant,
        seconds: std::ops::Range<u64>,
    ) -> Vec<u64> {
        let is_fresh = |second: &u64| {
            let now = start + Duration::from_secs(*second);
            pauses.wants_fresh_channel(std::slice::from_ref(nacked), now)
        };
        seconds.filter(is_fresh).collect()
    }

    #[test]
    fn full_queue_gets_fresh_channels_less_and_less_often_down_to_one_a_minute() {
        let (mut pauses, full, start) = (NackPauses::default(), destination(), Instant::now());
        let fresh = fresh_at(&mut pauses, &full, start, 0..300);
        assert_eq!(fresh, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }

    #[test]
    fn confirm_resets_the_pause() {
        let (mut pauses, queue, start) = (NackPauses::default(), destination(), Instant::now());
        assert_eq!(fresh_at(&mut pauses, &queue, start, 0..10), [0, 1, 3, 7]);
        queue.note_answer(start + Duration::from_secs(10), true);
        assert_eq!(fresh_at(&mut pauses, &queue, start, 11..15), [11, 12, 14]);
    }

    #[test]
    fn two_destinations_cost_a_lane_no_more_than_one_fresh_channel_a_second() {
        let (mut pauses, start) = (NackPauses::default(), Instant::now());
        assert!(pauses.wants_fresh_channel(&[destination()], start));
        assert!(!pauses.wants_fresh_channel(&[destination()], start + PAUSE / 2));
        assert!(pauses.wants_fresh_channel(&[destination()], start + PAUSE));
    }
}
