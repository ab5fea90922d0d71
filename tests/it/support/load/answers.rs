//! The answers that callers got, and a check that they agree with the queues.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::support::book::{Book, Outcome};

/// The answer that one caller got.
#[derive(Debug, Clone)]
pub struct Answer {
    pub id: String,
    pub status: StatusCode,
    pub has_retry_after: bool,
    /// The text of the receipt or problem.
    pub text: String,
    pub body: Value,
    pub sent: Instant,
    pub at: Instant,
}

impl Answer {
    pub async fn of(id: &str, sent: Instant, response: Response) -> Self {
        let status = response.status();
        let has_retry_after = response.headers().contains_key("retry-after");
        let text = response.text().await.expect("the answer has a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { id: id.to_owned(), status, has_retry_after, text, body, sent, at: Instant::now() }
    }

    /// The field `outcome`; empty when it is absent.
    pub fn outcome(&self) -> &str {
        self.body["outcome"].as_str().unwrap_or_default()
    }

    /// The field `outcome`, which must be there.
    pub fn known_outcome(&self) -> Outcome {
        Outcome::deserialize(&self.body["outcome"]).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The type of the problem; empty for a receipt.
    pub fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("/problems/").unwrap_or(kind)
    }

    pub fn is_confirmed(&self) -> bool {
        self.status == StatusCode::OK && self.outcome() == "confirmed"
    }

    pub fn is_duplicate_possible(&self) -> bool {
        self.body["duplicate_possible"] == true
    }

    pub fn took(&self) -> Duration {
        self.at - self.sent
    }

    /// 503 with outcome `not_sent` and a time to try again.
    pub fn assert_refused(&self, problem: &str) {
        assert_eq!(
            (self.status.as_u16(), self.problem(), self.outcome()),
            (503, problem, "not_sent"),
            "{self:?}"
        );
        assert!(self.has_retry_after, "{self:?}");
    }

    /// 504 with outcome `unknown`.
    pub fn assert_unknown(&self) {
        let (problem, outcome) = (self.problem(), self.outcome());
        assert_eq!((self.status.as_u16(), problem, outcome), (504, "outcome-unknown", "unknown"), "{self:?}");
    }

    pub fn assert_confirmed(&self) {
        assert!(self.is_confirmed(), "{self:?}");
    }
}

/// All answers of a load.
pub struct Answers(pub Vec<Answer>);

impl Answers {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks that no caller got an error.
    pub fn assert_all_confirmed(&self) {
        let failed: Vec<_> = self.0.iter().filter(|answer| !answer.is_confirmed()).collect();
        let count = (failed.len(), self.len());
        assert!(failed.is_empty(), "{count:?} callers saw an error, the first {:?}", failed[0]);
    }

    /// All answers, to compare them with the queues.
    pub fn book(&self) -> Book {
        let book = Book::default();
        for answer in &self.0 {
            book.note(&answer.id, answer.known_outcome());
        }
        book
    }

    /// Checks that the answers agree with all ids in the queues: see [`Book`]. An id that is there twice must have an answer that
    /// says so.
    pub fn assert_agree_with(&self, drained: &[String]) {
        self.book().assert_agrees(drained);
        let mut copies: HashMap<&str, usize> = HashMap::new();
        for id in drained {
            *copies.entry(id).or_default() += 1;
        }
        let told = |answer: &&Answer| answer.is_duplicate_possible() || answer.outcome() == "unknown";
        for answer in self.0.iter().filter(|answer| !told(answer)) {
            let count = copies.get(answer.id.as_str()).copied().unwrap_or_default();
            assert!(count <= 1, "{count} copies, not told: {answer:?}");
        }
    }
}
