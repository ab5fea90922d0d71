//! The process as Linux sees it, under the names that Prometheus' own clients give it.
//!
//! Not the collector of the crate `prometheus`: it tells CPU time and the start in whole seconds, and needs a second version
//! of rustix.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Clock ticks a second in `/proc`; the same on every Linux that Rust supports.
const TICKS: f64 = 100.0;
const KIBIBYTE: f64 = 1024.0;

/// Reads `/proc/self` when Prometheus reads the metrics. On other systems it has no metrics.
#[derive(Default)]
pub(super) struct Process;

struct Sample {
    cpu_seconds: f64,
    start_ticks: f64,
    resident_bytes: f64,
    threads: f64,
}

impl Sample {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may contain spaces and parentheses.
        let fields: Vec<f64> = stat.rsplit_once(')')?.1.split_whitespace().map(number).collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            threads: field(20)?,
            start_ticks: field(22)?,
            resident_bytes: resident_kibibytes()? * KIBIBYTE,
        })
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_default()
}

/// `stat` has it too, in pages, whose size differs between machines.
fn resident_kibibytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next().map(number)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")).map(number)
}

fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}

fn max_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next().map(number)
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(sample) = Sample::read() else { return Vec::new() };
        let started = boot_time().map(|boot| boot + sample.start_ticks / TICKS);
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory.", Some(sample.resident_bytes)),
            ("process_threads", "Threads.", Some(sample.threads)),
            ("process_start_time_seconds", "Start of the process since 1970.", started),
            ("process_open_fds", "Open file descriptors.", open_files()),
            ("process_max_fds", "File descriptors that may be open.", max_files()),
        ];
        let gauges = gauges.into_iter().filter_map(|(name, help, value)| gauge(name, help, value?));
        gauges.chain(cpu(sample.cpu_seconds)).flatten().collect()
    }
}

fn gauge(name: &str, help: &str, value: f64) -> Option<Vec<MetricFamily>> {
    let gauge = Gauge::new(name, help).ok()?;
    gauge.set(value);
    Some(gauge.collect())
}

fn cpu(seconds: f64) -> Option<Vec<MetricFamily>> {
    let counter = Counter::new("process_cpu_seconds_total", "CPU time, user and system.").ok()?;
    counter.inc_by(seconds);
    Some(counter.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_threads_and_a_start() {
        let families = Process.collect();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).expect(name);
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("process_open_fds") >= 3.0);
    }
}
