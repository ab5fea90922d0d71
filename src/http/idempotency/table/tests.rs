//! The rules of the table one by one, and a comparison with a model that is slow and simple.

use proptest::prelude::*;

use super::*;
use crate::domain::outcome::Outcome;

const TTL: Duration = Duration::from_secs(10);
const FIRST: Begun = Begun::Publish { earlier_copy_possible: false, evicted: false };
const AGAIN: Begun = Begun::Publish { earlier_copy_possible: true, evicted: false };
const EVICTING: Begun = Begun::Publish { earlier_copy_possible: false, evicted: true };
const HELD: Option<Memory> = Some(Memory::Held(RECEIPT));
const RECEIPT: Receipt = Receipt { outcome: Outcome::Confirmed, attempts: 3, duplicate_possible: true };

/// A table with a clock that the test moves.
struct Clocked {
    table: KeyTable,
    now: Instant,
}

impl Clocked {
    fn new(max: usize) -> Self {
        Self { table: KeyTable::new(TTL, max), now: Instant::now() }
    }

    fn begin(&mut self, key: u8, message: u8) -> Begun {
        self.table.begin(ScopedKey::of_number(key), Fingerprint::of_number(message), self.now)
    }

    fn end(&mut self, key: u8, memory: Option<Memory>) {
        self.table.end(ScopedKey::of_number(key), memory, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn a_message_that_rabbitmq_holds_is_replayed_with_the_same_receipt_again_and_again() {
    let mut keys = Clocked::new(2);
    assert_eq!(keys.begin(1, 1), FIRST);
    keys.end(1, HELD);
    for _ in 0..3 {
        assert_eq!(keys.begin(1, 1), Begun::Replay(RECEIPT));
    }
}

#[test]
fn another_message_is_refused_whether_the_key_is_in_flight_or_finished() {
    let mut keys = Clocked::new(2);
    keys.begin(1, 1);
    assert_eq!((keys.begin(1, 2), keys.begin(1, 1)), (Begun::Reused, Begun::InUse));
    for memory in [HELD, Some(Memory::CopyPossible)] {
        keys.end(1, memory);
        assert_eq!(keys.begin(1, 2), Begun::Reused);
        keys.begin(1, 1);
    }
}

#[test]
fn a_key_without_a_memory_is_as_new_also_for_another_message() {
    let mut keys = Clocked::new(2);
    keys.begin(1, 1);
    keys.end(1, None);
    assert_eq!((keys.table.len(), keys.begin(1, 2)), (0, FIRST));
}

#[test]
fn a_message_that_may_have_left_a_copy_is_published_again_until_rabbitmq_holds_it() {
    let mut keys = Clocked::new(2);
    assert_eq!(keys.begin(1, 1), FIRST);
    for _ in 0..2 {
        keys.end(1, Some(Memory::CopyPossible));
        assert_eq!((keys.begin(1, 1), keys.begin(1, 1)), (AGAIN, Begun::InUse));
    }
    keys.end(1, HELD);
    assert_eq!(keys.begin(1, 1), Begun::Replay(RECEIPT));
}

#[test]
fn the_ttl_counts_from_the_end_of_the_last_publish_and_never_ends_a_key_in_flight() {
    let mut keys = Clocked::new(2);
    keys.begin(1, 1);
    keys.pass(TTL * 2);
    assert_eq!(keys.begin(1, 1), Begun::InUse);
    keys.end(1, Some(Memory::CopyPossible));
    keys.pass(TTL / 2);
    assert_eq!(keys.begin(1, 1), AGAIN);
    keys.end(1, HELD);
    keys.pass(TTL / 10 * 9);
    assert_eq!(keys.begin(1, 1), Begun::Replay(RECEIPT));
    keys.pass(TTL / 10);
    assert_eq!(keys.begin(1, 1), FIRST);
}

#[test]
fn the_key_that_finished_first_goes_when_the_table_is_full_and_none_goes_when_all_are_in_flight() {
    let mut keys = Clocked::new(3);
    for key in [1, 2, 3] {
        keys.begin(key, 1);
    }
    assert_eq!(keys.begin(4, 1), Begun::Full);
    keys.end(2, HELD);
    keys.end(1, HELD);
    assert_eq!((keys.begin(4, 1), keys.begin(1, 1)), (EVICTING, Begun::Replay(RECEIPT)));
    assert_eq!((keys.begin(2, 1), keys.begin(5, 1)), (EVICTING, Begun::Full));
    assert_eq!(keys.table.len(), 3);
}

#[test]
fn one_request_removes_few_of_many_expired_keys_and_takes_none_of_them_for_a_live_one() {
    let mut keys = Clocked::new(usize::MAX);
    for key in 0..100 {
        keys.begin(key, 1);
        keys.end(key, HELD);
    }
    keys.pass(TTL);
    assert_eq!((keys.begin(99, 2), keys.table.len()), (FIRST, 100 - SWEEP));
    while keys.table.sweep(keys.now) {}
    assert_eq!((keys.table.len(), keys.begin(99, 2)), (1, Begun::InUse));
}

/// A table that looks through a list.
#[derive(Default)]
struct Model(Vec<ModelKey>);

#[derive(Clone)]
struct ModelKey {
    key: u8,
    message: u8,
    end: Option<(Instant, Memory)>,
}

impl Model {
    fn begin(&mut self, key: u8, message: u8, max: usize, now: Instant) -> Begun {
        self.0.retain(|known| known.end.is_none_or(|(ended, _)| now < ended + TTL));
        let known = self.0.iter().position(|known| known.key == key);
        let in_flight = ModelKey { key, message, end: None };
        let Some(known) = known else {
            let evicted = self.0.len() >= max;
            if evicted {
                let finished = self.0.iter().enumerate().filter_map(|(n, known)| Some((known.end?.0, n)));
                let Some((_, oldest)) = finished.min() else { return Begun::Full };
                self.0.remove(oldest);
            }
            self.0.push(in_flight);
            return Begun::Publish { earlier_copy_possible: false, evicted };
        };
        match self.0[known].end {
            _ if self.0[known].message != message => Begun::Reused,
            None => Begun::InUse,
            Some((_, Memory::Held(receipt))) => Begun::Replay(receipt),
            Some((_, Memory::CopyPossible)) => {
                self.0[known] = in_flight;
                AGAIN
            }
        }
    }

    fn end(&mut self, key: u8, memory: Option<Memory>, now: Instant) {
        let Some(at) = self.0.iter().position(|known| known.key == key && known.end.is_none()) else {
            return;
        };
        // To the end of the list, so that of two keys with the same end the first one is the oldest.
        let ended = self.0.remove(at);
        self.0.extend(memory.map(|memory| ModelKey { end: Some((now, memory)), ..ended }));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Begin { key: u8, message: u8 },
    End { key: u8, memory: Option<Memory> },
    Pass(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let receipt = |attempts| Memory::Held(Receipt { attempts, ..RECEIPT });
    let memory = prop_oneof![
        Just(None),
        Just(Some(Memory::CopyPossible)),
        (1..9_u32).prop_map(move |attempts| Some(receipt(attempts))),
    ];
    prop_oneof![
        4 => (0..6_u8, 0..2_u8).prop_map(|(key, message)| Step::Begin { key, message }),
        3 => (0..6_u8, memory).prop_map(|(key, memory)| Step::End { key, memory }),
        1 => (0..8_u32).prop_map(|seconds| Step::Pass(TTL / 8 * seconds)),
    ]
}

proptest! {
    #[test]
    fn the_table_answers_as_the_model_and_is_never_larger_than_its_maximum(
        max in 1..5_usize,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (mut keys, mut model) = (Clocked::new(max), Model::default());
        for step in steps {
            match step {
                Step::Begin { key, message } => {
                    let expected = model.begin(key, message, max, keys.now);
                    prop_assert_eq!(keys.begin(key, message), expected);
                    prop_assert_eq!(keys.table.len(), model.0.len());
                }
                Step::End { key, memory } => {
                    keys.end(key, memory);
                    model.end(key, memory, keys.now);
                }
                Step::Pass(time) => keys.pass(time),
            }
            prop_assert!(keys.table.len() <= max);
        }
    }
}
