//! Reads replies together where they come fast.
//!
//! lapin reads as soon as something has come, which is about one reply each time. Every read changes
//! threads twice, and what follows comes singly too: answers, the next requests, their publishes. Where
//! many callers are busy, a rest of lapin's thread before it reads costs each of them less than that:
//! measured with 64, a call took a third less of the gateway's CPU and an eighth less time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// How long a rest is at the least; a busy machine makes it longer.
const REST: Duration = Duration::from_micros(200);
/// How often it is looked how fast replies come.
const LOOK: Duration = Duration::from_millis(1);
/// With fewer waiting callers there is none.
const MANY: usize = 32;
/// Replies that must come in the time of a rest, or it would bring nothing together.
const WORTH: u32 = 2;

/// The callers that wait for what one connection reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    served: AtomicU32,
}

impl Crowd {
    /// So many wait now.
    pub(super) fn set(&self, waiting: usize) {
        self.0.waiting.store(waiting, Ordering::Relaxed);
    }

    /// One more has its reply.
    pub(super) fn serve(&self) {
        self.0.served.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_large(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) >= MANY
    }

    fn served(&self) -> u32 {
        self.0.served.load(Ordering::Relaxed)
    }
}

/// When to rest between the reads of one connection. For a thread of its own only, as lapin's is.
#[derive(Debug)]
pub(super) struct Pace {
    crowd: Crowd,
    /// All that had come was read.
    is_drained: bool,
    was_busy: bool,
    looked: Instant,
    served: u32,
}

impl Pace {
    pub(super) fn new(crowd: Crowd) -> Self {
        Self { crowd, is_drained: false, was_busy: false, looked: Instant::now(), served: 0 }
    }

    /// Rests, if it is time, and reads.
    pub(super) fn read<T>(&mut self, read: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.rest();
        let read = read();
        self.is_drained = read.is_pending();
        read
    }

    #[expect(clippy::disallowed_methods, reason = "the thread is lapin's, for this connection alone")]
    fn rest(&mut self) {
        if self.is_time() {
            thread::sleep(REST);
        }
    }

    /// Not while something that has been read would be held up.
    fn is_time(&mut self) -> bool {
        self.is_drained && self.crowd.is_large() && self.is_busy()
    }

    /// Whether replies came fast up to the last look.
    fn is_busy(&mut self) -> bool {
        let passed = self.looked.elapsed();
        if passed >= LOOK {
            let served = self.crowd.served();
            let came = served.wrapping_sub(self.served);
            self.was_busy = REST.saturating_mul(came) >= passed.saturating_mul(WORTH);
            (self.looked, self.served) = (Instant::now(), served);
        }
        self.was_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With so many waiting and so many served since the last look, when the next is due.
    fn drained(waiting: usize, served: usize) -> Pace {
        let crowd = Crowd::default();
        crowd.set(waiting);
        (0..served).for_each(|_| crowd.serve());
        let mut pace = Pace::new(crowd);
        assert!(pace.read(|| Poll::<()>::Pending).is_pending());
        pace.looked -= LOOK;
        pace
    }

    #[test]
    fn it_rests_where_many_wait_and_replies_come_fast() {
        assert!(drained(MANY, 100_000).is_time());
    }

    #[test]
    fn it_does_not_rest_for_few() {
        assert!(!drained(MANY - 1, 100_000).is_time());
    }

    #[test]
    fn fast_call_beside_many_that_wait_long_is_not_held_up() {
        assert!(!drained(MANY, 1).is_time());
    }

    #[test]
    fn what_has_been_read_is_not_held_up() {
        let mut pace = drained(MANY - 1, 100_000);
        assert!(pace.read(|| Poll::Ready(())).is_ready());
        pace.crowd.set(MANY);
        assert!(!pace.is_time());
        assert!(pace.read(|| Poll::<()>::Pending).is_pending());
        assert!(pace.is_time());
    }
}
