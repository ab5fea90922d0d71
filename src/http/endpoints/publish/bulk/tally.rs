//! Counts the results of one request, for its answer, for the metrics and for the log.

use tracing::error;

use super::{Counts, Settled};
use crate::domain::outcome::Outcome;
use crate::http::problem::Problem;
use crate::metrics::Metrics;

/// The results of one request so far.
pub(in crate::http::endpoints::publish) struct Tally {
    /// The kind of request, as metrics and the log name it.
    operation: &'static str,
    metrics: Metrics,
    counts: Counts,
    /// The part of the counts that the metrics have.
    reported: Counts,
    /// The number of problems of the gateway or of RabbitMQ (5xx), and the first of them.
    failed: u64,
    first: Option<Problem>,
}

impl Tally {
    /// No results so far.
    pub(in crate::http::endpoints::publish) fn new(operation: &'static str, metrics: Metrics) -> Self {
        let (counts, reported) = (Counts::default(), Counts::default());
        Self { operation, metrics, counts, reported, failed: 0, first: None }
    }

    /// Adds a result.
    pub(in crate::http::endpoints::publish) fn add(&mut self, settled: &Settled) {
        self.counts.add(settled.outcome());
        if let Err(failure) = &settled.answer
            && failure.problem.kind().status().is_server_error()
        {
            self.failed += 1;
            self.first.get_or_insert_with(|| failure.problem.clone());
        }
    }

    /// The counts.
    pub(in crate::http::endpoints::publish) fn counts(&self) -> Counts {
        self.counts
    }

    /// Adds the results since the last call to the metrics.
    pub(in crate::http::endpoints::publish) fn report(&mut self) {
        for outcome in Outcome::ALL {
            let new = self.counts.of(outcome) - self.reported.of(outcome);
            if new > 0 {
                let labels = [self.operation, outcome.as_str()];
                self.metrics.bulk.messages.with_label_values(&labels).inc_by(new);
            }
        }
        self.reported = self.counts;
    }

    /// Writes one log line if messages failed for a reason that is not their caller's mistake.
    pub(in crate::http::endpoints::publish) fn log(&self) {
        let Some(first) = &self.first else { return };
        let (problem, detail, cause) = (first.kind().name(), first.detail(), first.cause());
        let (operation, failed, messages) = (self.operation, self.failed, self.counts.total());
        error!(
            operation,
            failed, messages, problem, detail, cause, "messages failed; this is the first problem"
        );
    }
}
