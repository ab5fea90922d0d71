//! An HTTP/1.1 client that uses little CPU: a persistent connection, requests written from a buffer made before the run, answers
//! read up to the length that they state.
//!
//! The client takes its CPU from the cores that the contestants need, so it does no other work.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::dialect::Requests;
use crate::load::Caller;
use crate::recorder::Answer;
use crate::spec::Ask;

const MAX_HEADERS: usize = 32;

/// One caller and its connection.
pub struct HttpCaller {
    address: String,
    connection: Option<Connection>,
    requests: Requests,
}

impl HttpCaller {
    /// Connects.
    ///
    /// # Errors
    /// When no program listens at the address.
    pub async fn connect(address: &str, requests: Requests) -> anyhow::Result<Self> {
        let connection = Some(Connection::open(address).await?);
        Ok(Self { address: address.to_owned(), connection, requests })
    }

    async fn exchange(&mut self, ask: Ask) -> anyhow::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        let response = connection.exchange(self.requests.next(ask)).await?;
        let answer = self.requests.answer(response.status, connection.body(&response));
        connection.forget(&response);
        self.connection = Some(connection);
        Ok(answer)
    }
}

impl Caller for HttpCaller {
    async fn ask(&mut self, ask: Ask) -> Answer {
        self.exchange(ask).await.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))
    }
}

/// A connection and the bytes that were read from it.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The place of a response in the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    head: usize,
    body: usize,
}

impl Connection {
    /// # Errors
    /// When no program listens at the address.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(1024) })
    }

    /// Writes a request and reads until its response is whole.
    ///
    /// # Errors
    /// When the connection is lost or the bytes are not a response.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Response> {
        self.stream.write_all(request).await.context("writing")?;
        loop {
            if self.stream.read_buf(&mut self.read).await.context("reading")? == 0 {
                bail!("the connection was closed before the answer");
            }
            if let Some(response) = parse(&self.read)? {
                return Ok(response);
            }
        }
    }

    /// The body of a response.
    #[must_use]
    pub fn body(&self, response: &Response) -> &[u8] {
        &self.read[response.head..response.head + response.body]
    }

    /// Drops a response, which was the last one.
    pub fn forget(&mut self, response: &Response) {
        self.read.drain(..response.head + response.body);
    }
}

fn parse(read: &[u8]) -> anyhow::Result<Option<Response>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(read)? else { return Ok(None) };
    let status = response.code.context("a response without a status")?;
    let length = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let body = match length {
        Some(length) => std::str::from_utf8(length.value)?.parse()?,
        None if status == 204 => 0,
        None => bail!("a response that does not state its length"),
    };
    Ok((read.len() >= head + body).then_some(Response { status, head, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_when_its_last_byte_is_there() {
        let text = b"HTTP/1.1 422 Unprocessable\r\ncontent-length: 3\r\n\r\nabc";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]).expect("it is a response"), None);
        }
        let whole = parse(text).expect("it is a response");
        assert_eq!(whole, Some(Response { status: 422, head: text.len() - 3, body: 3 }));
    }

    #[test]
    fn a_response_without_a_length_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
