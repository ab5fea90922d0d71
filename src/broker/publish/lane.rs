//! One confirm channel with many publishes in flight, and the task that is its only publisher.
//!
//! What is in flight is bounded by count and by bytes. When the channel or its connection ends, what
//! was written is lost and what was not is handed back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};

use super::letter::Letter;
use crate::broker::channels::{ConfirmChannel, Pooled};
use crate::broker::convert::Short;
use crate::broker::error::Error;
use crate::broker::link::Link;

/// How often late confirms are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// How late a confirm may be before its connection is replaced.
const LATEST: Duration = Duration::from_mins(1);

/// What may be in flight on one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Publishes.
    pub(super) publishes: u32,
    /// Bytes of their bodies; one larger body goes alone.
    pub(super) bytes: usize,
}

impl Window {
    /// Places that a body takes: one, and more when it is larger than its share of the bytes.
    fn places(self, bytes: usize) -> u32 {
        let share = (self.bytes / self.publishes as usize).max(1);
        u32::try_from(bytes.div_ceil(share)).unwrap_or(u32::MAX).clamp(1, self.publishes)
    }
}

/// How a publish on a lane ended.
pub(super) enum Ending {
    /// It was written, and this is the verdict, or how the wait for it ended.
    Written(Result<(), Error>),
    /// Nothing was written: the lane takes no more.
    Closed,
    /// Nothing was written: another message with this id is in flight on the lane.
    SameId,
}

/// A place on the lane; more than one for a large body.
pub(super) type Place = OwnedSemaphorePermit;

/// Where publishes are handed in.
pub(super) struct Lane {
    orders: mpsc::UnboundedSender<Order>,
    places: Arc<Semaphore>,
    window: Window,
    link: Arc<Link>,
}

struct Order {
    letter: Box<Letter>,
    place: Place,
    ending: oneshot::Sender<Ending>,
}

impl Lane {
    /// A lane on this channel. The second part runs it; it must be polled for as long as it takes.
    pub(super) fn on(channel: Pooled, window: Window) -> (Self, Driver) {
        // Bounded by the places: an order holds one.
        let (orders, given) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(window.publishes as usize));
        let link = Arc::clone(channel.link());
        let lane = Self { orders, places: Arc::clone(&places), window, link };
        (lane, Driver { channel, orders: given, places })
    }

    /// Whether it takes more.
    pub(super) fn is_open(&self) -> bool {
        !self.orders.is_closed()
    }

    /// Places that are free.
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Whether it is less than half full, and has a place for a body of so many bytes.
    pub(super) fn has_plenty(&self, bytes: usize) -> bool {
        let free = self.free();
        2 * free > self.window.publishes as usize && free >= self.window.places(bytes) as usize
    }

    /// Whether a body of so many bytes takes more than one place.
    pub(super) fn is_large(&self, bytes: usize) -> bool {
        self.window.places(bytes) > 1
    }

    /// A place for a body of so many bytes, if there is one now.
    pub(super) fn try_place(&self, bytes: usize) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_many_owned(self.window.places(bytes)).ok()
    }

    /// A place for a body of so many bytes, as soon as there is one; `None` when the lane is closed.
    pub(super) async fn place(&self, bytes: usize) -> Option<Place> {
        Arc::clone(&self.places).acquire_many_owned(self.window.places(bytes)).await.ok()
    }

    /// Publishes, and waits for the verdict to the letter's deadline. Cancel safe: what was handed in
    /// is finished.
    pub(super) async fn publish(&self, letter: Box<Letter>, place: Place) -> Ending {
        let deadline = letter.deadline;
        let (ending, ended) = oneshot::channel();
        if self.orders.send(Order { letter, place, ending }).is_err() {
            return Ending::Closed;
        }
        match timeout_at(deadline, ended).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(_)) => Ending::Written(Err(lost(&self.link, Error::gone()))),
            Err(_) => Ending::Written(Err(Error::Silence)),
        }
    }
}

/// What a shared channel's end leaves of a publish: whose fault it was is not known.
fn lost(link: &Link, error: Error) -> Error {
    match error {
        verdict @ (Error::Unroutable { .. } | Error::Rejected) => verdict,
        other => Error::Lost { reason: other.to_string(), repeatable: !link.is_blocked() },
    }
}

/// The lane's own side.
pub(super) struct Driver {
    channel: Pooled,
    orders: mpsc::UnboundedReceiver<Order>,
    places: Arc<Semaphore>,
}

impl Driver {
    /// Publishes what is handed in. `closed` is dropped when the lane takes no more; what is in flight
    /// then is settled all the same before this ends, or is lost with the connection.
    pub(super) async fn run(self, closed: oneshot::Sender<()>) {
        let Self { channel, mut orders, places } = self;
        let confirm = Arc::clone(&channel);
        let work = async {
            let mut flight = Flight::new(&confirm);
            flight.take(&mut orders).await;
            close(&mut orders, &places);
            drop(closed);
            // Another channel may take this one's place in the pool.
            drop(Object::take(channel));
            flight.drain().await;
        };
        tokio::select! {
            biased;
            () = work => {}
            () = confirm.link().silent() => close(&mut orders, &places),
        }
    }
}

/// Takes no more, and hands back what was not written.
fn close(orders: &mut mpsc::UnboundedReceiver<Order>, places: &Semaphore) {
    orders.close();
    places.close();
    while let Ok(order) = orders.try_recv() {
        order.hand_back(Ending::Closed);
    }
}

impl Order {
    /// Ends it unwritten.
    fn hand_back(self, why: Ending) {
        // Nobody may be waiting any more.
        let _gone = self.ending.send(why);
    }
}

/// What is in flight on one channel.
struct Flight<'a> {
    confirm: &'a ConfirmChannel,
    unsettled: FuturesUnordered<BoxFuture<'a, Short>>,
    /// When each caller wants its answer, by message id.
    deadlines: HashMap<Short, Instant>,
    late: usize,
}

impl<'a> Flight<'a> {
    fn new(confirm: &'a ConfirmChannel) -> Self {
        Self { confirm, unsettled: FuturesUnordered::new(), deadlines: HashMap::new(), late: 0 }
    }

    /// Publishes orders, until the channel takes no more. They are written when polled, in [`Self::unsettled`].
    async fn take(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let mut retired = pin!(self.confirm.link().retired());
        let mut looks = looks();
        loop {
            tokio::select! {
                biased;
                Some(id) = self.unsettled.next(), if !self.unsettled.is_empty() => self.settled(&id),
                Some(order) = orders.recv() => {
                    if !self.confirm.is_usable() {
                        return order.hand_back(Ending::Closed);
                    }
                    self.begin(order);
                    // Whoever else is about to publish goes into the same write; with nobody, at once.
                    yield_now().await;
                    while let Ok(order) = orders.try_recv() {
                        self.begin(order);
                    }
                }
                () = &mut retired => return,
                _ = looks.tick() => {
                    self.look();
                    if !self.confirm.is_usable() {
                        return;
                    }
                }
            }
        }
    }

    /// Until everything is settled.
    async fn drain(&mut self) {
        let mut looks = looks();
        while !self.unsettled.is_empty() {
            tokio::select! {
                Some(id) = self.unsettled.next() => self.settled(&id),
                _ = looks.tick() => self.look(),
            }
        }
    }

    fn begin(&mut self, order: Order) {
        match self.deadlines.entry(order.letter.message_id.clone()) {
            Entry::Occupied(_) => return order.hand_back(Ending::SameId),
            Entry::Vacant(vacant) => vacant.insert(order.letter.deadline),
        };
        let confirm = self.confirm;
        let Order { letter, place, ending } = order;
        self.unsettled.push(Box::pin(async move {
            let id = letter.message_id.clone();
            let verdict = letter.settle(confirm).await.map_err(|error| lost(confirm.link(), error));
            drop(place);
            // Nobody may be waiting any more.
            let _gone = ending.send(Ending::Written(verdict));
            id
        }));
    }

    fn settled(&mut self, id: &Short) {
        self.deadlines.remove(id);
    }

    /// Counts the publishes whose callers have been told `unknown`. A connection on which one is very
    /// late is replaced; not during an alarm: a new one would learn of it only by holding a message too.
    fn look(&mut self) {
        let (now, link) = (Instant::now(), self.confirm.link());
        let late = self.deadlines.values().filter(|deadline| **deadline < now);
        let late = self.count(late.count());
        let very_late = |deadline: &Instant| *deadline + LATEST < now;
        if late > 0 && !link.is_blocked() && self.deadlines.values().any(very_late) {
            link.retire();
        }
    }

    fn count(&mut self, late: usize) -> usize {
        let link = self.confirm.link();
        link.add_late(late.saturating_sub(self.late));
        link.take_late(self.late.saturating_sub(late));
        self.late = late;
        late
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.count(0);
    }
}

fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}
