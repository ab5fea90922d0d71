//! The slot of one lane. A supervisor keeps the lane open on its connection, and users find it in the slot.
//!
//! A shared lane is opened at the start. An isolated lane is opened when a publish needs it, and after its end it waits
//! for the next such publish.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool::managed::Object;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lane::{Lane, LaneKind, drain};
use super::nacks::NackPauses;
use crate::broker::channels::{ConfirmChannels, Pooled};
use crate::broker::supervised::{Reopen, State, StateSender, Supervised, supervise};

/// The slot of one lane.
pub(super) struct LaneSlot {
    lane: watch::Receiver<State<Arc<Lane>>>,
    /// The number of its connection.
    pub(super) connection: usize,
    is_wanted: Arc<watch::Sender<bool>>,
    /// The pauses between fresh channels, for the publish watch.
    pub(super) nack_pauses: Mutex<NackPauses>,
}

impl LaneSlot {
    /// Starts the supervisor of a lane on channels of this pool, which belongs to the connection with this number. The
    /// supervisor runs among `tasks` until `closing`.
    pub(super) fn start(
        channels: ConfirmChannels,
        connection: usize,
        kind: LaneKind,
        changes: &Arc<watch::Sender<()>>,
        (closing, tasks): (&CancellationToken, &TaskTracker),
    ) -> Self {
        let (sender, lane) = StateSender::new(changes);
        let is_wanted = Arc::new(watch::Sender::new(!kind.is_isolated));
        let supervised = SupervisedLane {
            channels,
            pooled: None,
            kind,
            is_wanted: Arc::clone(&is_wanted),
            closing: closing.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(supervise(supervised, sender, closing.clone()));
        Self { lane, connection, is_wanted, nack_pauses: Mutex::default() }
    }

    /// The lane, if it accepts publishes.
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.lane.borrow().part().filter(|lane| lane.is_open()).cloned()
    }

    /// Whether the lane is being opened.
    pub(super) fn is_opening(&self) -> bool {
        !self.is_idle() && self.lane.borrow().part().is_none()
    }

    /// Whether the lane is neither open nor being opened.
    pub(super) fn is_idle(&self) -> bool {
        !*self.is_wanted.borrow()
    }

    /// Opens the lane if it is idle; returns at once.
    pub(super) fn open(&self) {
        // Another caller may have opened the same lane in the meantime.
        self.is_wanted.send_if_modified(|is_wanted| !std::mem::replace(is_wanted, true));
    }
}

/// A lane as its supervisor opens and closes it.
struct SupervisedLane {
    channels: ConfirmChannels,
    /// The channel of the open lane.
    pooled: Option<Pooled>,
    kind: LaneKind,
    is_wanted: Arc<watch::Sender<bool>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Supervised for SupervisedLane {
    type Part = Arc<Lane>;
    type End = ();

    async fn open(&mut self) -> Result<Arc<Lane>, Reopen> {
        let mut is_wanted = self.is_wanted.subscribe();
        // It cannot fail: `self` has the sender.
        let _is_wanted = is_wanted.wait_for(|is_wanted| *is_wanted).await.is_ok();
        let pooled = self.channels.get().await.map_err(|_| Reopen::Never)?;
        let lane = Lane::on(Arc::clone(&pooled), self.kind);
        self.pooled = Some(pooled);
        Ok(Arc::new(lane))
    }

    async fn until_ended(&mut self, lane: &Arc<Lane>) -> ((), Option<Arc<Lane>>) {
        if self.closing.is_cancelled() {
            // The lane was being opened when `Lanes::finish` ran, so that has not retired it.
            lane.retire();
        }
        lane.until_closed().await;
        self.is_wanted.send_replace(!self.kind.is_isolated);
        ((), None)
    }

    async fn after(&mut self, _lane: Arc<Lane>, (): ()) -> Reopen {
        if let Some(pooled) = self.pooled.take() {
            // The slot in the pool is free for another channel while this one drains.
            self.tasks.spawn(drain(Object::take(pooled), self.closing.clone()));
        }
        Reopen::After(Duration::ZERO)
    }
}
