//! Publish streams: each client has one stream, sends a line as soon as fewer than [`WINDOW`] lines have no result, and finds the
//! line of a result by its index.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::WINDOW;
use super::item::ItemResult;
use super::publish_stream::{Note, PublishStream, Summary};
use crate::dialect::first_stamp;
use crate::recorder::{Answer, Recorder};
use crate::spec::{Ask, Traffic};

/// The clients of one run.
pub fn clients(
    address: &str,
    traffic: &Traffic,
    recorder: &Arc<Recorder>,
) -> Vec<impl Future<Output = ()> + Send + use<>> {
    let one = |number| run(address.to_owned(), traffic.clone(), first_stamp(number), Arc::clone(recorder));
    (0..traffic.callers).map(one).collect()
}

/// Opens a stream again when it has failed.
async fn run(address: String, traffic: Traffic, mut first: u64, recorder: Arc<Recorder>) {
    while !recorder.is_over() {
        let mut lines = Lines { first, sent: 0, unsettled: HashMap::new(), recorder: Arc::clone(&recorder) };
        if let Err(error) = publish(&address, &traffic, &mut lines).await {
            lines.fail(&format!("{error:#}"));
        }
        first += lines.sent;
    }
}

/// One stream, until the run is over.
async fn publish(address: &str, traffic: &Traffic, lines: &mut Lines) -> anyhow::Result<()> {
    let mut stream = PublishStream::open(address, traffic, "").await?;
    let mut summary = None;
    let mut is_finished = false;
    while !stream.has_ended() {
        if !lines.recorder.is_over() {
            lines.send(&mut stream)?;
        } else if !is_finished {
            stream.finish();
            is_finished = true;
        }
        for line in stream.advance().await?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            ensure!(summary.is_none(), "the summary is not the last line");
            summary = lines.settle(line)?;
        }
    }
    lines.compare(&summary.context("the answer has no summary")?)
}

/// The lines of a stream.
struct Lines {
    /// The number of the first line, which is its id.
    first: u64,
    sent: u64,
    /// The lines without a result, and when each was sent.
    unsettled: HashMap<u64, Instant>,
    recorder: Arc<Recorder>,
}

impl Lines {
    /// Sends as many lines as the window allows.
    fn send(&mut self, stream: &mut PublishStream) -> anyhow::Result<()> {
        let room = WINDOW - self.unsettled.len();
        if room == 0 {
            return Ok(());
        }
        let end = self.sent + room as u64;
        let now = Instant::now();
        self.unsettled.extend((self.sent..end).map(|index| (index, now)));
        stream.add(self.first + self.sent..self.first + end)?;
        self.sent = end;
        Ok(())
    }

    /// Takes a line of the answer, and returns it if it is the summary.
    fn settle(&mut self, line: &[u8]) -> anyhow::Result<Option<Summary>> {
        let Ok(result) = serde_json::from_slice::<ItemResult>(line) else {
            let text = || format!("the answer has the line {}", String::from_utf8_lossy(line));
            let note: Note = serde_json::from_slice(line).with_context(text)?;
            ensure!(note.summary.is_some(), text());
            return Ok(note.summary);
        };
        let (begun, answer) = match self.unsettled.remove(&result.index) {
            Some(begun) => (begun, result.answer(self.first + result.index)),
            None => (Instant::now(), Answer::WrongReply),
        };
        self.recorder.note(begun, Ask::Routed, &answer);
        Ok(None)
    }

    /// Compares the summary with the lines that were sent and settled.
    fn compare(&self, summary: &Summary) -> anyhow::Result<()> {
        let is_right = summary.read == self.sent && summary.end == "complete" && self.unsettled.is_empty();
        if !is_right {
            bail!("{} lines sent, {} without a result: {summary:?}", self.sent, self.unsettled.len());
        }
        Ok(())
    }

    /// Notes a failure for each line without a result, and at least one.
    fn fail(&mut self, why: &str) {
        let answer = Answer::Failed(why.to_owned());
        if self.unsettled.is_empty() {
            self.recorder.note(Instant::now(), Ask::Routed, &answer);
        }
        for (_, begun) in self.unsettled.drain() {
            self.recorder.note(begun, Ask::Routed, &answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::spec::Pace;

    fn lines(sent: u64) -> Lines {
        let recorder = Arc::new(Recorder::new(Pace::Closed).expect("the bounds are right"));
        let unsettled = (0..sent).map(|index| (index, Instant::now())).collect();
        Lines { first: 40, sent, unsettled, recorder }
    }

    fn result(index: u64, number: u64) -> Vec<u8> {
        format!(r#"{{"index":{index},"id":"{number:016x}","outcome":"confirmed"}}"#).into_bytes()
    }

    #[tokio::test]
    async fn at_most_250_lines_have_no_result() {
        let service = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let address = service.local_addr().expect("it has an address").to_string();
        let mut stream = PublishStream::open(&address, &Traffic::base(), "").await.expect("it is open");
        let mut lines = lines(0);
        for (settled, sent) in [(0, 250), (0, 250), (2, 252), (3, 255)] {
            for index in 0..settled {
                lines
                    .settle(&result(lines.sent - 250 + index, 40 + lines.sent - 250 + index))
                    .expect("it is a result");
            }
            lines.send(&mut stream).expect("it is in memory");
            assert_eq!((lines.sent, lines.unsettled.len()), (sent, 250));
        }
    }

    #[test]
    fn each_result_belongs_to_the_line_of_its_index_in_any_order() {
        let mut lines = lines(3);
        for index in [2, 0, 1] {
            assert_eq!(lines.settle(&result(index, 40 + index)).expect("it is a result"), None);
        }
        let answers = lines.recorder.results().1;
        assert_eq!((answers.confirmed, answers.wrong, lines.unsettled.len()), (3, 0, 0));
    }

    #[test]
    fn a_second_result_and_a_result_with_the_id_of_another_line_are_wrong() {
        let mut lines = lines(2);
        for (index, number) in [(0, 40), (0, 40), (1, 40)] {
            lines.settle(&result(index, number)).expect("it is a result");
        }
        let answers = lines.recorder.results().1;
        assert_eq!((answers.confirmed, answers.wrong), (1, 2));
    }

    #[test]
    fn a_stream_that_ends_too_early_has_a_failure_for_each_line_without_a_result() {
        let mut lines = lines(2);
        lines.settle(&result(0, 40)).expect("it is a result");
        let summary = br#"{"summary":{"read":2,"counts":{"confirmed":1},"end":"complete"}}"#;
        let summary = lines.settle(summary).expect("it is a line").expect("it is the summary");
        let error = lines.compare(&summary).expect_err("a result is missing");
        lines.fail(&error.to_string());
        let answers = lines.recorder.results().1;
        assert_eq!((answers.confirmed, answers.errors), (1, 1));
        assert!(lines.settle(b"{}").is_err());
    }
}
