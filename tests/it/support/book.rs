//! The id book: what the gateway answered about each message, held against what the queues really contain.
//!
//! Confirmed and accepted are there; unroutable and not sent are nowhere; rejected is not where it was refused;
//! only unknown may be either.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

pub use rabbitmq_gateway::domain::outcome::Outcome;

/// Written by many callers at once.
#[derive(Default)]
pub struct Book {
    entries: Mutex<BTreeMap<String, Outcome>>,
}

/// Ids with which the gateway was wrong; all empty when it was right.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// Confirmed or accepted, yet in no queue.
    pub lost: Vec<String>,
    /// Unroutable or not sent, yet in a queue.
    pub ghosts: Vec<String>,
    /// Rejected, yet in a queue that refused it.
    pub unrefused: Vec<String>,
    /// In a queue, and no answer was ever written down.
    pub strangers: Vec<String>,
}

impl Book {
    /// Writes down the answer about one id; a second one about the same id is a defect of the test.
    pub fn note(&self, id: impl Into<String>, outcome: Outcome) {
        let id = id.into();
        let before = self.entries.lock().expect("no writer panics").insert(id.clone(), outcome);
        assert!(before.is_none(), "{id} was answered twice: {before:?}, {outcome:?}");
    }

    /// How many answers were of this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.entries.lock().expect("no writer panics").values().filter(|noted| **noted == outcome).count()
    }

    /// Holds the book against the ids drained from all queues, of which `refusing` are those that may refuse.
    pub fn compare(&self, all: &[String], refusing: &[String]) -> Lies {
        let there: HashSet<&String> = all.iter().chain(refusing).collect();
        let refused: HashSet<&String> = refusing.iter().collect();
        let entries = self.entries.lock().expect("no writer panics");
        let mut lies = Lies::default();
        for (id, outcome) in entries.iter() {
            match outcome {
                Outcome::Confirmed | Outcome::Accepted if !there.contains(id) => lies.lost.push(id.clone()),
                Outcome::Unroutable | Outcome::NotSent if there.contains(id) => lies.ghosts.push(id.clone()),
                Outcome::Rejected if refused.contains(id) => lies.unrefused.push(id.clone()),
                _ => {}
            }
        }
        let strangers = there.iter().filter(|id| !entries.contains_key(**id));
        lies.strangers = strangers.map(ToString::to_string).collect();
        lies
    }

    /// Panics with the offending ids; for a test with one queue, `drained`.
    pub fn assert_agrees(&self, drained: &[String]) {
        assert_eq!(self.compare(drained, drained), Lies::default(), "the answers disagree with the queues");
    }
}
