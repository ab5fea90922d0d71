//! What is in flight on one channel, from the first byte to the verdict that each caller is told.
//!
//! When the channel or its connection ends, what was written is lost and what was not is handed back.
//! Whose fault it was is known only where the broker names an exchange that a single message in flight
//! was for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::letter::Letter;
use crate::broker::channels::ConfirmChannel;
use crate::broker::convert::Short;
use crate::broker::error::{Cause, Error};
use crate::broker::link::Link;

/// How often late confirms are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// How late a confirm may be before its connection is replaced.
const LATEST: Duration = Duration::from_mins(1);

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

/// A letter to be published, and where its ending is told.
pub(super) struct Order {
    pub(super) letter: Box<Letter>,
    pub(super) place: Place,
    pub(super) ending: oneshot::Sender<Ending>,
}

/// What is in flight on one channel.
pub(super) struct Flight<'a> {
    confirm: &'a ConfirmChannel,
    unsettled: FuturesUnordered<BoxFuture<'a, Settled>>,
    /// When each caller wants its answer, by message id.
    deadlines: HashMap<Short, Instant>,
    /// Those in flight when the broker closed the channel over somebody's exchange.
    refused: Vec<Settled>,
    late: usize,
}

/// A letter that is in flight no more.
struct Settled {
    message_id: Short,
    exchange: Short,
    verdict: Result<(), Error>,
    ending: oneshot::Sender<Ending>,
}

impl<'a> Flight<'a> {
    /// Nothing yet, on this channel.
    pub(super) fn new(confirm: &'a ConfirmChannel) -> Self {
        let (unsettled, deadlines) = (FuturesUnordered::new(), HashMap::new());
        Self { confirm, unsettled, deadlines, refused: Vec::new(), late: 0 }
    }

    /// Publishes orders, until the channel takes no more. They are written when polled, in [`Self::unsettled`].
    pub(super) async fn take(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let mut retired = pin!(self.confirm.link().retired());
        let mut looks = looks();
        loop {
            tokio::select! {
                biased;
                Some(settled) = self.unsettled.next(), if !self.unsettled.is_empty() => {
                    self.settle(settled);
                    if !self.refused.is_empty() {
                        return;
                    }
                }
                Some(order) = orders.recv() => {
                    if !self.confirm.is_usable() {
                        return tell(order.ending, Ending::Closed);
                    }
                    self.begin(order);
                    // Whoever else is about to publish goes into the same write; with nobody, at once.
                    yield_now().await;
                    while let Ok(order) = orders.try_recv() {
                        self.begin(order);
                    }
                }
                _why = &mut retired => return,
                _ = looks.tick() => {
                    self.look();
                    if !self.confirm.is_usable() {
                        return;
                    }
                }
            }
        }
    }

    /// Until everything is settled, and everybody told.
    pub(super) async fn drain(&mut self) {
        let mut looks = looks();
        while !self.unsettled.is_empty() {
            tokio::select! {
                Some(settled) = self.unsettled.next() => self.settle(settled),
                _ = looks.tick() => self.look(),
            }
        }
        self.tell_refused();
    }

    fn begin(&mut self, order: Order) {
        match self.deadlines.entry(order.letter.message_id.clone()) {
            Entry::Occupied(_) => return tell(order.ending, Ending::SameId),
            Entry::Vacant(vacant) => vacant.insert(order.letter.deadline),
        };
        let confirm = self.confirm;
        let Order { letter, place, ending } = order;
        self.unsettled.push(Box::pin(async move {
            let (message_id, exchange) = (letter.message_id.clone(), letter.exchange.clone());
            let verdict = letter.settle(confirm).await;
            drop(place);
            Settled { message_id, exchange, verdict, ending }
        }));
    }

    fn settle(&mut self, settled: Settled) {
        self.deadlines.remove(&settled.message_id);
        if matches!(&settled.verdict, Err(error) if error.names_an_exchange()) {
            self.refused.push(settled);
        } else {
            settled.tell(self.confirm.link());
        }
    }

    /// The exchange in the broker's words is that of the message that closed the channel.
    fn tell_refused(&mut self) {
        let is_named =
            |it: &Settled| matches!(&it.verdict, Err(error) if error.is_over(it.exchange.as_str()));
        let is_known = self.refused.iter().filter(|it| is_named(it)).count() == 1;
        for refused in self.refused.drain(..) {
            if is_known && is_named(&refused) {
                tell(refused.ending, Ending::Written(refused.verdict));
            } else {
                refused.tell(self.confirm.link());
            }
        }
    }

    /// Counts the publishes whose callers have been told `unknown`. A connection on which one is very
    /// late is replaced; not during an alarm: a new one would learn of it only by holding a message too.
    fn look(&mut self) {
        let (now, link) = (Instant::now(), self.confirm.link());
        let late = self.deadlines.values().filter(|deadline| **deadline < now);
        let late = self.count(late.count());
        let very_late = |deadline: &Instant| *deadline + LATEST < now;
        if late > 0 && !link.is_blocked() && self.deadlines.values().any(very_late) {
            link.retire("a confirm is very late");
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

impl Settled {
    /// Tells the verdict on the message, or that it is lost.
    fn tell(self, link: &Link) {
        tell(self.ending, Ending::Written(self.verdict.map_err(|error| lost(link, error))));
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// Tells a caller how its publish ended.
pub(super) fn tell(caller: oneshot::Sender<Ending>, ending: Ending) {
    // Nobody may be waiting any more.
    let _gone = caller.send(ending);
}

/// What a shared channel's end leaves of a publish: whose fault it was is not known.
pub(super) fn lost(link: &Link, error: Error) -> Error {
    match error {
        verdict @ (Error::Unroutable { .. } | Error::Rejected) => verdict,
        other => Error::Unknown(Cause::Lost { reason: other.to_string(), repeatable: !link.is_blocked() }),
    }
}

fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}
