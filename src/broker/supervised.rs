//! The one loop that keeps a part of the broker side open: connections, lanes, the reply queue.
//!
//! It opens the part, puts it where others see it, waits for its end, and opens it again after a pause. Each kind of part
//! says how it is opened, how its end is noticed, and how long the pause is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What is in the place of a part now.
#[derive(Clone, Default)]
pub(super) enum State<T> {
    /// It is being opened, for the first time or after its end.
    #[default]
    Opening,
    /// The last try failed.
    Failed,
    /// In use, as far as the loop knows.
    Open(T),
}

impl<T> State<T> {
    /// The part, where it is open.
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

/// Whether the loop opens the part again.
pub(super) enum Reopen {
    /// After this pause.
    After(Duration),
    /// Not any more.
    Never,
}

/// A part that is kept open.
pub(super) trait Supervised {
    /// What others use; clones are the same.
    type Part: Clone;
    /// How the part ended.
    type End;

    /// Opens the part, for as long as it takes. Dropped when the loop is stopped.
    ///
    /// # Errors
    /// Whether the loop tries again.
    async fn open(&mut self) -> Result<Self::Part, Reopen>;

    /// Waits for the end of the part; with its successor, where one is open already.
    async fn until_ended(&mut self, part: &Self::Part) -> (Self::End, Option<Self::Part>);

    /// The end has come, and others see the part no longer.
    async fn after(&mut self, part: Self::Part, end: Self::End) -> Reopen;
}

/// Where others see a part.
pub(super) struct Place<T> {
    state: watch::Sender<State<T>>,
    changes: Arc<watch::Sender<()>>,
}

impl<T> Place<T> {
    /// A place whose changes are noted in `changes` too, and the side of it that others see.
    pub(super) fn new(changes: &Arc<watch::Sender<()>>) -> (Self, watch::Receiver<State<T>>) {
        let (state, seen) = watch::channel(State::default());
        (Self { state, changes: Arc::clone(changes) }, seen)
    }

    fn set(&self, state: State<T>) {
        self.state.send_replace(state);
        self.changes.send_replace(());
    }
}

/// Keeps the part open. After `stop` it opens none any more; the end of one that is open is waited for.
pub(super) async fn supervise<S: Supervised>(mut kind: S, place: Place<S::Part>, stop: CancellationToken) {
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
                place.set(State::Open(part.clone()));
                let end;
                (end, successor) = kind.until_ended(&part).await;
                if successor.is_none() {
                    place.set(State::Opening);
                }
                kind.after(part, end).await
            }
            Err(reopen) => {
                place.set(State::Failed);
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
