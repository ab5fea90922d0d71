//! Writes the result lines of a stream, as fast as its client reads them.

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc::Sender;
use utoipa::ToSchema;

use super::input::End;
use crate::domain::path_prefix::PathPrefix;
use crate::http::endpoints::publish::bulk::{Counts, ItemResult, Settled, Tally};

/// The bytes of unread results at which the gateway reads no further lines.
const ROOM: usize = 16 * 1024;
/// With `Prefer: return=minimal`, the number of settled lines between two lines that tell it.
const MARK: u64 = 10_000;

/// A line of the answer to a stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum StreamLine {
    /// The result of a line of the request.
    Result(ItemResult),
    /// With `Prefer: return=minimal`, every 10,000 lines.
    Settled {
        /// The number of lines that have a result.
        settled: u64,
    },
    /// The last line.
    Summary {
        /// All lines together.
        summary: StreamSummary,
    },
}

/// The end of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct StreamSummary {
    /// The number of lines that the gateway has read. Later lines are certainly not sent.
    read: u64,
    /// The number of lines by outcome.
    counts: Counts,
    /// The reason why the gateway read no further lines.
    end: StreamEnd,
    /// A description of a `client-error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// The reason why the gateway read no further lines.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum StreamEnd {
    /// The client has sent all lines.
    Complete,
    /// The client did not keep a deadline or a limit, or its body is malformed.
    ClientError,
    /// The gateway is stopping.
    ShuttingDown,
    /// The gateway no longer accepts the credentials of the client.
    Unauthorized,
}

/// The answer to a stream while it is written.
pub(super) struct Output {
    sender: Sender<Bytes>,
    /// Lines that the client has not taken.
    lines: Vec<u8>,
    tally: Tally,
    is_minimal: bool,
    prefix: PathPrefix,
}

impl Output {
    /// An answer without any line so far.
    pub(super) fn new(sender: Sender<Bytes>, tally: Tally, is_minimal: bool, prefix: PathPrefix) -> Self {
        Self { sender, lines: Vec::new(), tally, is_minimal, prefix }
    }

    /// Adds the result of a line.
    pub(super) fn add(&mut self, settled: Settled) {
        self.tally.add(&settled);
        if !self.is_minimal || settled.answer.is_err() {
            let result = settled.into_result(&self.prefix);
            self.write(&StreamLine::Result(result));
        }
        let settled = self.tally.counts().total();
        if self.is_minimal && settled.is_multiple_of(MARK) {
            self.write(&StreamLine::Settled { settled });
        }
    }

    fn write(&mut self, line: &StreamLine) {
        // Writing to memory cannot fail, and the line has no map with keys that are not strings.
        if serde_json::to_writer(&mut self.lines, line).is_ok() {
            self.lines.push(b'\n');
        }
    }

    /// Whether the client takes the results fast enough for the gateway to read further lines.
    pub(super) fn has_room(&self) -> bool {
        self.lines.len() < ROOM
    }

    /// Whether every line was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Sends the lines when the client takes them. Cancel safe.
    pub(super) async fn send(&mut self) {
        let permit = self.sender.reserve().await;
        self.tally.report();
        let lines = std::mem::take(&mut self.lines);
        if let Ok(permit) = permit {
            permit.send(lines.into());
        }
    }

    /// The way to the client, which is closed when the client has left.
    pub(super) fn client(&self) -> Sender<Bytes> {
        self.sender.clone()
    }

    /// Sends the summary of all lines, and ends the answer.
    pub(super) async fn end(mut self, read: u64, end: End) {
        let counts = self.tally.counts();
        let (end, detail) = match end {
            End::Complete => (StreamEnd::Complete, None),
            End::ClientError(detail) => (StreamEnd::ClientError, Some(detail)),
            End::ShuttingDown => (StreamEnd::ShuttingDown, None),
            End::Unauthorized(detail) => (StreamEnd::Unauthorized, Some(detail)),
        };
        self.write(&StreamLine::Summary { summary: StreamSummary { read, counts, end, detail } });
        self.send().await;
        self.tally.log();
    }
}
