//! Reads the lines of a stream, within the deadlines, the limit of a line and the budget of all bodies.
//!
//! Each line holds its permit of the budget until its message is dropped. While RabbitMQ takes no messages, the gateway reads
//! only what one deadline of a line allows, and the client waits.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::lines::{Piece, Splitter};
use crate::domain::guarded::guarded;
use crate::http::admission::{RequestPermit, StreamRoom};
use crate::http::problem::{Problem, ProblemType};
use crate::http::state::PermittedBroker;

/// A line of a stream.
pub(super) enum Line {
    /// A message, which nothing but its deadline is known of.
    Message { json: Bytes, deadline: Instant },
    /// A line that the gateway has not kept.
    Wrong(Problem),
}

/// The reason why the gateway reads no further lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The client has sent all lines.
    Complete,
    /// The client has left, or did not keep a deadline or a limit.
    ClientError(String),
    /// The gateway is stopping.
    ShuttingDown,
    /// The gateway no longer accepts the credentials of the client.
    Unauthorized(String),
}

/// The body of a stream.
pub(super) struct Input {
    body: Body,
    broker: PermittedBroker,
    permit: RequestPermit,
    /// The deadline of a line, from its last byte on.
    timeout: Duration,
    splitter: Splitter,
    /// The permit of the bytes that the splitter holds.
    held: Option<StreamRoom>,
    /// Bytes that have no permit yet.
    unpermitted: Option<Bytes>,
    /// When the last bytes arrived.
    arrived: Instant,
    /// When the client has sent no byte for too long.
    idle_until: Instant,
    /// While RabbitMQ takes no messages: when the gateway reads on nevertheless.
    paused_until: Option<Instant>,
    end: Option<End>,
}

impl Input {
    /// The body of the request with this permit, whose lines have this deadline.
    pub(super) fn new(body: Body, permit: RequestPermit, broker: PermittedBroker, timeout: Duration) -> Self {
        let now = Instant::now();
        let splitter = Splitter::new(permit.max_body_bytes());
        let idle_until = now + permit.body_timeout();
        Self {
            body,
            broker,
            permit,
            timeout,
            splitter,
            held: None,
            unpermitted: None,
            arrived: now,
            idle_until,
            paused_until: None,
            end: None,
        }
    }

    /// Waits for the first bytes, or for the end of the body.
    pub(super) async fn wait_for_bytes(&mut self) {
        self.read().await;
    }

    /// The next line; `None` after the last one. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.take_line() {
                return Some(line);
            }
            if self.has_ended() {
                return None;
            }
            if let Some(problem) = self.read().await {
                return Some(Line::Wrong(problem));
            }
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        let before = self.splitter.held();
        let piece = self.splitter.next();
        let permit = self.release(before - self.splitter.held());
        if self.splitter.is_endless() {
            self.end = Some(End::ClientError(format!(
                "a line is far over the limit of {} bytes, and did not end",
                self.permit.max_body_bytes()
            )));
        }
        Some(match piece? {
            Piece::Line(line) => {
                Line::Message { json: guarded(line, permit), deadline: self.arrived + self.timeout }
            }
            Piece::TooLong => Line::Wrong(too_long(self.permit.max_body_bytes())),
        })
    }

    /// Takes the permit of bytes that the splitter does not hold any more.
    fn release(&mut self, bytes: usize) -> Option<StreamRoom> {
        self.held.as_mut()?.split(bytes)
    }

    /// Reads once. Returns a problem if the line that had begun was dropped.
    async fn read(&mut self) -> Option<Problem> {
        let permit = self.permit.clone();
        tokio::select! {
            biased;
            () = permit.draining() => self.end = Some(End::ShuttingDown),
            problem = self.read_bytes() => return problem,
        }
        None
    }

    async fn read_bytes(&mut self) -> Option<Problem> {
        if self.unpermitted.is_none() {
            self.wait_for_rabbitmq().await;
            match timeout_at(self.idle_until, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.unpermitted = frame.into_data().ok(),
                Ok(Some(Err(_))) => {
                    let why = "the body ended before its last chunk, or a chunk is malformed";
                    self.end = Some(End::ClientError(why.to_owned()));
                }
                Ok(None) => {
                    // The last line needs no line break.
                    self.splitter.push(Bytes::from_static(b"\n"));
                    self.end = Some(End::Complete);
                }
                Err(_) => self.end = Some(End::ClientError(self.no_byte())),
            }
            self.wait_longer();
        }
        self.take_permit().await
    }

    /// Hands bytes to the splitter when the budget has room for them. If it has none for too long, drops the line that has
    /// begun, so that streams with long lines do not wait for one another without end.
    async fn take_permit(&mut self) -> Option<Problem> {
        // A frame may be larger than the room that all streams have, beside the line that has begun: it is taken in parts.
        let most = self.permit.stream_bytes().saturating_sub(self.splitter.held()).max(1);
        let bytes = self.unpermitted.as_ref()?.len().min(most);
        let room = timeout_at(self.idle_until, self.permit.wait_for_room(bytes)).await;
        let Some(permit) = room.ok().flatten() else {
            self.wait_longer();
            if !self.splitter.has_begun() {
                return None;
            }
            self.splitter.skip_line();
            self.held = None;
            return Some(no_room());
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        self.arrived = Instant::now();
        if let Some(rest) = &mut self.unpermitted {
            self.splitter.push(rest.split_to(bytes));
        }
        self.unpermitted = self.unpermitted.take().filter(|rest| !rest.is_empty());
        None
    }

    /// While RabbitMQ takes no messages, waits until it does, at most for the deadline of a line.
    async fn wait_for_rabbitmq(&mut self) {
        if self.broker.takes_messages() {
            self.paused_until = None;
            return;
        }
        let until = *self.paused_until.get_or_insert(Instant::now() + self.timeout);
        let _taken = timeout_at(until, self.broker.until_takes_messages()).await;
        self.paused_until = None;
        self.wait_longer();
    }

    /// Begins the wait for the next byte again.
    pub(super) fn wait_longer(&mut self) {
        self.idle_until = Instant::now() + self.permit.body_timeout();
    }

    /// Reads no further bytes: the client has left.
    pub(super) fn give_up(&mut self) {
        self.end = Some(End::ClientError("the client has left".to_owned()));
        self.body = Body::empty();
    }

    /// Reads no further bytes: the gateway no longer accepts the credentials.
    pub(super) fn refuse(&mut self, problem: &Problem) {
        self.end = Some(End::Unauthorized(problem.detail().to_owned()));
        self.body = Body::empty();
    }

    /// Whether no further bytes are read.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The reason why no further lines are read.
    pub(super) fn end(&self) -> End {
        self.end.clone().unwrap_or(End::Complete)
    }

    fn no_byte(&self) -> String {
        let seconds = self.permit.body_timeout().as_secs_f64();
        format!("no byte came for {seconds} s, as long as GATEWAY_BODY_TIMEOUT allows")
    }
}

fn too_long(limit: usize) -> Problem {
    let detail = format!("the line is over the limit of {limit} bytes, which GATEWAY_MAX_BODY_BYTES sets");
    Problem::new(ProblemType::PayloadTooLarge, detail).with("limit", limit)
}

fn no_room() -> Problem {
    Problem::new(
        ProblemType::Overloaded,
        "other streams filled half of GATEWAY_MAX_BYTES_IN_FLIGHT for too long, or other requests all of it; nothing was sent",
    )
}
