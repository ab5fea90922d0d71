//! The supervisor: the one loop that keeps a part of the broker module open, such as a connection, a lane or the reply
//! queue.
//!
//! It opens the part, shows it to its users, waits for its end, and opens it again after a pause. Each kind of part
//! defines how it is opened, how its end is noticed, and how long the pause is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The current state of a part.
#[derive(Clone, Default)]
pub(super) enum State<T> {
    /// The supervisor is opening the part, for the first time or after its end.
    #[default]
    Opening,
    /// The last try failed.
    Failed,
    /// The part is open, as far as the supervisor knows.
    Open(T),
}

impl<T> State<T> {
    /// The part, if it is open.
    pub(super) fn part(&self) -> Option<&T> {
        match self {
            Self::Open(part) => Some(part),
            Self::Opening | Self::Failed => None,
        }
    }

    /// Whether the last try failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self, Self::Failed)
    }
}

/// Whether the supervisor opens the part again.
pub(super) enum Reopen {
    /// Yes, after this pause.
    After(Duration),
    /// No.
    Never,
}

/// A part that a supervisor keeps open.
pub(super) trait Supervised {
    /// The part as its users see it; clones are the same part.
    type Part: Clone;
    /// How the part ended.
    type End;

    /// Opens the part, without a deadline. Dropped when the supervisor is stopped.
    ///
    /// # Errors
    /// Whether the supervisor tries again.
    async fn open(&mut self) -> Result<Self::Part, Reopen>;

    /// Waits for the end of the part. Also returns its successor, if one is open already.
    async fn until_ended(&mut self, part: &Self::Part) -> (Self::End, Option<Self::Part>);

    /// Called after the end of the part, when users no longer see it.
    async fn after(&mut self, part: Self::Part, end: Self::End) -> Reopen;
}

/// Sets the state of a part that its users see.
pub(super) struct StateSender<T> {
    state: watch::Sender<State<T>>,
    changes: Arc<watch::Sender<()>>,
}

impl<T> StateSender<T> {
    /// Makes a sender and the receiver for its users. Each change also notifies `changes`.
    pub(super) fn new(changes: &Arc<watch::Sender<()>>) -> (Self, watch::Receiver<State<T>>) {
        let (state, seen) = watch::channel(State::default());
        (Self { state, changes: Arc::clone(changes) }, seen)
    }

    fn set(&self, state: State<T>) {
        self.state.send_replace(state);
        self.changes.send_replace(());
    }
}

/// Keeps the part open. After `stop` it opens no new part, but it waits for the end of an open one.
pub(super) async fn supervise<S: Supervised>(
    mut kind: S,
    sender: StateSender<S::Part>,
    stop: CancellationToken,
) {
    let mut successor = None;
    loop {
        let opened = match successor.take() {
            Some(part) => Ok(part),
            None => match stop.run_until_cancelled(kind.open()).await {
                Some(opened) => opened,
                None => return,
            },
        };
        let reopen = match opened {
            Ok(part) => {
                sender.set(State::Open(part.clone()));
                let end;
                (end, successor) = kind.until_ended(&part).await;
                if successor.is_none() {
                    sender.set(State::Opening);
                }
                kind.after(part, end).await
            }
            Err(reopen) => {
                sender.set(State::Failed);
                reopen
            }
        };
        match reopen {
            Reopen::Never => return,
            Reopen::After(pause) if successor.is_none() => {
                if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                    return;
                }
            }
            Reopen::After(_) => {}
        }
    }
}
