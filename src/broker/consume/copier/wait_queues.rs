//! The wait queues that this replica has declared. It declares each of them once at a time.
//!
//! RabbitMQ answers the second of two parallel declarations of a new quorum queue before the queue has started, and nacks the messages
//! that come then. A declaration by another replica has the same effect, so a nack by a new queue does not yet say that it is full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::broker::error::{Error, Unavailable};
use crate::domain::names::QueueName;

/// The most wait queues that the gateway remembers. It then forgets all, and declares them again.
const MAX_REMEMBERED: usize = 10_000;
/// How long after its declaration a queue is new.
const NEW: Duration = Duration::from_secs(5);

/// The wait queues that this replica knows.
#[derive(Default)]
pub(super) struct WaitQueues(SyncMutex<HashMap<QueueName, Arc<WaitQueue>>>);

impl WaitQueues {
    /// The queue with this name, which is perhaps not declared yet.
    pub(super) fn find(&self, name: &QueueName) -> Arc<WaitQueue> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.len() >= MAX_REMEMBERED && !queues.contains_key(name) {
            queues.clear();
        }
        Arc::clone(queues.entry(name.clone()).or_default())
    }
}

/// A wait queue. While it is declared, its lock is taken.
#[derive(Default)]
pub(super) struct WaitQueue(Mutex<Option<Last>>);

/// The last declaration of a queue.
struct Last {
    begun: Instant,
    ended: Instant,
    result: Result<(), Error>,
}

/// A declaration that RabbitMQ has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declaration {
    ended: Instant,
    /// Whether it was made for this copy.
    pub(super) is_own: bool,
}

impl Declaration {
    /// Whether the queue has perhaps not started yet.
    pub(super) fn is_new(self) -> bool {
        self.ended.elapsed() < NEW
    }
}

impl WaitQueue {
    /// Declares the queue, unless it is declared. Waits for another declaration that runs.
    ///
    /// # Errors
    /// RabbitMQ's refusal of this declaration, or of another one that began after this call; or that there was no answer in time.
    pub(super) async fn declared(
        &self,
        deadline: Instant,
        declare: impl Future<Output = Result<(), Error>>,
    ) -> Result<Declaration, Error> {
        let asked = Instant::now();
        let locked = timeout_at(deadline, self.0.lock()).await;
        let mut last = locked.map_err(|_| Error::NotSent(Unavailable::NoConnection))?;
        match &*last {
            Some(Last { result: Ok(()), ended, .. }) => {
                return Ok(Declaration { ended: *ended, is_own: false });
            }
            Some(Last { result: Err(error @ Error::Refused(_)), begun, .. }) if *begun >= asked => {
                return Err(error.clone());
            }
            _ => {}
        }
        let begun = Instant::now();
        let result = declare.await;
        let ended = Instant::now();
        *last = Some(Last { begun, ended, result: result.clone() });
        result.map(|()| Declaration { ended, is_own: true })
    }

    /// The queue is gone, if this is still its last declaration.
    pub(super) async fn forget(&self, declaration: Declaration) {
        let mut last = self.0.lock().await;
        if last.as_ref().is_some_and(|last| last.ended == declaration.ended) {
            *last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::broker::error::Refusal;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    async fn declare(count: &AtomicUsize, result: Result<(), Error>) -> Result<(), Error> {
        count.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        result
    }

    #[tokio::test]
    async fn many_copies_declare_their_queue_once_and_again_when_it_is_gone() {
        let (queue, count) = (WaitQueue::default(), AtomicUsize::new(0));
        let declared = || queue.declared(soon(), declare(&count, Ok(())));
        let all = join_all((0..100).map(|_| declared())).await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert_eq!(all.iter().filter(|it| it.as_ref().is_ok_and(|it| it.is_own)).count(), 1);
        let before = declared().await.expect("it is declared");
        queue.forget(before).await;
        let after = declared().await.expect("it is declared again");
        queue.forget(before).await;
        assert_eq!(declared().await, Ok(Declaration { is_own: false, ..after }));
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_refusal_is_the_answer_of_all_copies_that_waited_for_it_and_of_no_later_one() {
        let (queue, count) = (WaitQueue::default(), AtomicUsize::new(0));
        let refusal = Err(Error::Refused(Refusal::Differs { reason: "other arguments".to_owned() }));
        let refused = || queue.declared(soon(), declare(&count, refusal.clone()));
        let all = join_all((0..100).map(|_| refused())).await;
        assert!(all.iter().all(Result::is_err));
        let asked = count.load(Ordering::Relaxed);
        assert!(asked <= 2, "{asked}");
        assert!(queue.declared(soon(), declare(&count, Ok(()))).await.is_ok());
    }
}
