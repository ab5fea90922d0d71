//! One stream of a million lines by one client, which asks for the failures alone: the memory of the service must not grow with
//! the lines.

use std::time::Instant;

use anyhow::{Context, bail};

use super::publish_stream::{Note, PublishStream, Summary};
use crate::recorder::Answers;
use crate::sample::Sample;
use crate::spec::{Spec, Target};
use crate::stall::Watch;
use crate::usage::{Spent, forget_peaks, memory, peak_memory};

/// All lines.
pub const LINES: u64 = 1_000_000;
/// The line at which the memory is compared with that at the last line.
pub const EARLY: u64 = 100_000;
/// The lines of one chunk.
const CHUNK: u64 = 50;
/// A further chunk is added when fewer bytes wait to be written.
const UNWRITTEN: usize = 64 * 1024;

/// Does the run. Its window is the whole stream.
///
/// # Errors
/// When the stream breaks off, or the service does not tell how many lines are settled.
pub async fn measure(spec: &Spec, itself: i32) -> anyhow::Result<Sample> {
    let Target::Http { address, .. } = &spec.target else { bail!("streams are over HTTP only") };
    let watch = Watch::start();
    forget_peaks(&spec.contestant)?;
    let (begun, before) = (Instant::now(), Spent::now(spec, itself)?);
    let mut stream = PublishStream::open(address, &spec.traffic, "prefer: return=minimal\r\n").await?;
    let mut seen = Seen::default();
    let mut sent = 0;
    while !stream.has_ended() {
        while sent < LINES && stream.unwritten() < UNWRITTEN {
            stream.add(sent..sent + CHUNK)?;
            sent += CHUNK;
            if sent == LINES {
                stream.finish();
            }
        }
        for line in stream.advance().await?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            seen.take(line, || memory(&spec.contestant))?;
        }
    }
    let after = Spent::now(spec, itself)?;
    let answers = seen.answers()?;
    Ok(Sample {
        requests: answers.all(),
        seconds: begun.elapsed().as_secs_f64(),
        contestant_cpu: after.contestant - before.contestant,
        broker_cpu: after.broker - before.broker,
        load_cpu: after.load - before.load,
        peak_memory: peak_memory(&spec.contestant)?,
        stream_memory: Some(seen.memory()?),
        answers,
        stall: watch.longest(),
        ..Sample::default()
    })
}

/// The lines of the answer so far.
#[derive(Default)]
struct Seen {
    early: Option<u64>,
    last: Option<u64>,
    first_fault: Option<String>,
    summary: Option<Summary>,
}

impl Seen {
    fn take(&mut self, line: &[u8], memory: impl Fn() -> anyhow::Result<u64>) -> anyhow::Result<()> {
        let text = || String::from_utf8_lossy(line).into_owned();
        let note: Note = serde_json::from_slice(line).with_context(text)?;
        match (note.settled, note.summary) {
            (Some(EARLY), _) => self.early = Some(memory()?),
            (Some(LINES), _) => self.last = Some(memory()?),
            (Some(_), _) => {}
            (None, Some(summary)) => self.summary = Some(summary),
            (None, None) => _ = self.first_fault.get_or_insert_with(text),
        }
        Ok(())
    }

    /// A line that is not confirmed is an error, and so is a line that was not read.
    fn answers(&self) -> anyhow::Result<Answers> {
        let summary = self.summary.as_ref().context("the answer has no summary")?;
        let confirmed = summary.counts.confirmed;
        let errors = LINES.saturating_sub(confirmed);
        let fault = || (errors > 0).then(|| format!("{summary:?}"));
        let first_fault = self.first_fault.clone().or_else(fault);
        Ok(Answers { confirmed, errors, first_fault, ..Answers::default() })
    }

    fn memory(&self) -> anyhow::Result<[u64; 2]> {
        let both =
            self.early.zip(self.last).context("the answer does not tell how many lines are settled")?;
        Ok([both.0, both.1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Seen {
        let mut seen = Seen::default();
        for (memory, line) in (1..).zip(lines) {
            seen.take(line.as_bytes(), || Ok(memory)).expect("it is a line");
        }
        seen
    }

    #[test]
    fn the_memory_is_that_at_the_early_and_at_the_last_line() {
        let marks = [r#"{"settled":90000}"#, r#"{"settled":100000}"#, r#"{"settled":1000000}"#];
        assert_eq!(seen(&marks).memory().expect("both are there"), [2, 3]);
        assert!(seen(&marks[..2]).memory().is_err());
    }

    #[test]
    fn a_line_without_a_confirm_is_an_error() {
        let failure = r#"{"index":3,"outcome":"unroutable"}"#;
        let summary = r#"{"summary":{"read":1000000,"counts":{"confirmed":999999},"end":"complete"}}"#;
        let answers = seen(&[failure, summary]).answers().expect("it has a summary");
        assert_eq!((answers.confirmed, answers.errors), (999_999, 1));
        assert_eq!(answers.first_fault.as_deref(), Some(failure));
        assert!(seen(&[failure]).answers().is_err());
    }
}
