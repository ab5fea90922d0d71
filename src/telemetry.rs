//! The log: text on a terminal, JSON lines otherwise, on standard error.
//!
//! Log lines go through a bounded queue to a separate thread. When the reader of standard error stops reading, the log
//! loses lines, and requests do not wait. A log line tells how many lines were dropped. Neither bodies nor passwords are
//! logged at any level: lapin's frames (`trace`), returned messages and channel errors contain them, so they stay off
//! with every filter.

pub mod panics;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// Number of lines that wait for a slow reader before the log drops lines.
const QUEUED_LINES: usize = 8_192;

/// How long the process waits at its end for the queue to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The filter and the format of the log. Filled by [`crate::config`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The levels that are logged.
    pub filter: Filter,
    /// The format of a line.
    pub format: Format,
}

/// A level, and optional levels for modules by name: `info,rabbitmq_gateway=debug`.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Targets);

impl Filter {
    /// Checks the text.
    ///
    /// # Errors
    /// The error text of tracing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let filter: Targets = text.parse().map_err(|error: ParseError| error.to_string())?;
        if filter.iter().all(|(target, _)| is_module(target)) {
            return Ok(Self(filter));
        }
        Err("a level applies to a module, named with its crate".to_owned())
    }
}

fn is_module(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text for people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Format {
    /// Reads the name of a format.
    ///
    /// # Errors
    /// An empty reason: the caller's error text already lists the allowed values.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(String::new()),
        }
    }

    fn is_json(self) -> bool {
        self == Self::Json || self == Self::Auto && !io::stderr().is_terminal()
    }
}

/// Keeps the log alive. Dropping it writes the queued lines, for at most a second.
#[must_use = "the log ends when this is dropped"]
pub struct Guard {
    worker: Option<WorkerGuard>,
    dropped: DroppedLines,
}

impl Guard {
    /// The counter of dropped lines, for metrics.
    #[must_use]
    pub fn dropped_lines(&self) -> DroppedLines {
        self.dropped.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, wait) = mpsc::channel();
        let worker = self.worker.take();
        // Dropping the worker's guard may block for ever on a pipe without a reader.
        thread::spawn(move || {
            drop(worker);
            let _ = done.send(());
        });
        let _ = wait.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// The number of lines that were dropped since the start because the reader was slow.
#[derive(Debug, Clone)]
pub struct DroppedLines(ErrorCounter);

impl DroppedLines {
    /// The count; it only grows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.dropped_lines()
    }
}

/// Starts the log of the process, and logs panics.
///
/// # Panics
/// If it is called twice.
pub fn init(settings: &Settings) -> Guard {
    let is_json = settings.format.is_json();
    let (writer, worker, dropped) = queue(io::stderr(), is_json, QUEUED_LINES);
    subscriber(settings, is_json, writer).init();
    std::panic::set_hook(Box::new(panics::log_panic));
    Guard { worker: Some(worker), dropped }
}

fn subscriber(settings: &Settings, is_json: bool, writer: NonBlocking) -> impl Subscriber + Send + Sync {
    let lines = fmt::layer().with_writer(writer);
    let lines = if is_json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).boxed()
    };
    // The filters apply to the whole log, not to a layer, and not to spans: such filters check each span at every step.
    Registry::default().with(settings.filter.0.clone()).with(secrets_and_bodies()).with(lines)
}

/// Lets all events pass except those that would print a password or a message.
fn secrets_and_bodies() -> Targets {
    Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("lapin", LevelFilter::DEBUG)
        .with_target("amq_protocol", LevelFilter::DEBUG)
        .with_target("lapin::returned_messages", LevelFilter::OFF)
        // RabbitMQ's text about a channel quotes values of a caller; the answer to that caller contains the text.
        .with_target("lapin::channel", LevelFilter::OFF)
}

fn queue(
    to: impl Write + Send + 'static,
    is_json: bool,
    lines: usize,
) -> (NonBlocking, WorkerGuard, DroppedLines) {
    let counter = Arc::new(OnceLock::new());
    let lossy = Lossy { to, is_json, counter: Arc::clone(&counter), told: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines).thread_name("log");
    let (writer, worker) = builder.finish(lossy);
    let dropped = counter.get_or_init(|| writer.error_counter()).clone();
    (writer, worker, DroppedLines(dropped))
}

/// The end of the queue. It writes lines, and after dropped lines a line that tells their number.
struct Lossy<W> {
    to: W,
    is_json: bool,
    counter: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.write_all(line)?;
        let dropped = self.counter.get().map_or(0, ErrorCounter::dropped_lines);
        if dropped > self.told {
            self.to.write_all(gap(dropped - self.told, self.is_json).as_bytes())?;
            self.told = dropped;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn gap(lines: usize, is_json: bool) -> String {
    let (now, message) = (jiff::Timestamp::now(), format!("dropped {lines} log lines"));
    let target = module_path!();
    if is_json {
        // No part of it needs escaping.
        let head = format!(r#""timestamp":"{now}","level":"WARN","message":"{message}""#);
        format!("{{{head},\"dropped\":{lines},\"target\":\"{target}\"}}\n")
    } else {
        format!("{now}  WARN {target}: {message}\n")
    }
}

#[cfg(test)]
mod tests;
