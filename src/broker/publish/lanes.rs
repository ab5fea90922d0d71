//! A group of lanes of one kind: a supervisor keeps each lane open on its connection, and reopens it when it ends.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::count::Counted;
use super::lane::{Lane, Permit, Window, drain};
use super::nacks::NackPauses;
use crate::broker::SettingsError;
use crate::broker::channels::{ConfirmChannel, ConfirmChannels, Pooled};
use crate::broker::connection::Connections;
use crate::broker::error::{Error, Unavailable};
use crate::broker::supervised::{Place, Reopen, State, Supervised, supervise};

/// How long a waiting publish waits for one more lane before it asks for another lane on another connection.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The number of lanes in a group, and their kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The number of lanes, spread over the connections.
    pub(super) lanes: usize,
    /// The window of each lane.
    pub(super) window: Window,
    /// Whether each lane carries one message at a time. Such lanes are opened on demand.
    pub(super) is_isolated: bool,
    /// Whether these are the lanes of one slow destination, which are expected to be silent.
    pub(super) is_for_slow_destination: bool,
}

/// The lanes of one kind, over the connections of one role.
pub(super) struct Lanes {
    connections: Arc<Connections>,
    pools: Vec<ConfirmChannels>,
    slots: Vec<Slot>,
    news: Arc<watch::Sender<()>>,
    waiting: AtomicUsize,
    silent: AtomicUsize,
    kind: Kind,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// The slot of one lane.
pub(super) struct Slot {
    lane: watch::Receiver<State<Arc<Lane>>>,
    connection: usize,
    need: Arc<Need>,
    /// The pauses between fresh channels, for the publish watch.
    pub(super) nack_pauses: Mutex<NackPauses>,
}

/// Whether a publish needs a lane that is opened on demand.
struct Need {
    asked: Notify,
    is_waiting: AtomicBool,
}

impl Slot {
    /// The lane, if it accepts publishes.
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.lane.borrow().part().filter(|lane| lane.is_open()).cloned()
    }

    /// Whether the lane is being opened.
    fn is_opening(&self) -> bool {
        !self.is_idle() && self.lane.borrow().part().is_none()
    }

    /// Whether the lane is neither open nor being opened.
    fn is_idle(&self) -> bool {
        self.need.is_waiting.load(Ordering::Relaxed)
    }
}

impl Lanes {
    /// Opens the lanes and keeps them open; returns at once.
    ///
    /// # Errors
    /// Settings that can never work.
    pub(super) fn start(connections: Arc<Connections>, kind: Kind) -> Result<Self, SettingsError> {
        let connected = connections.len();
        let each = kind.lanes.div_ceil(connected);
        let pool =
            |slot| ConfirmChannels::new(Arc::clone(&connections), slot, each, kind.is_for_slow_destination);
        let pools = (0..connected).map(pool).collect::<Result<Vec<_>, _>>()?;
        let news = Arc::new(watch::Sender::new(()));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let open = |number: usize| {
            let (place, lane) = Place::new(&news);
            let need = Need { asked: Notify::new(), is_waiting: AtomicBool::new(kind.is_isolated) };
            let (connection, need) = (number % connected, Arc::new(need));
            let supervised = SupervisedLane {
                channels: pools[connection].clone(),
                pooled: None,
                kind,
                need: Arc::clone(&need),
                closing: closing.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(supervise(supervised, place, closing.clone()));
            Slot { lane, connection, need, nack_pauses: Mutex::default() }
        };
        let slots = (0..kind.lanes).map(open).collect();
        let (waiting, silent) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { connections, pools, slots, news, waiting, silent, kind, closing, tasks })
    }

    /// Waits for a permit on a lane until the deadline; `None` if the lanes were closed. The message is not written
    /// meanwhile.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] or [`Unavailable::Busy`] at the deadline, [`Unavailable::Denied`] as soon as it is
    /// certain, [`Unavailable::Blocked`] and [`Unavailable::ShuttingDown`] at once.
    pub(super) async fn reserve(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Option<(Arc<Lane>, Permit)>, Error> {
        if let Some(found) = self.reserve_now(bytes) {
            return Ok(Some(found));
        }
        // Boxed because this future is large and rarely needed.
        Box::pin(self.reserve_in_time(bytes, deadline)).await
    }

    async fn reserve_in_time(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Option<(Arc<Lane>, Permit)>, Error> {
        let _waiting = Counted::on(&self.waiting);
        self.connections.unwritten(deadline, self.reserve_later(bytes)).await
    }

    fn reserve_now(&self, bytes: usize) -> Option<(Arc<Lane>, Permit)> {
        let lane = self.pick(bytes)?;
        let permit = lane.try_permit(bytes)?;
        Some((lane, permit))
    }

    async fn reserve_later(&self, bytes: usize) -> Result<Option<(Arc<Lane>, Permit)>, Error> {
        let (mut changed, mut connected) = (self.news.subscribe(), self.connections.changes());
        let mut is_overdue = false;
        loop {
            changed.mark_unchanged();
            connected.mark_unchanged();
            if let Some(found) = self.reserve_now(bytes) {
                return Ok(Some(found));
            }
            self.ask_for_lanes(is_overdue);
            is_overdue = false;
            let is_away = self.open().next().is_none() && self.connections.up().next().is_none();
            tokio::select! {
                biased;
                found = self.first_permit(bytes) => return Ok(Some(found)),
                () = self.closing.cancelled() => return Ok(None),
                _change = changed.changed() => {}
                () = self.connections.given_up(), if is_away => return Err(Error::NotSent(Unavailable::ShuttingDown)),
                _change = connected.changed() => {}
                () = sleep(ASK_AGAIN), if self.kind.is_isolated => is_overdue = true,
            }
        }
    }

    /// The first permit on any of the lanes that are open now. Does not resolve if they all close. A large body waits on
    /// one lane: it collects its permits while it waits, and no other message gets these permits.
    async fn first_permit(&self, bytes: usize) -> (Arc<Lane>, Permit) {
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
        self.slots.iter().filter_map(Slot::lane)
    }

    /// Requests one more lane, if lanes are opened on demand: when more publishes wait than lanes are being opened, or
    /// when the lane that is being opened takes too long. It chooses the connection with the fewest lanes, and prefers
    /// one without a silent lane.
    fn ask_for_lanes(&self, is_overdue: bool) {
        let is_up = |slot: &&Slot| self.connections.slot(slot.connection).is_some();
        let opening = self.slots.iter().filter(is_up).filter(|slot| slot.is_opening()).count();
        if opening >= self.waiting() && !is_overdue {
            return;
        }
        let burden = |slot: &&Slot| {
            let here = || self.slots.iter().filter(|it| it.connection == slot.connection);
            let is_silent = here().filter_map(Slot::lane).any(|lane| lane.is_silent());
            (is_silent, here().filter(|it| !it.is_idle()).count())
        };
        if let Some(slot) = self.slots.iter().filter(is_up).filter(|slot| slot.is_idle()).min_by_key(burden) {
            // Another caller may have requested the same lane in the meantime.
            if slot.need.is_waiting.swap(false, Ordering::Relaxed) {
                slot.need.asked.notify_one();
            }
        }
    }

    /// The connections.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The slots of the lanes.
    pub(super) fn slots(&self) -> &[Slot] {
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
        self.waiting.load(Ordering::Relaxed)
    }

    /// Records the number of silent lanes. When it changes, waiting callers choose their lanes again.
    pub(super) fn note_silent(&self, count: usize) {
        if self.silent.swap(count, Ordering::Relaxed) != count {
            self.news.send_replace(());
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

/// One supervised lane.
struct SupervisedLane {
    channels: ConfirmChannels,
    /// The channel of the open lane.
    pooled: Option<Pooled>,
    kind: Kind,
    need: Arc<Need>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Supervised for SupervisedLane {
    type Part = Arc<Lane>;
    type End = ();

    async fn open(&mut self) -> Result<Arc<Lane>, Reopen> {
        let Kind { window, is_isolated, .. } = self.kind;
        if is_isolated {
            self.need.asked.notified().await;
        }
        let pooled = self.channels.get().await.map_err(|_| Reopen::Never)?;
        let lane = Lane::on(Arc::clone(&pooled), window, is_isolated);
        self.pooled = Some(pooled);
        Ok(Arc::new(lane))
    }

    async fn until_ended(&mut self, lane: &Arc<Lane>) -> ((), Option<Arc<Lane>>) {
        if self.closing.is_cancelled() {
            // The lane was being opened when `finish` ran, so `finish` has not retired it.
            lane.retire();
        }
        lane.until_closed().await;
        self.need.is_waiting.store(self.kind.is_isolated, Ordering::Relaxed);
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
