//! The id book: compares the gateway's answer about each message with the contents of the queues.
//!
//! Confirmed and accepted messages must be in a queue; unroutable messages and those with `not_sent` must be in none. A rejected
//! message must not be in the queue that refused it. An unknown one may be in a queue or not.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

pub use rabbitmq_gateway::domain::outcome::Outcome;

/// Many callers write at once.
#[derive(Default)]
pub struct Book {
    entries: Mutex<BTreeMap<String, Outcome>>,
}

/// Ids about which the gateway gave a false answer; all lists are empty when all answers are true.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// Confirmed or accepted, yet in no queue.
    pub lost: Vec<String>,
    /// Unroutable or not sent, yet in a queue.
    pub ghosts: Vec<String>,
    /// Rejected, yet in a queue that refused it.
    pub unrefused: Vec<String>,
    /// In a queue, although the test noted no answer.
    pub strangers: Vec<String>,
}

impl Book {
    /// Notes the answer about one id. A second answer about the same id is a defect of the test.
    pub fn note(&self, id: impl Into<String>, outcome: Outcome) {
        let id = id.into();
        let before = self.entries.lock().expect("no writer panics").insert(id.clone(), outcome);
        assert!(before.is_none(), "{id} was answered twice: {before:?}, {outcome:?}");
    }

    /// The number of answers with this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.entries.lock().expect("no writer panics").values().filter(|noted| **noted == outcome).count()
    }

    /// Compares the book with the ids drained from all queues. `refusing` are the ids in queues that may refuse messages.
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

    /// Panics with the ids of false answers; for a test with one queue, `drained`.
    pub fn assert_agrees(&self, drained: &[String]) {
        assert_eq!(self.compare(drained, drained), Lies::default(), "the answers disagree with the queues");
    }
}
