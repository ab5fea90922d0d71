//! Writes the messages of a pull as JSON, within the budget of all bodies.

use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::message::PulledMessage;
use crate::broker::Leased;
use crate::http::admission::RequestPermit;
use crate::http::problem::Problem;

/// The answer with these messages, and the permit for its bytes. Reserves the bytes message by message, so that it stops soon
/// after the budget is full.
///
/// # Errors
/// `overloaded`, when the budget has no room.
pub(super) fn write(
    messages: &[Leased],
    user: Option<&str>,
    permit: &RequestPermit,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Problem> {
    let mut answer = Answer { json: Vec::new(), room: permit.reserve(0)?, permit };
    answer.text("{\"messages\":[")?;
    for (n, leased) in messages.iter().enumerate() {
        if n > 0 {
            answer.text(",")?;
        }
        answer.value(&PulledMessage::of(leased, user))?;
    }
    answer.text("]}")?;
    answer.json.shrink_to_fit();
    Ok((answer.json, answer.room))
}

struct Answer<'a> {
    json: Vec<u8>,
    room: OwnedSemaphorePermit,
    permit: &'a RequestPermit,
}

impl Answer<'_> {
    fn text(&mut self, text: &str) -> Result<(), Problem> {
        self.json.extend_from_slice(text.as_bytes());
        self.reserve()
    }

    fn value(&mut self, value: &impl Serialize) -> Result<(), Problem> {
        let written = serde_json::to_writer(&mut self.json, value);
        written.map_err(|error| {
            Problem::internal("cannot write a message of a queue as JSON").caused_by(&error)
        })?;
        self.reserve()
    }

    /// Reserves the bytes that have no room yet.
    fn reserve(&mut self) -> Result<(), Problem> {
        let more = self.permit.reserve(self.json.len() - self.room.num_permits()).map_err(given_back)?;
        self.room.merge(more);
        Ok(())
    }
}

/// The problem of messages whose answer has no room. They go back when the caller drops them.
pub(in crate::http::endpoints::messages) fn given_back(problem: Problem) -> Problem {
    let detail = format!("{}; the messages go back to their queue", problem.detail());
    problem.with_detail(detail)
}
