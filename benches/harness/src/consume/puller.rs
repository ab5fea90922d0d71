//! A caller of the gateway that pulls messages and acks them.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::time::timeout;

use super::ledger::number_of;
use super::settle::{ack, check_acked};
use crate::http::Connection;
use crate::load::PATIENCE;
use crate::spec::Queue;

/// A leased message.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The id of its lease.
    pub lease: String,
    /// The number in its body.
    pub number: u64,
}

/// A caller, and the connections for its pulls and for its acks.
pub struct Puller {
    connection: Connection,
    /// The connection to another replica, which gets the acks if it is there.
    other: Option<Connection>,
    pull: Vec<u8>,
    queue: Queue,
}

/// The request to take messages from a queue: at most this number, when they come within the wait.
#[must_use]
pub fn pull_request(queue: Queue, max: u16, wait: Duration) -> Vec<u8> {
    let body = format!(r#"{{"max":{max},"wait":"{}ms"}}"#, wait.as_millis());
    post(queue, "pull", body.as_bytes())
}

/// A request with a JSON body.
pub fn post(queue: Queue, action: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /queues/{}/messages/{action} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        queue.name(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Puller {
    /// Connects to the gateway, and to another replica if there is one.
    ///
    /// # Errors
    /// When no program listens at an address.
    pub async fn connect(
        address: &str,
        other: Option<&str>,
        queue: Queue,
        max: u16,
        wait: Duration,
    ) -> anyhow::Result<Self> {
        let connection = Connection::open(address).await?;
        let other = match other {
            Some(other) => Some(Connection::open(other).await?),
            None => None,
        };
        Ok(Self { connection, other, pull: pull_request(queue, max, wait), queue })
    }

    /// Takes messages; none when none came within the wait.
    ///
    /// # Errors
    /// When the answer is not a list of messages, or does not come.
    pub async fn pull(&mut self) -> anyhow::Result<Vec<Taken>> {
        let response = timeout(PATIENCE, self.connection.exchange(&self.pull)).await.context("a pull")??;
        let taken = taken(response.status, self.connection.body(&response))?;
        self.connection.forget(&response);
        Ok(taken)
    }

    /// Acks messages.
    ///
    /// # Errors
    /// When the answer does not say that each of them is acked, or does not come.
    pub async fn ack(&mut self, messages: &[Taken]) -> anyhow::Result<()> {
        let request = ack(self.queue, messages);
        let connection = self.other.as_mut().unwrap_or(&mut self.connection);
        let response = timeout(PATIENCE, connection.exchange(&request)).await.context("a settle")??;
        check_acked(response.status, connection.body(&response), messages)?;
        connection.forget(&response);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Pulled<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    lease_id: &'a str,
    body_text: &'a str,
}

/// The messages of an answer to a pull.
///
/// # Errors
/// When the answer is something else.
pub fn taken(status: u16, body: &[u8]) -> anyhow::Result<Vec<Taken>> {
    let text = || format!("a pull was answered {status} {:.300}", String::from_utf8_lossy(body));
    ensure!(status == 200, text());
    let Pulled { messages } = serde_json::from_slice(body).with_context(text)?;
    let take = |message: Message| {
        let number = number_of(message.body_text.as_bytes())?;
        Ok(Taken { lease: message.lease_id.to_owned(), number })
    };
    messages.into_iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_a_request_with_its_length() {
        let request = pull_request(Queue::Classic, 100, Duration::from_secs(1));
        let text = String::from_utf8(request).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("it has a body");
        assert!(head.starts_with("POST /queues/bench.classic/messages/pull HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert_eq!(body, r#"{"max":100,"wait":"1000ms"}"#);
    }

    #[test]
    fn the_messages_of_a_pull_have_their_lease_and_their_number() {
        let message = r#"{"lease_id":"a","headers":{},"body_text":"000000000000000cmore"}"#;
        let answer = taken(200, format!(r#"{{"messages":[{message}]}}"#).as_bytes());
        assert_eq!(answer.expect("it is a pull"), [Taken { lease: "a".to_owned(), number: 12 }]);
        assert_eq!(taken(200, br#"{"messages":[]}"#).expect("it is a pull"), []);
    }

    #[test]
    fn another_answer_to_a_pull_is_an_error() {
        for (status, body) in [
            (503, r#"{"messages":[]}"#),
            (200, "{}"),
            (200, r#"{"messages":[{"lease_id":"a","body_text":"no number is here"}]}"#),
            (200, r#"{"messages":[{"lease_id":"a","body_base64":"MDAw"}]}"#),
        ] {
            assert!(taken(status, body.as_bytes()).is_err(), "{status} {body}");
        }
    }
}
