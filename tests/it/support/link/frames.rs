//! Reads the frames that a client writes, and keeps its answers to deliveries.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// `AMQP` and the version, before the first frame.
const GREETING: usize = 8;
/// The type of a frame, its channel and the size of its payload.
const HEADER: usize = 7;
const METHOD: u8 = 1;
const BASIC: u16 = 60;

/// The answers to deliveries on all connections of a link, in the order in which clients wrote them.
#[derive(Default)]
pub(super) struct Answers {
    is_on: AtomicBool,
    said: Mutex<Vec<&'static str>>,
}

impl Answers {
    /// From now on, new connections keep their answers.
    pub(super) fn keep(&self) {
        self.is_on.store(true, Ordering::SeqCst);
    }

    pub(super) fn said(&self) -> Vec<&'static str> {
        self.said.lock().expect("no connection panics").clone()
    }
}

/// The frames of one connection, from its first byte on.
#[derive(Default)]
pub(super) struct Frames {
    rest: Vec<u8>,
    was_greeted: bool,
}

impl Frames {
    /// A reader, if the answers are kept.
    pub(super) fn of(answers: &Answers) -> Option<Self> {
        answers.is_on.load(Ordering::SeqCst).then(Self::default)
    }

    pub(super) fn read(&mut self, bytes: &[u8], answers: &Answers) {
        self.rest.extend_from_slice(bytes);
        while let Some(length) = self.next_length() {
            let frame: Vec<_> = self.rest.drain(..length).collect();
            if std::mem::replace(&mut self.was_greeted, true) {
                answers.said.lock().expect("no connection panics").extend(answer(&frame));
            }
        }
    }

    /// The length of the next frame, once all of it has come.
    fn next_length(&self) -> Option<usize> {
        let length = if self.was_greeted {
            let size = self.rest.get(3..HEADER)?.first_chunk()?;
            HEADER + usize::try_from(u32::from_be_bytes(*size)).ok()? + 1
        } else {
            GREETING
        };
        (self.rest.len() >= length).then_some(length)
    }
}

/// The answer to a delivery, if the frame is one.
fn answer(frame: &[u8]) -> Option<&'static str> {
    let number = |at: usize| frame.get(at..)?.first_chunk().copied().map(u16::from_be_bytes);
    if frame[0] != METHOD || number(HEADER)? != BASIC {
        return None;
    }
    let bits = || frame.get(HEADER + 12).copied().unwrap_or_default();
    match number(HEADER + 2)? {
        80 => Some("ack"),
        90 if bits() & 1 == 1 => Some("reject, requeue"),
        90 => Some("reject"),
        120 if bits() & 2 == 2 => Some("nack, requeue"),
        120 => Some("nack"),
        _ => None,
    }
}
