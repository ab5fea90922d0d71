//! One confirm channel with many publishes in flight, and the task that is its only publisher.
//!
//! What is in flight is bounded by count and by bytes.

use std::sync::Arc;

use deadpool::managed::Object;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout_at;

use super::flight::{Ending, Flight, Order, Place, lost, tell};
use super::letter::Letter;
use crate::broker::channels::Pooled;
use crate::broker::error::{Cause, Error};
use crate::broker::link::Link;

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

/// Where publishes are handed in.
pub(super) struct Lane {
    orders: mpsc::UnboundedSender<Order>,
    places: Arc<Semaphore>,
    window: Window,
    link: Arc<Link>,
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
            Err(_) => Ending::Written(Err(Error::Unknown(Cause::Silence))),
        }
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
        tell(order.ending, Ending::Closed);
    }
}
