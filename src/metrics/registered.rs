//! Makes and registers metrics.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::process;

/// From 100 µs to 100 s: from a confirm in memory to a call to a slow server.
const SECONDS: [f64; 19] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    25.0, 50.0, 100.0,
];

/// The metrics that are registered so far. Names and labels are constants, so registration fails only because of a
/// defect, and every test that starts a gateway would show it.
pub(super) struct Registered(Registry);

impl Registered {
    /// The metrics of the process: its version, and the values that the system knows.
    pub(super) fn with_process_metrics() -> Self {
        let list = Self(Registry::new());
        list.gauges("gateway_build_info", "The gateway's version; always 1.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        list.add(process::Process);
        list
    }

    /// The registry with all of them.
    pub(super) fn into_registry(self) -> Registry {
        self.0
    }

    fn add<C: Collector + 'static>(&self, collector: C) {
        if let Err(error) = self.0.register(Box::new(collector)) {
            panic!("the list of metrics is wrong: {error}");
        }
    }

    fn keep<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.unwrap_or_else(|error| panic!("the list of metrics is wrong: {error}"));
        self.add(metric.clone());
        metric
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
    }

    pub(super) fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
    }
}
