//! All measured results, as `results.json` stores them, and their figures over the rounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contestant::Contestant;
use crate::machine::Machine;
use crate::plan::{Plan, Workload};
use crate::sample::Sample;
use crate::spec::Pace;

/// One contestant's turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Counted from 0.
    pub round: usize,
    /// Name of the workload.
    pub workload: String,
    /// The contestant.
    pub contestant: Contestant,
    /// The result.
    pub sample: Sample,
}

/// A whole benchmark.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// The machine on which it ran.
    pub machine: Machine,
    /// The workloads and contestants that ran.
    pub plan: Plan,
    /// Runs that were repeated.
    pub repeated: Repeated,
    /// How long it took.
    pub minutes: f64,
    /// Every run, in the order of time.
    pub runs: Vec<Run>,
}

/// Runs that were repeated, by reason.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Repeated {
    /// The machine stalled during the run.
    pub stalled: usize,
    /// The run gave no figures: a process did not start, or ended too early. In words.
    pub failed: Vec<String>,
}

/// A row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The faster of the two ways to use AMQP directly, chosen again in each round.
    Limit,
    /// A contestant.
    Of(Contestant),
}

impl Row {
    /// The rows of a workload: the limit first, then the services in front of RabbitMQ.
    #[must_use]
    pub fn all(workload: &Workload) -> Vec<Self> {
        let limit = workload.contestants.iter().any(|it| it.is_direct()).then_some(Self::Limit);
        let others = workload.contestants.iter().filter(|it| !it.is_direct()).map(|it| Self::Of(*it));
        limit.into_iter().chain(others).collect()
    }

    /// The name in tables.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Limit => "AMQP directly (the limit)",
            Self::Of(contestant) => contestant.title(),
        }
    }
}

impl Results {
    /// The workload with this name.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.plan.workloads.iter().find(|workload| workload.name == name)
    }

    /// The samples of a row by round.
    #[must_use]
    pub fn samples(&self, workload: &Workload, row: Row) -> BTreeMap<usize, &Sample> {
        let mut samples = BTreeMap::new();
        for run in self.runs.iter().filter(|run| run.workload == workload.name) {
            let is_of_row = match row {
                Row::Limit => run.contestant.is_direct(),
                Row::Of(contestant) => run.contestant == contestant,
            };
            if is_of_row {
                let kept = samples.entry(run.round).or_insert(&run.sample);
                if is_better(workload, &run.sample, kept) {
                    *kept = &run.sample;
                }
            }
        }
        samples
    }

    /// A figure of a row over the rounds.
    pub fn figure(&self, workload: &Workload, row: Row, of: impl Fn(&Sample) -> f64) -> Spread {
        Spread::over(self.samples(workload, row).values().map(|sample| of(sample)))
    }

    /// The ratio of a row's figure to the limit's figure in the same round.
    pub fn ratio(&self, workload: &Workload, row: Row, of: impl Fn(&Sample) -> f64) -> Spread {
        self.compare(workload, [row, Row::Limit], |own, limit| of(own) / of(limit))
    }

    /// A figure that compares the samples of two rows in the same round.
    pub fn compare(
        &self,
        workload: &Workload,
        rows: [Row; 2],
        of: impl Fn(&Sample, &Sample) -> f64,
    ) -> Spread {
        let [first, second] = rows.map(|row| self.samples(workload, row));
        Spread::over(first.iter().filter_map(|(round, sample)| Some(of(sample, second.get(round)?))))
    }
}

/// Whether the sample is the faster one. At a fixed rate all have the same speed, and the one with the shorter latency is better.
fn is_better(workload: &Workload, sample: &Sample, than: &Sample) -> bool {
    match workload.traffic.pace {
        Pace::Rate(_) => sample.latency.p50 < than.latency.p50,
        Pace::Closed | Pace::Count(_) => sample.rate() > than.rate(),
    }
}

/// Median, least and most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Without values all three are NaN.
    pub fn over(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        };
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median, least: *least, most: *most }
    }
}

/// Milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a minute at the most")]
pub fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// MiB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_two() {
        let spread = |values: &[f64]| Spread::over(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 8.0]), Spread { median: 3.0, least: 1.0, most: 8.0 });
        assert_eq!(spread(&[4.0, 1.0, 2.0, 8.0]), Spread { median: 3.0, least: 1.0, most: 8.0 });
    }
}
