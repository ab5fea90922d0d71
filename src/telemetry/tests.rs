//! Tests that the log never blocks, tells how many lines it dropped, and keeps secrets out at every level.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::*;

/// Memory that other threads can read while it is written. It blocks until `open`.
#[derive(Clone, Default)]
struct Pipe {
    written: Arc<Mutex<Vec<u8>>>,
    gate: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
}

impl Pipe {
    fn blocked() -> (Self, mpsc::Sender<()>) {
        let (open, gate) = mpsc::channel();
        (Self { gate: Some(Arc::new(Mutex::new(gate))), ..Self::default() }, open)
    }

    fn text(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gate) = &self.gate {
            // Resolves when the sender is dropped.
            let _ = gate.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(filter: &str, is_json: bool, log: impl FnOnce()) -> String {
    let pipe = Pipe::default();
    let (writer, worker, _) = queue(pipe.clone(), is_json, 100);
    let filter = Filter::parse(filter).expect("a filter");
    let subscriber = subscriber(&Settings { filter, format: Format::Auto }, is_json, writer);
    tracing::subscriber::with_default(subscriber, log);
    drop(worker);
    pipe.text()
}

#[test]
fn a_json_line_is_flat_and_carries_its_span() {
    let text = logged("info", true, || {
        let _span = tracing::info_span!("request", request_id = "r1").entered();
        tracing::info!(status = 200, "answered");
    });
    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(line["message"], "answered");
    assert_eq!(line["status"], 200);
    assert_eq!(line["span"]["request_id"], "r1");
}

#[test]
fn a_blocked_reader_loses_lines_but_blocks_no_writer_and_the_log_counts_the_lines() {
    for is_json in [true, false] {
        let (pipe, open) = Pipe::blocked();
        let (mut writer, worker, dropped) = queue(pipe.clone(), is_json, 4);
        let start = Instant::now();
        for _ in 0..100 {
            writer.write_all(b"line\n").expect("never fails");
        }
        assert!(start.elapsed() < Duration::from_secs(1));
        assert!((95..=96).contains(&dropped.count()), "{}", dropped.count());
        let count = dropped.count();
        drop(open);
        drop(worker);
        assert_eq!(pipe.text().matches("line\n").count(), 100 - count);
        let text = pipe.text();
        let gap = text.lines().find(|line| line.contains(&format!("dropped {count} log lines")));
        assert!(gap.is_some_and(|gap| !is_json || gap.parse::<serde_json::Value>().is_ok()), "{text}");
    }
}

#[test]
fn the_process_end_does_not_wait_for_a_blocked_reader() {
    let (pipe, _open) = Pipe::blocked();
    let (mut writer, worker, dropped) = queue(pipe, false, 4);
    for _ in 0..10 {
        writer.write_all(b"line\n").expect("never fails");
    }
    let start = Instant::now();
    drop(Guard { worker: Some(worker), dropped });
    assert!(start.elapsed() < FLUSH_TIMEOUT * 2);
}

#[test]
fn frames_and_returned_messages_are_never_logged() {
    let text = logged("trace,lapin::returned_messages=trace", false, || {
        tracing::trace!(target: "lapin::channels", "frame with hunter2");
        tracing::warn!(target: "lapin::returned_messages", "message with hunter2");
        tracing::warn!(target: "lapin::connection", "connection closed");
        tracing::trace!("ours");
    });
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("connection closed") && text.contains("ours"), "{text}");
}

#[test]
fn a_text_line_has_no_colours_without_a_terminal() {
    let text = logged("info", false, || tracing::info!("answered"));
    assert_eq!(text.contains('\u{1b}'), io::stderr().is_terminal());
}

#[test]
fn a_filter_that_tracing_refuses_is_refused() {
    assert!(Filter::parse("info,lapin::returned_messages=off").is_ok());
    for text in ["a=b=c", "rabbitmq_gateway=loud", "[unclosed"] {
        assert!(Filter::parse(text).is_err(), "{text}");
    }
}
