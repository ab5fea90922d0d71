//! Requests that ack leases, and the check of their answers.

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::puller::{Taken, post};
use crate::spec::Queue;

/// The request that acks these messages.
#[must_use]
pub fn ack(queue: Queue, messages: &[Taken]) -> Vec<u8> {
    let mut body = br#"{"ack":["#.to_vec();
    for (n, message) in messages.iter().enumerate() {
        body.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
        body.extend_from_slice(message.lease.as_bytes());
        body.push(b'"');
    }
    body.extend_from_slice(b"]}");
    post(queue, "settle", &body)
}

#[derive(Deserialize)]
struct Receipt<'a> {
    #[serde(borrow)]
    results: Vec<Settled<'a>>,
}

#[derive(Deserialize)]
struct Settled<'a> {
    lease_id: &'a str,
    outcome: Option<&'a str>,
}

/// Checks that the answer says that each message is acked, in the order of the request.
///
/// # Errors
/// When it says anything else.
pub fn check_acked(status: u16, body: &[u8], messages: &[Taken]) -> anyhow::Result<()> {
    let text = || format!("a settle was answered {status} {:.300}", String::from_utf8_lossy(body));
    ensure!(status == 200, text());
    let Receipt { results } = serde_json::from_slice(body).with_context(text)?;
    let is_acked = |(result, message): (&Settled, &Taken)| {
        result.lease_id == message.lease && result.outcome == Some("acked")
    };
    let is_right = results.len() == messages.len() && results.iter().zip(messages).all(is_acked);
    ensure!(is_right, text());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn messages() -> Vec<Taken> {
        ["a", "b"].map(|lease| Taken { lease: lease.to_owned(), number: 0 }).into()
    }

    fn check(status: u16, results: &Value) -> anyhow::Result<()> {
        check_acked(status, json!({ "results": results }).to_string().as_bytes(), &messages())
    }

    #[test]
    fn an_ack_names_each_lease() {
        let request = String::from_utf8(ack(Queue::Quorum, &messages())).expect("it is text");
        let (head, body) = request.split_once("\r\n\r\n").expect("it has a body");
        assert!(head.starts_with("POST /queues/bench.quorum/messages/settle "), "{head}");
        assert_eq!(body, r#"{"ack":["a","b"]}"#);
    }

    #[test]
    fn each_lease_must_be_acked_in_the_order_of_the_request() {
        let result = |lease, outcome| json!({"lease_id": lease, "action": "ack", "outcome": outcome});
        assert!(check(200, &json!([result("a", "acked"), result("b", "acked")])).is_ok());
        let problem = json!({"lease_id": "b", "action": "ack", "problem": {"status": 410}});
        for (status, results) in [
            (207, json!([result("a", "acked"), problem])),
            (200, json!([result("a", "acked"), problem])),
            (200, json!([result("b", "acked"), result("a", "acked")])),
            (200, json!([result("a", "acked"), result("b", "released")])),
            (200, json!([result("a", "acked")])),
        ] {
            assert!(check(status, &results).is_err(), "{status} {results}");
        }
    }
}
