//! A group of lanes of one kind. It picks a lane for each publish, and waits for a permit on it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lane::{Lane, LaneKind};
use super::lane_slot::LaneSlot;
use crate::broker::SettingsError;
use crate::broker::channels::{ConfirmChannel, ConfirmChannels, WindowPermit};
use crate::broker::connection::Connections;
use crate::broker::error::{Error, Unavailable};
use crate::fairness::{Holder, Turns};

/// How long a waiting publish waits for one more lane before it asks for another lane on another connection.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// At least this number of publishes may have their turns at the same time: a principal that holds least waits for so many permits at most.
const TURNS: usize = 16;

/// The lanes of one kind, over the connections of one role.
pub(super) struct Lanes {
    connections: Arc<Connections>,
    pools: Vec<ConfirmChannels>,
    slots: Vec<LaneSlot>,
    /// Notified when a lane is opened or closed, or when the number of silent lanes changes.
    changes: Arc<watch::Sender<()>>,
    /// Counts the publishes that wait for a permit.
    waiting: TaskTracker,
    /// The order in which they take one.
    turns: Arc<Turns>,
    silent: AtomicUsize,
    kind: LaneKind,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Lanes {
    /// Opens this number of lanes, spread over the connections, and keeps them open; returns at once.
    ///
    /// # Errors
    /// Settings that can never work.
    pub(super) fn start(
        connections: Arc<Connections>,
        count: usize,
        kind: LaneKind,
    ) -> Result<Self, SettingsError> {
        let connected = connections.len();
        let each = count.div_ceil(connected);
        let pool =
            |slot| ConfirmChannels::new(Arc::clone(&connections), slot, each, kind.is_for_slow_destination);
        let pools = (0..connected).map(pool).collect::<Result<Vec<_>, _>>()?;
        let changes = Arc::new(watch::Sender::new(()));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let open = |number: usize| {
            let connection = number % connected;
            LaneSlot::start(pools[connection].clone(), connection, kind, &changes, (&closing, &tasks))
        };
        let slots = (0..count).map(open).collect();
        let (waiting, silent) = (TaskTracker::new(), AtomicUsize::new(0));
        // As many as there are isolated lanes, so that these are opened at once when they are needed.
        let turns = Turns::new(count.max(TURNS));
        Ok(Self { connections, pools, slots, changes, waiting, turns, silent, kind, closing, tasks })
    }

    /// Waits for a permit on a lane for a body of this size until the deadline; `None` if the lanes were closed. The message is not
    /// written meanwhile. Of several principals that wait, the one that holds fewest permits goes first.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] or [`Unavailable::Busy`] at the deadline, [`Unavailable::Denied`] as soon as it is
    /// certain, [`Unavailable::Blocked`] and [`Unavailable::ShuttingDown`] at once.
    pub(super) async fn reserve(
        &self,
        (bytes, holder): (usize, &Holder),
        deadline: Instant,
    ) -> Result<Option<(Arc<Lane>, WindowPermit)>, Error> {
        let hold = |(lane, permit)| (lane, self.hold(holder, permit));
        if self.turns.are_free_for(holder)
            && let Some(found) = self.reserve_now(bytes)
        {
            return Ok(Some(hold(found)));
        }
        let _waiting = self.waiting.token();
        let found = async {
            let _turn = self.turns.wait(holder).await;
            self.reserve_later(bytes).await
        };
        // Boxed because this future is large and rarely needed.
        Ok(Box::pin(self.connections.wait_before_write(deadline, found)).await?.map(hold))
    }

    /// Waits for a permit on this lane until the deadline; `None` if it is closed, or does not belong to this group. It needs no turn:
    /// of each sequence only one message waits, and others must not wait for a lane that they do not need.
    ///
    /// # Errors
    /// The same as of [`Self::reserve`].
    pub(super) async fn reserve_on(
        &self,
        lane: &Arc<Lane>,
        (bytes, holder): (usize, &Holder),
        deadline: Instant,
    ) -> Result<Option<WindowPermit>, Error> {
        if !self.open().any(|open| Arc::ptr_eq(&open, lane)) {
            return Ok(None);
        }
        let hold = |permit| self.hold(holder, permit);
        if let Some(permit) = lane.try_permit(bytes) {
            return Ok(Some(hold(permit)));
        }
        let _waiting = self.waiting.token();
        let permit = lane.permit(bytes).map(Ok);
        Ok(Box::pin(self.connections.wait_before_write(deadline, permit)).await?.map(hold))
    }

    fn hold(&self, holder: &Holder, permits: OwnedSemaphorePermit) -> WindowPermit {
        let held = self.turns.hold(holder, permits.num_permits());
        WindowPermit { _permits: permits, _held: held }
    }

    fn reserve_now(&self, bytes: usize) -> Option<(Arc<Lane>, OwnedSemaphorePermit)> {
        let lane = self.pick(bytes)?;
        let permit = lane.try_permit(bytes)?;
        Some((lane, permit))
    }

    async fn reserve_later(&self, bytes: usize) -> Result<Option<(Arc<Lane>, OwnedSemaphorePermit)>, Error> {
        let (mut changed, mut connected) = (self.changes.subscribe(), self.connections.changes());
        let mut is_late = false;
        loop {
            changed.mark_unchanged();
            connected.mark_unchanged();
            // Tried after the marks, so that the wait below misses no change.
            if let Some(found) = self.reserve_now(bytes) {
                return Ok(Some(found));
            }
            self.ask_for_lanes(is_late);
            is_late = false;
            let is_away = self.open().next().is_none() && self.connections.up().next().is_none();
            tokio::select! {
                biased;
                found = self.first_permit(bytes) => return Ok(Some(found)),
                () = self.closing.cancelled() => return Ok(None),
                _change = changed.changed() => {}
                () = self.connections.given_up(), if is_away => return Err(Error::NotSent(Unavailable::ShuttingDown)),
                _change = connected.changed() => {}
                () = sleep(ASK_AGAIN), if self.kind.is_isolated => is_late = true,
            }
        }
    }

    /// The first permit on any of the lanes that are open now. Does not resolve if they all close. A large body waits on
    /// one lane: it collects its permits while it waits, and no other message gets these permits.
    async fn first_permit(&self, bytes: usize) -> (Arc<Lane>, OwnedSemaphorePermit) {
        let lanes = match self.pick(bytes) {
            Some(lane) if lane.is_large(bytes) => vec![lane],
            _ => self.preferred(),
        };
        let permit = |lane: Arc<Lane>| async move {
            let permit = lane.permit(bytes).await;
            permit.map(|permit| (lane, permit))
        };
        let mut permits: FuturesUnordered<_> = lanes.into_iter().map(permit).collect();
        while let Some(permit) = permits.next().await {
            if let Some(found) = permit {
                return found;
            }
        }
        pending().await
    }

    /// The first lane with plenty of room, else the lane with the most room: for RabbitMQ, one channel with many messages
    /// in flight costs less per message than two channels with half of them each. A silent lane is picked only if all
    /// lanes are silent.
    fn pick(&self, bytes: usize) -> Option<Arc<Lane>> {
        let fresh = || self.open().filter(|lane| !lane.is_silent());
        fresh()
            .find(|lane| lane.has_plenty(bytes))
            .or_else(|| fresh().max_by_key(|lane| lane.free()))
            .or_else(|| self.open().max_by_key(|lane| lane.free()))
    }

    /// The lanes that are not silent, or all lanes if all are silent.
    fn preferred(&self) -> Vec<Arc<Lane>> {
        let fresh: Vec<_> = self.open().filter(|lane| !lane.is_silent()).collect();
        if fresh.is_empty() { self.open().collect() } else { fresh }
    }

    /// Whether a lane is open.
    pub(super) fn has_open(&self) -> bool {
        self.open().next().is_some()
    }

    fn open(&self) -> impl Iterator<Item = Arc<Lane>> {
        self.slots.iter().filter_map(LaneSlot::lane)
    }

    /// Requests one more lane, if lanes are opened on demand: when more publishes wait than lanes are being opened, or
    /// when the lane that is being opened is late. It chooses the connection with the fewest lanes, and prefers
    /// one without a silent lane.
    fn ask_for_lanes(&self, is_late: bool) {
        let is_up = |slot: &&LaneSlot| self.connections.slot(slot.connection).is_some();
        let opening = self.slots.iter().filter(is_up).filter(|slot| slot.is_opening()).count();
        if opening >= self.waiting() && !is_late {
            return;
        }
        let burden = |slot: &&LaneSlot| {
            let here = || self.slots.iter().filter(|it| it.connection == slot.connection);
            let is_silent = here().filter_map(LaneSlot::lane).any(|lane| lane.is_silent());
            (is_silent, here().filter(|it| !it.is_idle()).count())
        };
        if let Some(slot) = self.slots.iter().filter(is_up).filter(|slot| slot.is_idle()).min_by_key(burden) {
            slot.open();
        }
    }

    /// A receiver of each change of the open lanes.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The connections.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The slots of the lanes.
    pub(super) fn slots(&self) -> &[LaneSlot] {
        &self.slots
    }

    /// Every channel of the lanes, including those that accept no more publishes and wait for their last answers.
    pub(super) fn channels(&self) -> Vec<Arc<ConfirmChannel>> {
        self.pools.iter().flat_map(ConfirmChannels::opened).collect()
    }

    /// The number of channels that are open for publishes.
    pub(super) fn open_channels(&self) -> usize {
        self.pools.iter().map(ConfirmChannels::open).sum()
    }

    /// The number of publishes that wait for a permit.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Records the number of silent lanes. When it changes, waiting callers choose their lanes again.
    pub(super) fn note_silent(&self, count: usize) {
        if self.silent.swap(count, Ordering::Relaxed) != count {
            self.changes.send_replace(());
        }
    }

    /// Whether a silent lane gets a fresh channel.
    pub(super) fn replaces_silent_lanes(&self) -> bool {
        self.kind.is_isolated && !self.kind.is_for_slow_destination
    }

    /// Closes the group: it opens no more lanes.
    pub(super) fn close(&self) {
        self.pools.iter().for_each(ConfirmChannels::close);
        self.closing.cancel();
        self.tasks.close();
    }

    /// Accepts no more publishes, and waits until those in flight have their answers or are past their deadlines.
    pub(super) async fn finish(&self) {
        self.close();
        self.open().for_each(|lane| lane.retire());
        self.tasks.wait().await;
    }
}
