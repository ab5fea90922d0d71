//! The id book of the workers: their knowledge about each message, and the answers that contradict it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::owner::Owner;

/// How long the workers ask to have a message.
pub const LEASE: Duration = Duration::from_secs(3);
/// The answers after which an action may be done or not.
const UNKNOWN: [&str; 2] = ["outcome-unknown", NO_ANSWER];
/// The answers that say that an action was not tried.
const NOT_SENT: [&str; 4] = ["broker-unavailable", "broker-blocked", "shutting-down", "overloaded"];
/// How long RabbitMQ may take to write an ack to disk on a busy machine, and a worker to note its answer.
const UNWRITTEN: Duration = Duration::from_secs(1);
/// How long after its retry a message may still be on its way out of its wait queue.
const UNDERWAY: Duration = Duration::from_secs(10);
/// The worker got no answer at all.
pub const NO_ANSWER: &str = "no-answer";

/// A message that a worker has got.
#[derive(Debug, Clone)]
pub struct Taken {
    pub id: String,
    pub queue: &'static str,
    pub lease: String,
    /// When the worker sent its pull; the lease began later.
    pub asked: Instant,
    pub owner: Arc<Owner>,
    /// Whether a classic queue may bring back messages whose ack RabbitMQ had read: RabbitMQ was killed.
    pub is_after_crash: bool,
}

impl Taken {
    /// Whether the lease certainly lives.
    pub fn lives(&self) -> bool {
        self.asked + LEASE > Instant::now() && self.owner.keeps(self.asked)
    }
}

/// The knowledge of the workers about one message.
#[derive(Debug, Default, Clone)]
pub struct Life {
    /// When a worker got the answer `acked`.
    pub acked: Option<Instant>,
    /// Whether the answer to an ack was unknown.
    pub perhaps_acked: bool,
    pub is_dead: bool,
    /// The retries that workers asked for.
    retries: i64,
    /// When a worker got the answer `retried`.
    retried: Option<Instant>,
    /// Whether a copy may be in a queue beside the original.
    pub perhaps_twice: bool,
    /// The last lease, until its worker settles it.
    held: Option<Taken>,
    pub wrong: Vec<String>,
}

/// An action that a worker asked for, and its answers.
#[derive(Debug)]
pub struct Asked<'a> {
    pub way: &'static str,
    pub word: &'a str,
    /// The answer to the first request, if this is a repeated one.
    pub first: Option<&'a str>,
    /// The freeze of the owner when the worker sent the request.
    pub frozen: Option<usize>,
}

#[derive(Default)]
pub struct Lives {
    by_id: Mutex<BTreeMap<String, Life>>,
    counts: Mutex<BTreeMap<String, usize>>,
    /// The kills of RabbitMQ, each with its begin and its end.
    crashes: Mutex<Vec<(Instant, Instant)>>,
}

impl Lives {
    fn with<T>(&self, id: &str, change: impl FnOnce(&mut Life) -> T) -> T {
        change(self.by_id.lock().expect("no writer panics").entry(id.to_owned()).or_default())
    }

    pub fn count(&self, what: impl Into<String>) {
        *self.counts.lock().expect("no writer panics").entry(what.into()).or_default() += 1;
    }

    pub fn of(&self, id: &str) -> Life {
        self.with(id, |life| life.clone())
    }

    /// All contradictions.
    pub fn wrong(&self) -> Vec<String> {
        let lives = self.by_id.lock().expect("no writer panics");
        lives.iter().flat_map(|(id, life)| life.wrong.iter().map(move |it| format!("{id} {it}"))).collect()
    }

    /// The number of lives with this property.
    pub fn number(&self, is_so: impl Fn(&Life) -> bool) -> usize {
        self.by_id.lock().expect("no writer panics").values().filter(|life| is_so(life)).count()
    }

    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.counts.lock().expect("no writer panics").clone()
    }

    /// A worker got a message.
    pub fn came(&self, taken: &Taken, message: &Value) {
        self.count("pulled");
        let count = &message["headers"]["x-retry-count"];
        let count = count.get("value").unwrap_or(count).as_i64().unwrap_or_default();
        self.with(&taken.id, |life| {
            if life.acked.is_some_and(|acked| acked < taken.asked) && !life.perhaps_twice {
                if taken.is_after_crash || self.was_right_before_crash(life.acked) {
                    self.count(format!(
                        "excepted: came back to the {} queue after a crash of RabbitMQ",
                        taken.queue
                    ));
                    life.acked = None;
                } else {
                    life.wrong.push(format!("came back after its ack: {message}"));
                }
            }
            if count > life.retries {
                life.wrong.push(format!("was retried {} times, and says {count}", life.retries));
            }
            let before = life.held.replace(taken.clone());
            let is_excused = life.perhaps_twice || taken.is_after_crash;
            if !is_excused && before.as_ref().is_some_and(|before| before.lives() && taken.lives()) {
                life.wrong.push(format!("has two live leases: {before:?} and {taken:?}"));
            }
        });
    }

    /// A worker is about to settle a message.
    pub fn settles(&self, taken: &Taken, way: &str) {
        self.with(&taken.id, |life| {
            life.held = None;
            life.retries += i64::from(way == "retry");
        });
    }

    /// A worker got the answer to a settle.
    pub fn settled(&self, taken: &Taken, asked: &Asked<'_>) {
        let Asked { way, word, .. } = *asked;
        self.count(format!("{way}: {word}"));
        let wrong = self.contradiction(taken, asked);
        let is_unknown = UNKNOWN.contains(&word);
        self.with(&taken.id, |life| {
            life.wrong.extend(wrong);
            match (way, word, is_unknown) {
                ("ack", "acked", _) => life.acked = life.acked.or(Some(Instant::now())),
                ("ack", _, true) => life.perhaps_acked = true,
                ("dead_letter", "dead_lettered", _) => life.is_dead = true,
                ("retry", "retried", _) => life.retried = Some(Instant::now()),
                ("retry" | "dead_letter", _, true) => life.perhaps_twice = true,
                _ => {}
            }
        });
    }

    /// RabbitMQ was killed. It dead-letters messages of a wait queue at least once: after a crash it repeats those whose end in the wait
    /// queue it has not written.
    pub fn rabbitmq_crashed(&self, begin: Instant) {
        self.crashes.lock().expect("no writer panics").push((begin, Instant::now()));
        for life in self.by_id.lock().expect("no writer panics").values_mut() {
            if !life.perhaps_twice && life.retried.is_some_and(|at| at.elapsed() < UNDERWAY) {
                life.perhaps_twice = true;
                self.count("excepted: retried right before a crash of RabbitMQ");
            }
        }
    }

    /// Whether a message was acked in the last moments before a crash: RabbitMQ reads an ack before it writes it to disk.
    fn was_right_before_crash(&self, acked: Option<Instant>) -> bool {
        let Some(acked) = acked else { return false };
        let crashes = self.crashes.lock().expect("no writer panics");
        crashes.iter().any(|(begin, end)| acked + UNWRITTEN > *begin && acked <= *end + UNWRITTEN)
    }

    /// Why an answer cannot be true.
    fn contradiction(&self, taken: &Taken, asked: &Asked<'_>) -> Option<String> {
        let Asked { word, first, frozen, .. } = *asked;
        let is_no_word = UNKNOWN.contains(&word) || NOT_SENT.contains(&word);
        let is_kept = taken.owner.keeps(taken.asked);
        if frozen.is_some() && frozen == taken.owner.frozen() && is_kept {
            self.count("answered while the owner was frozen");
            if !is_no_word {
                return Some(format!("its owner is frozen, and the answer is {word}: {taken:?}"));
            }
        }
        if word == "lease-settled" {
            return Some(format!("was settled in one way only: {asked:?}, {taken:?}"));
        }
        let is_stopping = taken.owner.is_stopping();
        if let Some(first) = first.filter(|first| !UNKNOWN.contains(first) && !NOT_SENT.contains(first)) {
            self.count("asked again");
            let is_lost = word == "lease-expired" && (!is_kept || is_stopping);
            let is_same = word == first || is_no_word || is_lost;
            return (!is_same).then(|| format!("first {first}, and then {word}: {taken:?}"));
        }
        if !taken.lives() || first.is_some() && is_stopping {
            return None;
        }
        self.count("answered during the lease");
        if is_stopping && !is_no_word {
            self.count("settled while the owner stopped");
        }
        (word == "lease-expired").then(|| format!("410 for a live lease: {asked:?}, {taken:?}"))
    }

    /// Compares the book with the contents of the queues at the end: the ids in the queues that workers take from, and the dead
    /// letters. Returns the contradictions and the number of acked messages.
    pub fn compare(
        &self,
        messages: usize,
        left: &HashSet<String>,
        dead: &HashSet<String>,
        is_excused: impl Fn(usize) -> bool,
    ) -> (Vec<String>, usize) {
        let (mut wrong, mut acked) = (self.wrong(), 0);
        for n in 0..messages {
            let (id, life) = (n.to_string(), self.of(&n.to_string()));
            acked += usize::from(life.acked.is_some());
            let is_somewhere =
                life.acked.is_some() || life.perhaps_acked || left.contains(&id) || dead.contains(&id);
            if !is_somewhere {
                wrong.push(format!("{id} is lost: {life:?}"));
            }
            let is_excused = life.perhaps_twice || is_excused(n) || self.was_right_before_crash(life.acked);
            if life.acked.is_some() && left.contains(&id) && !is_excused {
                wrong.push(format!("{id} is in a queue after its ack: {life:?}"));
            }
            if life.is_dead && !dead.contains(&id) {
                wrong.push(format!("{id} is not among the dead letters: {life:?}"));
            }
        }
        (wrong, acked)
    }
}
