//! Counts the refusals that have no line of their own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::http::problem::ProblemType;

/// The time that one line about refusals stands for.
const WINDOW: Duration = Duration::from_secs(1);
/// The most principals and kinds of problems whose refusals are counted apart.
const MOST: usize = 1024;

/// The refusals of the last second, by principal and kind of problem.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<(Box<str>, ProblemType), Window>);

#[derive(Debug)]
struct Window {
    begun: Instant,
    untold: u64,
}

impl Refusals {
    /// The number of refusals without a line before this one, if this one has a line.
    pub(super) fn note(&mut self, of: (Box<str>, ProblemType), now: Instant) -> Option<u64> {
        if self.0.len() >= MOST && !self.0.contains_key(&of) {
            self.0.retain(|_, window| now < window.begun + WINDOW);
            // A second with more principals than that is told of as far as the table goes.
            if self.0.len() >= MOST {
                return None;
            }
        }
        match self.0.get_mut(&of) {
            Some(window) if now < window.begun + WINDOW => {
                window.untold += 1;
                None
            }
            Some(window) => {
                let untold = window.untold;
                *window = Window { begun: now, untold: 0 };
                Some(untold)
            }
            None => {
                self.0.insert(of, Window { begun: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_of_a_second_has_a_line_and_the_next_line_counts_the_others() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let later = |milliseconds| now + Duration::from_millis(milliseconds);
        let shop = || (Box::from("shop"), ProblemType::Forbidden);
        assert_eq!(refusals.note(shop(), now), Some(0));
        assert_eq!(refusals.note(shop(), later(1)), None);
        assert_eq!(refusals.note(shop(), later(999)), None);
        assert_eq!(refusals.note((Box::from("acme"), ProblemType::Forbidden), later(999)), Some(0));
        assert_eq!(refusals.note((Box::from("shop"), ProblemType::Unauthorized), later(999)), Some(0));
        assert_eq!(refusals.note(shop(), later(1000)), Some(2));
        assert_eq!(refusals.note(shop(), later(2500)), Some(0));
    }

    #[test]
    fn the_table_of_refusals_has_a_bound() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let of = |n: usize| (n.to_string().into(), ProblemType::Forbidden);
        for n in 0..2 * MOST {
            assert_eq!(refusals.note(of(n), now).is_some(), n < MOST, "{n}");
        }
        assert_eq!(refusals.note(of(2 * MOST), now + WINDOW), Some(0));
        assert_eq!(refusals.0.len(), 1);
    }
}
