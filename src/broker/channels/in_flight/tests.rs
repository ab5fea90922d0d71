//! Compares the ring with a plain list.

use proptest::prelude::*;

use super::*;
use crate::domain::names::{ExchangeName, ShortText};

fn id(number: usize) -> MessageId {
    MessageId::from(ShortText::parse(format!("message-{number}")).expect("short"))
}

/// A publish whose caller ignores the result.
fn pending(number: usize) -> Pending {
    let permit = WindowPermit::only();
    let destination = KnownDestination::new(ExchangeName::default(), ShortText::default());
    let now = Instant::now();
    let caller = oneshot::channel().0;
    Pending { id: id(number), destination, since: now, deadline: now, is_isolated: false, permit, caller }
}

fn encoded() -> Encoded {
    Encoded { frames: vec![1], body: Bytes::new() }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Hands in a message; a message with the same number may be in flight already.
    Push(usize),
    Write,
    Answer {
        tag: u64,
        multiple: bool,
    },
    Return(usize),
    TakeUnwritten,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30_usize).prop_map(Step::Push),
        4 => Just(Step::Write),
        4 => (0..40_u64, any::<bool>()).prop_map(|(tag, multiple)| Step::Answer { tag, multiple }),
        1 => (0..30_usize).prop_map(Step::Return),
        1 => Just(Step::TakeUnwritten),
    ]
}

/// A message of the plain list. Its delivery tag is its index plus 1.
struct Listed {
    number: usize,
    is_written: bool,
    is_answered: bool,
    is_returned: bool,
}

#[derive(Default)]
struct List(Vec<Listed>);

impl List {
    fn waiting(&self) -> impl Iterator<Item = &Listed> {
        self.0.iter().filter(|it| !it.is_answered)
    }

    /// The delivery tags that an answer covers; `None` if RabbitMQ may not send such an answer.
    fn answer(&mut self, tag: u64, multiple: bool) -> Option<Vec<(usize, bool)>> {
        let tag = usize::try_from(tag).expect("small");
        let written = self.0.iter().filter(|it| it.is_written).count();
        let places = match (tag, multiple) {
            (0, true) => 0..written,
            (0, false) => return None,
            _ if tag > written => return None,
            (_, true) => 0..tag,
            (_, false) if self.0[tag - 1].is_answered => return None,
            (_, false) => tag - 1..tag,
        };
        let open = self.0[places].iter_mut().filter(|it| !it.is_answered);
        Some(
            open.map(|it| {
                it.is_answered = true;
                (it.number, it.is_returned)
            })
            .collect(),
        )
    }
}

proptest! {
    #[test]
    fn each_message_gets_its_own_answer_once(steps in proptest::collection::vec(step(), 0..200)) {
        let (mut ring, mut list) = (InFlight::new(), List::default());
        for step in steps {
            match step {
                Step::Push(number) => {
                    let is_known = list.waiting().any(|it| it.number == number);
                    prop_assert_eq!(ring.push(pending(number), encoded()).is_err(), is_known);
                    if !is_known {
                        list.0.push(Listed { number, is_written: false, is_answered: false, is_returned: false });
                    }
                }
                Step::Write => {
                    let next = list.0.iter_mut().find(|it| !it.is_written);
                    prop_assert_eq!(ring.next_unwritten().is_some(), next.is_some());
                    if let Some(next) = next {
                        next.is_written = true;
                    }
                }
                Step::Answer { tag, multiple } => {
                    let mut told = Vec::new();
                    let answer = ring.answer(tag, multiple, |it| told.push((it.pending.id, it.returned.is_some())));
                    let expected = list.answer(tag, multiple);
                    prop_assert_eq!(answer.is_ok(), expected.is_some());
                    let expected = expected.unwrap_or_default().into_iter();
                    prop_assert_eq!(told, expected.map(|(number, it)| (id(number), it)).collect::<Vec<_>>());
                }
                Step::Return(number) => {
                    let mut open = list.0.iter_mut().filter(|it| it.is_written && !it.is_answered);
                    let found = open.find(|it| it.number == number);
                    prop_assert_eq!(ring.note_return(&id(number), "NO_ROUTE".to_owned()).is_ok(), found.is_some());
                    if let Some(found) = found {
                        found.is_returned = true;
                    }
                }
                Step::TakeUnwritten => {
                    let unwritten = list.0.extract_if(.., |it| !it.is_written);
                    let unwritten: Vec<_> = unwritten.map(|it| id(it.number)).collect();
                    let taken: Vec<_> = ring.take_unwritten().into_iter().map(|it| it.id).collect();
                    prop_assert_eq!(taken, unwritten);
                }
            }
            prop_assert_eq!(ring.unanswered(), list.waiting().count());
            let oldest = list.0.iter().position(|it| !it.is_answered).unwrap_or(list.0.len());
            prop_assert_eq!(ring.span(), list.0.len() - oldest);
        }
        let lost: Vec<_> = list.waiting().filter(|it| it.is_written).map(|it| id(it.number)).collect();
        drop(ring.take_unwritten());
        prop_assert_eq!(ring.take_written().into_iter().map(|it| it.pending.id).collect::<Vec<_>>(), lost);
        prop_assert_eq!(ring.unanswered(), 0);
    }
}
