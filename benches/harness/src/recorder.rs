//! The results of the callers of one run: latencies inside the window, and checks of all answers, also outside it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::spec::{Ask, Pace};

/// Latencies are stored in microseconds, with three digits, up to a minute.
const LONGEST: u64 = 60_000_000;
const DIGITS: u8 = 3;
/// The quantiles that are stored of every distribution.
const QUANTILES: [f64; 12] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Confirmed, or the right reply.
    Confirmed,
    /// Returned by RabbitMQ.
    Unroutable,
    /// Nacked by RabbitMQ.
    Rejected,
    /// Refused as the caller's mistake.
    Refused,
    /// The reply to another request.
    WrongReply,
    /// Another result.
    Failed(String),
}

impl Answer {
    fn is_right_for(&self, ask: Ask) -> bool {
        let right = match ask {
            Ask::Routed => Self::Confirmed,
            Ask::Unroutable => Self::Unroutable,
            Ask::Rejected => Self::Rejected,
            Ask::MissingExchange | Ask::BadProperty => Self::Refused,
        };
        *self == right
    }
}

/// Answers of a whole run, warm-up included.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answers {
    /// Answered as confirmed.
    pub confirmed: u64,
    /// Answered as unroutable.
    pub unroutable: u64,
    /// Answered as rejected.
    pub rejected: u64,
    /// Refused as the caller's mistake.
    pub refused: u64,
    /// Failed: another status, a lost connection, no answer in time.
    pub errors: u64,
    /// Requests that got another request's answer.
    pub wrong: u64,
    /// The first error or wrong answer, in words.
    pub first_fault: Option<String>,
}

impl Answers {
    /// The number of all answers.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.confirmed + self.unroutable + self.rejected + self.refused + self.errors
    }

    fn note(&mut self, ask: Ask, answer: &Answer) {
        match answer {
            Answer::Confirmed => self.confirmed += 1,
            Answer::Unroutable => self.unroutable += 1,
            Answer::Rejected => self.rejected += 1,
            Answer::Refused => self.refused += 1,
            Answer::WrongReply => {}
            Answer::Failed(_) => self.errors += 1,
        }
        if !answer.is_right_for(ask) {
            self.wrong += u64::from(!matches!(answer, Answer::Failed(_)));
            self.first_fault.get_or_insert_with(|| format!("{ask:?} was answered {answer:?}"));
        }
    }
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the requests took at most this.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
    /// Quantile and latency, for plots.
    pub ladder: Vec<(f64, u64)>,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let ladder = QUANTILES.map(|quantile| (quantile, at(quantile))).to_vec();
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max(), ladder }
    }
}

struct Window {
    opened: Option<Instant>,
    closed: Option<Instant>,
    latencies: Histogram<u64>,
    answers: Answers,
}

impl Window {
    fn holds(&self, moment: Instant) -> bool {
        self.opened.is_some_and(|opened| moment >= opened) && self.closed.is_none_or(|closed| moment < closed)
    }
}

/// Shared by all callers of a run.
pub struct Recorder {
    window: Mutex<Window>,
    over: AtomicBool,
    budget: AtomicU64,
    by_due_time: bool,
}

impl Recorder {
    /// # Errors
    /// Never with the bounds in this file.
    pub fn new(pace: Pace) -> anyhow::Result<Self> {
        let budget = if let Pace::Count(count) = pace { count } else { u64::MAX };
        let latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS)?;
        let window = Window { opened: None, closed: None, latencies, answers: Answers::default() };
        Ok(Self {
            window: Mutex::new(window),
            over: AtomicBool::new(false),
            budget: AtomicU64::new(budget),
            by_due_time: matches!(pace, Pace::Rate(_)),
        })
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on latencies count.
    pub fn open(&self) {
        self.window().opened = Some(Instant::now());
    }

    /// From now on latencies do not count, and no caller asks again.
    pub fn close(&self) {
        self.window().closed = Some(Instant::now());
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the callers are to stop.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether a caller in a closed loop has to ask once more.
    pub fn wants_more(&self) -> bool {
        let take_one = |left: u64| left.checked_sub(1);
        !self.is_over() && self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok()
    }

    /// In a closed loop an answer counts when it arrives. At a fixed rate a request counts when it was due, even if its answer is
    /// late: a stall must not hide the requests that it delayed.
    pub fn note(&self, begun: Instant, ask: Ask, answer: &Answer) {
        let now = Instant::now();
        let mut window = self.window();
        window.answers.note(ask, answer);
        if window.holds(if self.by_due_time { begun } else { now }) {
            window.latencies.saturating_record(micros(now - begun));
        }
    }

    /// Notes a request that was due while no caller was free to send it: it has waited at least this long.
    pub fn note_unsent(&self, due: Instant) {
        let mut window = self.window();
        if window.holds(due) {
            window.latencies.saturating_record(micros(due.elapsed()));
        }
    }

    /// Requests and time in the window, once it is closed.
    pub fn total(&self) -> (u64, Duration) {
        let window = self.window();
        let span = window.opened.zip(window.closed).map(|(opened, closed)| closed - opened);
        (window.latencies.len(), span.unwrap_or_default())
    }

    /// The distribution in the window, and all answers.
    pub fn results(&self) -> (Latency, Answers) {
        let window = self.window();
        (Latency::of(&window.latencies), window.answers.clone())
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirm_for_an_unroutable_message_is_a_wrong_answer_and_a_lost_connection_an_error() {
        let mut answers = Answers::default();
        answers.note(Ask::Routed, &Answer::Confirmed);
        answers.note(Ask::Unroutable, &Answer::Confirmed);
        answers.note(Ask::Routed, &Answer::Failed("reset".to_owned()));
        assert_eq!([answers.confirmed, answers.wrong, answers.errors], [2, 1, 1]);
        assert_eq!(answers.first_fault.as_deref(), Some("Unroutable was answered Confirmed"));
    }

    #[test]
    fn a_counted_run_ends_after_the_last_request() {
        let recorder = Recorder::new(Pace::Count(3)).expect("the bounds are right");
        assert_eq!((0..9).filter(|_| recorder.wants_more()).count(), 3);
    }
}
