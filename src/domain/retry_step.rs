//! The delays of retries. Each has a wait queue of its own, because a queue delivers its messages in order: behind a message that waits
//! for an hour, one that waits for a second would wait for an hour too.

use std::fmt;
use std::time::Duration;

/// Seconds, minutes and hours of the steps.
const SECONDS: [u32; 12] = [1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 60, 90];
const MINUTES: [u32; 8] = [2, 3, 5, 10, 15, 20, 30, 45];
const HOURS: [u32; 9] = [1, 2, 3, 4, 6, 8, 12, 18, 24];

/// The delay of a retry: one of 29 steps from a second to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RetryStep {
    seconds: u32,
    count: u32,
    unit: char,
}

impl RetryStep {
    /// All steps, the shortest first.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |unit: char, seconds: u32| move |count: u32| Self { seconds: count * seconds, count, unit };
        let seconds = SECONDS.into_iter().map(of('s', 1));
        seconds.chain(MINUTES.into_iter().map(of('m', 60))).chain(HOURS.into_iter().map(of('h', 3600)))
    }

    /// The shortest step that is not shorter than this delay; the longest one for a longer delay. `None` for no delay.
    #[must_use]
    pub fn for_delay(delay: Duration) -> Option<Self> {
        if delay.is_zero() {
            return None;
        }
        Self::all().find(|step| step.delay() >= delay).or_else(|| Self::all().last())
    }

    /// The delay.
    #[must_use]
    pub fn delay(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// The delay in milliseconds.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        i64::from(self.seconds) * 1000
    }
}

impl fmt::Display for RetryStep {
    /// Its name, such as `90s`, `2m` or `24h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_to_one_of_29_steps() {
        let steps: Vec<_> = RetryStep::all().collect();
        assert_eq!(steps.len(), 29);
        assert!(steps.is_sorted() && steps.iter().map(|step| step.delay()).is_sorted());
        let name = |delay| RetryStep::for_delay(delay).map(|step| step.to_string());
        assert_eq!(name(Duration::ZERO), None);
        for (delay, step) in [
            (Duration::from_millis(1), "1s"),
            (Duration::from_secs(1), "1s"),
            (Duration::from_secs(4), "5s"),
            (Duration::from_mins(1), "60s"),
            (Duration::from_secs(91), "2m"),
            (Duration::from_mins(46), "1h"),
            (Duration::from_hours(24), "24h"),
            (Duration::from_hours(25), "24h"),
        ] {
            assert_eq!(name(delay).as_deref(), Some(step), "{delay:?}");
        }
    }
}
