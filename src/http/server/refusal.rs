//! Answers a connection over the limit, and closes it within a second.
//!
//! The number of such answers at one time is bounded too; further connections are dropped without an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// The longest time from the refusal to the end of the connection.
const DEADLINE: Duration = Duration::from_secs(1);
/// The most connections that are being refused at one time.
const AT_ONCE: usize = 256;

/// The connections that are being refused.
#[derive(Debug)]
pub struct Refusals(Arc<Semaphore>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Refusals {
    /// Writes the answer to `stream` and closes it, in a task of `tasks`.
    pub fn refuse(&self, stream: TcpStream, tasks: &TaskTracker, answer: impl FnOnce() -> Response<Bytes>) {
        let Ok(permit) = self.0.clone().try_acquire_owned() else { return };
        let answer = in_http1(answer());
        tasks.spawn(async move {
            // The result makes no difference: the client may have left.
            let _ = tokio::time::timeout(DEADLINE, write(stream, &answer)).await;
            drop(permit);
        });
    }
}

async fn write(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    // Closing a socket with unread bytes resets it, and the client could lose the answer.
    let mut discarded = [0; 1024];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}

/// The bytes of an answer that is the last one on its connection.
fn in_http1(answer: Response<Bytes>) -> Vec<u8> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).into_bytes();
    for (name, value) in &parts.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}
