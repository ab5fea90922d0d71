//! The lease table against a model that keeps every lease for ever.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LONGEST: u64 = 50;

#[derive(Debug, Clone)]
enum Operation {
    Add { lease: u64 },
    Settle { index: usize, how: Final },
    Extend { index: usize, lease: u64 },
    Copy { index: usize, how: Final },
    EndCopy { index: usize, is_confirmed: bool },
    TakeBack { index: usize },
    Finish { index: usize },
    Expire,
    Lose,
    Wait { seconds: u64 },
}

fn tag(delivery: u64) -> Tag {
    Tag { delivery, round: 0 }
}

fn how() -> impl Strategy<Value = Final> {
    prop_oneof![
        Just(Final::Acked),
        Just(Final::Released),
        Just(Final::Rejected),
        Just(Final::DeadLettered),
        Just(Final::Replied)
    ]
}

fn result(how: Final) -> Settled {
    match how {
        Final::Acked => Settled::Acked,
        Final::Released => Settled::Released,
        Final::Rejected => Settled::Rejected,
        Final::DeadLettered | Final::Retried => Settled::DeadLettered,
        Final::Replied => Settled::Replied { delivered: None },
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = 0..12_usize;
    prop_oneof![
        4 => (1..60_u64).prop_map(|lease| Operation::Add { lease }),
        4 => (index.clone(), how()).prop_map(|(index, how)| Operation::Settle { index, how }),
        2 => (index.clone(), 1..60_u64).prop_map(|(index, lease)| Operation::Extend { index, lease }),
        3 => (index.clone(), how()).prop_map(|(index, how)| Operation::Copy { index, how }),
        3 => (index.clone(), any::<bool>())
            .prop_map(|(index, is_confirmed)| Operation::EndCopy { index, is_confirmed }),
        1 => index.clone().prop_map(|index| Operation::TakeBack { index }),
        2 => index.prop_map(|index| Operation::Finish { index }),
        2 => Just(Operation::Expire),
        1 => (0..20_u64).prop_map(|seconds| Operation::Wait { seconds }),
        1 => Just(Operation::Lose),
    ]
}

/// A lease as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modelled {
    Held { arrived: u64, expires: u64, copying: Option<Final> },
    Settling(Final),
    Gone,
}

impl Modelled {
    /// When a held lease ends.
    fn ends(self) -> Option<u64> {
        match self {
            Self::Held { arrived, copying: Some(_), .. } => Some(arrived + LONGEST),
            Self::Held { expires, .. } => Some(expires),
            _ => None,
        }
    }
}

struct Model {
    leases: Vec<Modelled>,
    /// For each lease, the number of frames that were written for its delivery.
    frames: Vec<usize>,
    now: u64,
}

impl Model {
    fn is_live(&self, index: usize) -> bool {
        self.leases.get(index).and_then(|lease| lease.ends()).is_some_and(|ends| ends > self.now)
    }

    fn step(&mut self, index: usize, how: Final, with_copy: bool) -> Step {
        let live = self.is_live(index);
        match self.leases.get_mut(index) {
            Some(Modelled::Held { copying, .. }) if live => match copying {
                Some(other) if *other == how => Step::JoinCopy,
                Some(_) => Step::Refuse,
                None if with_copy => {
                    *copying = Some(how);
                    Step::Begin(tag(index as u64))
                }
                None => {
                    self.leases[index] = Modelled::Settling(how);
                    self.frames[index] += 1;
                    Step::Begin(tag(index as u64))
                }
            },
            Some(Modelled::Settling(other)) if *other == how => Step::JoinBarrier(result(how)),
            Some(Modelled::Settling(_)) => Step::Refuse,
            _ => Step::Unknown,
        }
    }

    /// The copy ends, also one of a lease whose end has come and was not noticed yet.
    fn end_copy(&mut self, index: usize, is_confirmed: bool) -> Option<Tag> {
        match self.leases.get_mut(index) {
            Some(Modelled::Held { copying, .. }) if copying.is_some() => {
                if let Some(how) = copying.take().filter(|_| is_confirmed) {
                    self.leases[index] = Modelled::Settling(how);
                    self.frames[index] += 1;
                }
                Some(tag(index as u64))
            }
            _ => None,
        }
    }

    fn extend(&mut self, index: usize, lease: u64) -> Result<u64, NotExtended> {
        let (live, now) = (self.is_live(index), self.now);
        match self.leases.get_mut(index) {
            Some(Modelled::Held { copying: Some(_), .. }) if live => Err(NotExtended::Settling),
            Some(Modelled::Held { arrived, expires, .. }) if live => {
                if now + lease > *arrived + LONGEST {
                    return Err(NotExtended::TooLong);
                }
                *expires = now + lease;
                Ok(*expires)
            }
            Some(Modelled::Settling(_)) => Err(NotExtended::Settling),
            _ => Err(NotExtended::Unknown),
        }
    }

    /// The leases that expire now.
    fn expire(&mut self) -> Vec<(u64, Tag)> {
        let mut expired = Vec::new();
        for (index, lease) in self.leases.iter_mut().enumerate() {
            if lease.ends().is_some_and(|ends| ends <= self.now) {
                *lease = Modelled::Gone;
                self.frames[index] += 1;
                expired.push((index as u64, tag(index as u64)));
            }
        }
        expired
    }
}

proptest! {
    #[test]
    fn the_table_does_what_the_model_does(operations in vec(operation(), 1..80)) {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut table = LeaseTable::new(Duration::from_secs(LONGEST));
        let mut model = Model { leases: Vec::new(), frames: Vec::new(), now: 0 };
        for operation in operations {
            let now = at(model.now);
            match operation {
                Operation::Add { lease } => {
                    let serial = model.leases.len() as u64;
                    let expires = table.add(serial, (tag(serial), now), serial, Duration::from_secs(lease), now);
                    let expected = model.now + lease.min(LONGEST);
                    prop_assert_eq!(expires, at(expected));
                    model.leases.push(Modelled::Held { arrived: model.now, expires: expected, copying: None });
                    model.frames.push(0);
                }
                Operation::Settle { index, how } => {
                    let step = table.settle(index as u64, result(how), now);
                    prop_assert_eq!(step, model.step(index, how, false));
                }
                Operation::Extend { index, lease } => {
                    let extended = table.extend(index as u64, Duration::from_secs(lease), now);
                    prop_assert_eq!(extended, model.extend(index, lease).map(at));
                }
                Operation::Copy { index, how } => {
                    prop_assert_eq!(table.begin_copy(index as u64, how, now), model.step(index, how, true));
                }
                Operation::EndCopy { index, is_confirmed } => {
                    let copying = match model.leases.get(index) {
                        Some(Modelled::Held { copying, .. }) => *copying,
                        _ => None,
                    };
                    let settled = copying.filter(|_| is_confirmed).map(result);
                    prop_assert_eq!(table.end_copy(index as u64, settled), model.end_copy(index, is_confirmed));
                }
                Operation::TakeBack { index } => {
                    let taken = table.take_back(index as u64, now).map(|(tag, _, message)| (tag, message));
                    let is_copying = |lease| matches!(lease, Some(Modelled::Held { copying: Some(_), .. }));
                    let can = model.is_live(index) && !is_copying(model.leases.get(index).copied());
                    let expected = can.then_some((tag(index as u64), index as u64));
                    prop_assert_eq!(taken, expected);
                    if expected.is_some() {
                        model.leases[index] = Modelled::Gone;
                        model.frames[index] += 1;
                    }
                }
                Operation::Finish { index } => {
                    let expected = match model.leases.get(index) {
                        Some(Modelled::Settling(how)) => Some(*how),
                        _ => None,
                    };
                    prop_assert_eq!(table.finish(index as u64), expected.map(result));
                    if expected.is_some() {
                        model.leases[index] = Modelled::Gone;
                    }
                }
                Operation::Expire => {
                    let mut tags = table.expire(now);
                    tags.sort_unstable();
                    prop_assert_eq!(tags, model.expire());
                }
                Operation::Lose => {
                    table.lose();
                    model.leases.iter_mut().for_each(|lease| *lease = Modelled::Gone);
                }
                Operation::Wait { seconds } => model.now += seconds,
            }
            let next = model.leases.iter().filter_map(|lease| lease.ends()).min();
            prop_assert_eq!(table.next_expiry(), next.map(at));
            prop_assert_eq!(table.is_empty(), model.leases.iter().all(|lease| *lease == Modelled::Gone));
        }
        prop_assert!(model.frames.iter().all(|frames| *frames <= 1), "a delivery was answered twice: {:?}", model.frames);
    }
}
