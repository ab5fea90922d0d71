//! Batches: each client has two connections, and a batch in flight on each.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::time::timeout;

use super::WINDOW;
use super::item::{Item, ItemResult};
use crate::dialect::first_stamp;
use crate::http::Connection;
use crate::load::PATIENCE;
use crate::recorder::{Answer, Recorder};
use crate::spec::{Ask, Traffic};

/// The items of one batch.
const ITEMS: usize = 100;
const CONNECTIONS: usize = WINDOW / ITEMS;

/// The connections of all clients of one run.
pub fn clients(
    address: &str,
    traffic: &Traffic,
    recorder: &Arc<Recorder>,
) -> Vec<impl Future<Output = ()> + Send + use<>> {
    let one = |number| Lane::new(address, traffic, number).run(Arc::clone(recorder));
    (0..traffic.callers * CONNECTIONS).map(one).collect()
}

/// One connection, and the batch that is sent on it again and again with other ids.
struct Lane {
    address: String,
    connection: Option<Connection>,
    request: Vec<u8>,
    /// The places of the items in the request.
    items: Vec<usize>,
    /// The number of the last item.
    last: u64,
}

impl Lane {
    fn new(address: &str, traffic: &Traffic, number: usize) -> Self {
        let mut item = Item::new(traffic);
        // A bracket or a comma stands before each item, and a bracket after the last.
        let length = ITEMS * (item.length() + 1) + 1;
        let mut request = format!(
            "POST /publish/amq.default/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
        .into_bytes();
        let mut items = Vec::with_capacity(ITEMS);
        for n in 0..ITEMS {
            request.push(if n == 0 { b'[' } else { b',' });
            items.push(request.len());
            request.extend_from_slice(item.numbered(0));
        }
        request.push(b']');
        Self { address: address.to_owned(), connection: None, request, items, last: first_stamp(number) }
    }

    async fn run(mut self, recorder: Arc<Recorder>) {
        while recorder.wants_more() {
            let begun = Instant::now();
            for answer in self.publish().await {
                recorder.note(begun, Ask::Routed, &answer);
            }
        }
    }

    /// An answer for each item.
    async fn publish(&mut self) -> Vec<Answer> {
        let failure = match timeout(PATIENCE, self.exchange()).await {
            Ok(Ok(answers)) => return answers,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer in time".to_owned(),
        };
        vec![Answer::Failed(failure); ITEMS]
    }

    async fn exchange(&mut self) -> anyhow::Result<Vec<Answer>> {
        let first = self.last + 1;
        for (place, number) in self.items.iter().zip(first..) {
            Item::number(&mut self.request[*place..], number);
            self.last = number;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        let response = connection.exchange(&self.request).await?;
        let answers = answers(response.status, connection.body(&response), first)?;
        connection.forget(&response);
        self.connection = Some(connection);
        Ok(answers)
    }
}

#[derive(Deserialize)]
struct Receipt<'a> {
    #[serde(borrow)]
    results: Vec<ItemResult<'a>>,
}

/// The answers to a batch whose first item has this number.
fn answers(status: u16, body: &[u8], first: u64) -> anyhow::Result<Vec<Answer>> {
    let text = || format!("{status} {}", String::from_utf8_lossy(body));
    ensure!(matches!(status, 200 | 207), text());
    let Receipt { results } = serde_json::from_slice(body).with_context(text)?;
    ensure!(results.len() == ITEMS, "a batch of {ITEMS} has {} results", results.len());
    let answer = |(index, result): (u64, &ItemResult)| {
        if result.index == index { result.answer(first + index) } else { Answer::WrongReply }
    };
    Ok((0..).zip(&results).map(answer).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(results: impl Iterator<Item = (u64, u64)>) -> Vec<u8> {
        let result =
            |(index, number)| json!({"index": index, "id": format!("{number:016x}"), "outcome": "confirmed"});
        json!({"results": results.map(result).collect::<Vec<_>>()}).to_string().into_bytes()
    }

    #[test]
    fn each_item_of_a_batch_has_an_id_of_its_own() {
        let lane = Lane::new("", &Traffic::base(), 3);
        let text = String::from_utf8(lane.request).expect("it is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("it has a body");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let items: Vec<Value> = serde_json::from_str(body).expect("it is an array");
        assert_eq!((items.len(), lane.items.len()), (ITEMS, ITEMS));
    }

    #[test]
    fn a_result_at_the_place_of_another_item_is_wrong() {
        let right = answers(200, &body((0..100).map(|n| (n, 7 + n))), 7).expect("it is a receipt");
        assert!(right.iter().all(|it| *it == Answer::Confirmed), "{right:?}");
        let swapped_results = body((0..100).map(|n| if n < 2 { (1 - n, 8 - n) } else { (n, 7 + n) }));
        let wrong_index = body((0..100).map(|n| (n + u64::from(n == 99), 7 + n)));
        for (body, expected) in [(swapped_results, 2), (wrong_index, 1)] {
            let answers = answers(200, &body, 7).expect("it is a receipt");
            let wrong = answers.iter().filter(|it| **it == Answer::WrongReply).count();
            assert_eq!((wrong, answers.len()), (expected, 100));
        }
    }

    #[test]
    fn a_receipt_with_fewer_results_or_another_status_is_an_error() {
        assert!(answers(200, &body((0..99).map(|n| (n, n))), 0).is_err());
        let error = answers(503, b"overloaded", 0).expect_err("it is an error");
        assert_eq!(error.to_string(), "503 overloaded");
        assert!(answers(503, &body((0..100).map(|n| (n, n))), 0).is_err());
    }
}
