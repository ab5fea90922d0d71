//! The lanes: each kept open on its connection, anew when it ends.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::count::Counted;
use super::flight::Place;
use super::lane::{Lane, Window};
use crate::broker::channels::ConfirmChannels;
use crate::broker::connections::Connections;
use crate::broker::error::{Error, Unavailable};
use crate::broker::{PublishSettings, SettingsError};

/// All lanes, over all publishing connections.
pub(super) struct Lanes {
    connections: Arc<Connections>,
    pools: Vec<ConfirmChannels>,
    slots: Vec<watch::Receiver<Option<Arc<Lane>>>>,
    changed: watch::Receiver<()>,
    waiting: AtomicUsize,
}

impl Lanes {
    /// Opens the lanes, spread over the connections, and keeps them open.
    pub(super) fn start(
        connections: Arc<Connections>,
        sizes: &PublishSettings,
        tasks: &TaskTracker,
    ) -> Result<Self, SettingsError> {
        let count = sizes.pool_size;
        let window = Window { publishes: sizes.channel_window, bytes: sizes.channel_window_bytes };
        let connected = connections.len();
        let each = count.div_ceil(connected);
        let pool = |slot| ConfirmChannels::new(Arc::clone(&connections), slot, each);
        let pools = (0..connected).map(pool).collect::<Result<Vec<_>, _>>()?;
        let (news, changed) = watch::channel(());
        let news = Arc::new(news);
        let open = |number: usize| {
            let (current, lane) = watch::channel(None);
            let keeper =
                Keeper { channels: pools[number % connected].clone(), window, current, news: news.clone() };
            tasks.spawn(keeper.keep(tasks.clone()));
            lane
        };
        let slots = (0..count).map(open).collect();
        Ok(Self { connections, pools, slots, changed, waiting: AtomicUsize::new(0) })
    }

    /// A place on a lane, waiting for one until the deadline. Nothing is published meanwhile.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`], [`Unavailable::LoginRefused`] or [`Unavailable::Busy`] at the deadline,
    /// [`Unavailable::Blocked`] and [`Unavailable::ShuttingDown`] at once.
    pub(super) async fn place(&self, bytes: usize, deadline: Instant) -> Result<(Arc<Lane>, Place), Error> {
        if let Some(found) = self.place_now(bytes) {
            return Ok(found);
        }
        // In a box: rare, and large.
        Box::pin(self.place_in_time(bytes, deadline)).await
    }

    async fn place_in_time(&self, bytes: usize, deadline: Instant) -> Result<(Arc<Lane>, Place), Error> {
        let _waiting = Counted::on(&self.waiting);
        self.connections.unwritten(deadline, self.place_later(bytes)).await
    }

    fn place_now(&self, bytes: usize) -> Option<(Arc<Lane>, Place)> {
        let lane = self.pick(bytes)?;
        let place = lane.try_place(bytes)?;
        Some((lane, place))
    }

    async fn place_later(&self, bytes: usize) -> Result<(Arc<Lane>, Place), Error> {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            let is_away = self.open().next().is_none();
            tokio::select! {
                biased;
                found = self.first_place(bytes) => return Ok(found),
                change = changed.changed() => if change.is_err() { return Err(Error::NotSent(Unavailable::ShuttingDown)) },
                () = self.connections.given_up(), if is_away => return Err(Error::NotSent(Unavailable::ShuttingDown)),
            }
        }
    }

    /// The first place on any lane that is open now; never, when they all close. A large body waits on one lane:
    /// it gathers its places while it waits, and nobody else gets these.
    async fn first_place(&self, bytes: usize) -> (Arc<Lane>, Place) {
        let lanes = match self.pick(bytes) {
            Some(lane) if lane.is_large(bytes) => vec![lane],
            _ => self.open().collect(),
        };
        let place = |lane: Arc<Lane>| async move {
            let place = lane.place(bytes).await;
            place.map(|place| (lane, place))
        };
        let mut places: FuturesUnordered<_> = lanes.into_iter().map(place).collect();
        while let Some(place) = places.next().await {
            if let Some(found) = place {
                return found;
            }
        }
        pending().await
    }

    /// The first open lane with plenty of room, or the one with the most: a channel with much in flight
    /// costs the broker less a message than two with half of it.
    fn pick(&self, bytes: usize) -> Option<Arc<Lane>> {
        self.open().find(|lane| lane.has_plenty(bytes)).or_else(|| self.open().max_by_key(|lane| lane.free()))
    }

    fn open(&self) -> impl Iterator<Item = Arc<Lane>> {
        self.slots.iter().filter_map(|lane| lane.borrow().clone()).filter(|lane| lane.is_open())
    }

    /// The publishing connections.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Channels that there are to be, and those that there are.
    pub(super) fn channels(&self) -> (usize, usize) {
        (self.slots.len(), self.pools.iter().map(ConfirmChannels::open).sum())
    }

    /// Publishes that wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Opens no more lanes.
    pub(super) fn close(&self) {
        self.pools.iter().for_each(ConfirmChannels::close);
    }
}

/// Keeps one lane open.
struct Keeper {
    channels: ConfirmChannels,
    window: Window,
    current: watch::Sender<Option<Arc<Lane>>>,
    news: Arc<watch::Sender<()>>,
}

impl Keeper {
    async fn keep(self, tasks: TaskTracker) {
        while let Ok(channel) = self.channels.get().await {
            let (lane, driver) = Lane::on(channel, self.window);
            self.set(Some(Arc::new(lane)));
            let (closed, closing) = oneshot::channel();
            tasks.spawn(driver.run(closed));
            // It is dropped, never sent: so it ends with the driver, however that ends.
            let _closed = closing.await;
            self.set(None);
        }
    }

    fn set(&self, lane: Option<Arc<Lane>>) {
        self.current.send_replace(lane);
        self.news.send_replace(());
    }
}
