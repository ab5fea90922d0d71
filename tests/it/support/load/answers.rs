//! What callers were told, and whether it agrees with what is in the queues.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::support::book::{Book, Outcome};

/// What one caller was told.
#[derive(Debug, Clone)]
pub struct Answer {
    pub id: String,
    pub status: StatusCode,
    pub has_retry_after: bool,
    /// Receipt or problem, as it came.
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

    /// The field `outcome`; empty without one.
    pub fn outcome(&self) -> &str {
        self.body["outcome"].as_str().unwrap_or_default()
    }

    /// The field `outcome`, which must be there.
    pub fn known_outcome(&self) -> Outcome {
        Outcome::deserialize(&self.body["outcome"]).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The kind of problem; empty for a receipt.
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

    /// 503, nothing sent, and it says when to try again.
    pub fn assert_refused(&self, problem: &str) {
        assert_eq!(
            (self.status.as_u16(), self.problem(), self.outcome()),
            (503, problem, "not_sent"),
            "{self:?}"
        );
        assert!(self.has_retry_after, "{self:?}");
    }

    /// 504: nobody knows.
    pub fn assert_unknown(&self) {
        let (problem, outcome) = (self.problem(), self.outcome());
        assert_eq!((self.status.as_u16(), problem, outcome), (504, "outcome-unknown", "unknown"), "{self:?}");
    }

    pub fn assert_confirmed(&self) {
        assert!(self.is_confirmed(), "{self:?}");
    }
}

/// All that the callers of a load were told.
pub struct Answers(pub Vec<Answer>);

impl Answers {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nobody saw an error.
    pub fn assert_all_confirmed(&self) {
        let failed: Vec<_> = self.0.iter().filter(|answer| !answer.is_confirmed()).collect();
        let count = (failed.len(), self.len());
        assert!(failed.is_empty(), "{count:?} callers saw an error, the first {:?}", failed[0]);
    }

    /// All of them, to be held against the queues.
    pub fn book(&self) -> Book {
        let book = Book::default();
        for answer in &self.0 {
            book.note(&answer.id, answer.known_outcome());
        }
        book
    }

    /// The answers agree with all that is in the queues: see [`Book`], and an id that is there twice was said to be.
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
