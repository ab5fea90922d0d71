//! The speed figures of a load's answers, within a window of time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::load::Answer;

/// From the first instant until before the second one.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub from: Instant,
    pub to: Instant,
}

impl Window {
    pub fn contains(&self, instant: Instant) -> bool {
        (self.from..self.to).contains(&instant)
    }
}

/// The figures of the answers that arrived in a window.
#[derive(Debug, Clone)]
pub struct Figures {
    pub confirmed: usize,
    /// Answered in another way.
    pub others: usize,
    /// Confirms a second.
    pub rate: f64,
    /// The p99 of the confirmed ones.
    pub p99: Duration,
}

impl Figures {
    pub fn of(answers: &[Answer], window: Window) -> Self {
        let within = answers.iter().filter(|answer| window.contains(answer.at));
        let (confirmed, others): (Vec<&Answer>, Vec<_>) = within.partition(|answer| answer.is_confirmed());
        let mut took: Vec<_> = confirmed.iter().map(|answer| answer.took()).collect();
        took.sort_unstable();
        let p99 = took.get((took.len() * 99).div_ceil(100).saturating_sub(1));
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 answers")]
        let count = confirmed.len() as f64;
        Self {
            confirmed: confirmed.len(),
            others: others.len(),
            rate: count / (window.to - window.from).as_secs_f64(),
            p99: p99.copied().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Self { confirmed, others, rate, p99 } = self;
        write!(out, "{confirmed} confirmed, {others} others, {rate:.0}/s, p99 {p99:.1?}")
    }
}

/// The longest time in a window in which no confirm arrived.
pub fn longest_gap<'a>(answers: impl IntoIterator<Item = &'a Answer>, window: Window) -> Duration {
    let confirmed = answers.into_iter().filter(|answer| answer.is_confirmed()).map(|answer| answer.at);
    let mut instants: Vec<_> = confirmed.filter(|at| window.contains(*at)).collect();
    instants.extend([window.from, window.to]);
    instants.sort_unstable();
    instants.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
