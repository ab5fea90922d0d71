//! The form of requests and answers. The peers take the gateway's requests, byte for byte; RabbitMQ's management API has its own
//! form.

use std::collections::HashMap;

use serde_json::json;

use crate::recorder::Answer;
use crate::spec::{Ask, Dialect, ECHO, MISSING_EXCHANGE, NOBODY, Operation, REJECTING, Traffic};

/// guest:guest in Base64, the login of the private broker.
const LOGIN: &str = "Z3Vlc3Q6Z3Vlc3Q=";
/// The number of hexadecimal digits at the beginning of a body. They tell the reply to a call from other replies, and a message of a
/// queue from other messages.
const STAMP: usize = 16;

/// The requests of one caller, written before the run.
pub struct Requests {
    dialect: Dialect,
    operation: Operation,
    /// For each kind: the request, and the place where its body begins.
    written: HashMap<Ask, (Vec<u8>, usize)>,
    stamp: u64,
}

impl Requests {
    /// The requests of the caller with this number, with an API key if the service wants one.
    #[must_use]
    pub fn new((dialect, key): (Dialect, Option<&str>), traffic: &Traffic, caller: usize) -> Self {
        let write = |ask| (ask, write((dialect, key), traffic, ask));
        let written = traffic.mix.kinds().map(write).collect();
        Self { dialect, operation: traffic.operation, written, stamp: first_stamp(caller) }
    }

    /// The bytes of the next request.
    pub fn next(&mut self, ask: Ask) -> &[u8] {
        self.stamp += 1;
        let Some((request, body)) = self.written.get_mut(&ask) else { return &[] };
        if self.operation == Operation::Rpc {
            stamp(&mut request[*body..], self.stamp);
        }
        request
    }

    /// The meaning of an answer.
    #[must_use]
    pub fn answer(&self, status: u16, body: &[u8]) -> Answer {
        match (self.dialect, status) {
            (Dialect::Management, 200) if body == br#"{"routed":true}"# => Answer::Confirmed,
            (Dialect::Management, 200) if body == br#"{"routed":false}"# => Answer::Unroutable,
            (Dialect::Gateway, 200) => self.success(body),
            (Dialect::Gateway, 422) => Answer::Unroutable,
            (Dialect::Gateway, 503) if says_rejected(body) => Answer::Rejected,
            (Dialect::Gateway, 400 | 404) => Answer::Refused,
            _ => Answer::Failed(format!("{status} {}", String::from_utf8_lossy(body))),
        }
    }

    fn success(&self, body: &[u8]) -> Answer {
        match self.operation {
            Operation::Publish if body.starts_with(br#"{"outcome":"confirmed""#) => Answer::Confirmed,
            Operation::Rpc if Some(body) == self.sent_body() => Answer::Confirmed,
            Operation::Rpc => Answer::WrongReply,
            _ => Answer::Failed(String::from_utf8_lossy(body).into_owned()),
        }
    }

    fn sent_body(&self) -> Option<&[u8]> {
        self.written.get(&Ask::Routed).map(|(request, body)| &request[*body..])
    }
}

/// The body of every message: text whose first digits differ between messages.
#[must_use]
pub fn body(size: usize) -> Vec<u8> {
    (0..size).map(|n| b'a' + u8::try_from(n % 26).unwrap_or(0)).collect()
}

/// The first number of a caller. No two callers send the same number.
#[must_use]
pub fn first_stamp(caller: usize) -> u64 {
    (caller as u64) << 32
}

/// Writes a number over the beginning of a body.
pub fn stamp(body: &mut [u8], number: u64) {
    let digits = format!("{number:0STAMP$x}");
    for (at, digit) in body.iter_mut().zip(digits.bytes()) {
        *at = digit;
    }
}

/// The number at the beginning of a body.
#[must_use]
pub fn stamped(body: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(body.get(..STAMP)?).ok()?, 16).ok()
}

/// The routing key of a request to the default exchange.
#[must_use]
pub fn routing_key(traffic: &Traffic, ask: Ask) -> &'static str {
    match (ask, traffic.operation) {
        (Ask::Unroutable, _) => NOBODY,
        (Ask::Rejected, _) => REJECTING,
        (_, Operation::Rpc) => ECHO,
        _ => traffic.queue.name(),
    }
}

fn write((dialect, key): (Dialect, Option<&str>), traffic: &Traffic, ask: Ask) -> (Vec<u8>, usize) {
    let body = match dialect {
        Dialect::Gateway => body(traffic.size),
        Dialect::Management => management_body(traffic, ask),
    };
    let mut request = match dialect {
        Dialect::Gateway => gateway_head(traffic, ask, body.len(), key),
        Dialect::Management => management_head(body.len()),
    }
    .into_bytes();
    let head = request.len();
    request.extend(body);
    (request, head)
}

fn gateway_head(traffic: &Traffic, ask: Ask, length: usize, api_key: Option<&str>) -> String {
    let key = routing_key(traffic, ask);
    let path = match (traffic.operation, ask) {
        (Operation::Rpc, _) => format!("/rpc/{key}"),
        (_, Ask::MissingExchange) => format!("/publish/{MISSING_EXCHANGE}?routing_key={key}"),
        _ => format!("/publish/amq.default?routing_key={key}"),
    };
    let mode = if traffic.persistent { "" } else { "x-amqp-delivery-mode: transient\r\n" };
    let bad = if ask == Ask::BadProperty { "x-amqp-expiration: soon\r\n" } else { "" };
    let authorization =
        api_key.map(|api_key| format!("authorization: Bearer {api_key}\r\n")).unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/octet-stream\r\n\
         content-length: {length}\r\n{authorization}{mode}{bad}\r\n"
    )
}

fn management_head(length: usize) -> String {
    format!(
        "POST /api/exchanges/%2f/amq.default/publish HTTP/1.1\r\nhost: 127.0.0.1\r\n\
         authorization: Basic {LOGIN}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn management_body(traffic: &Traffic, ask: Ask) -> Vec<u8> {
    let mode = if traffic.persistent { 2 } else { 1 };
    json!({
        "properties": {"delivery_mode": mode, "message_id": "bench", "content_type": "application/octet-stream"},
        "routing_key": routing_key(traffic, ask),
        "payload": String::from_utf8_lossy(&body(traffic.size)),
        "payload_encoding": "string",
    })
    .to_string()
    .into_bytes()
}

fn says_rejected(body: &[u8]) -> bool {
    let word = br#""outcome":"rejected""#;
    body.windows(word.len()).any(|at| at == word)
}
