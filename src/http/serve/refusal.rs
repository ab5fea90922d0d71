//! Answers a connection over the limit with 503 `overloaded`, and closes it within a second.
//!
//! The number of such answers at one time is bounded too; further connections are dropped without an answer.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::domain::path_prefix::PathPrefix;
use crate::http::problem::{Problem, ProblemType};

/// The longest time from the refusal to the end of the connection.
const DEADLINE: Duration = Duration::from_secs(1);
/// The most connections that are being refused at one time.
const AT_ONCE: usize = 256;

/// The connections that are being refused.
#[derive(Debug)]
pub struct Refusals {
    places: Arc<Semaphore>,
    prefix: PathPrefix,
}

impl Refusals {
    /// Refusals whose problems link to pages below this prefix.
    pub fn new(prefix: PathPrefix) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), prefix }
    }

    /// Answers 503 on `stream` and closes it, in a task of `tasks`.
    pub fn refuse(&self, stream: TcpStream, tasks: &TaskTracker) {
        let prefix = self.prefix.clone();
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        tasks.spawn(async move {
            // The result makes no difference: the client may have left.
            let _ = tokio::time::timeout(DEADLINE, answer(stream, prefix)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, prefix: PathPrefix) -> std::io::Result<()> {
    stream.write_all(&refusal(&prefix)?).await?;
    stream.shutdown().await?;
    // Closing a socket with unread bytes resets it, and the client could lose the answer.
    let mut swallowed = [0; 1024];
    while stream.read(&mut swallowed).await? > 0 {}
    Ok(())
}

fn refusal(prefix: &PathPrefix) -> std::io::Result<Vec<u8>> {
    let id = uuid::Uuid::now_v7().to_string();
    let problem = Problem::new(
        ProblemType::Overloaded,
        "the gateway has as many connections as GATEWAY_MAX_CONNECTIONS allows",
    );
    let body = problem.below(prefix).render(&id);
    let mut answer = Vec::with_capacity(512);
    write!(
        answer,
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         x-content-type-options: nosniff\r\nretry-after: 1\r\n\
         x-request-id: {id}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    answer.extend_from_slice(&body);
    Ok(answer)
}
