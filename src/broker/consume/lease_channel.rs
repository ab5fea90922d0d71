//! The owned channel that a queue's messages arrive on. It hands each event to the worker of the queue, and writes its frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::copy::with_first_address;
use super::deliver::Deliver;
use crate::broker::convert;
use crate::broker::error::Error;
use crate::broker::wire::{
    Assembled, Assembly, BASIC_CANCEL, BASIC_CANCEL_OK, BASIC_CONSUME_OK, BASIC_DELIVER, BASIC_QOS_OK, Batch,
    ContentHeader, End, Malformed, Outlet, Owner, Step, TX_COMMIT_OK, TX_SELECT_OK, method_of,
};
use crate::domain::message::Delivery;

/// A message that has arrived, with its room in the budget of leased bytes.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) tag: u64,
    pub(super) delivery: Delivery,
    /// Bytes of its properties, headers and body.
    pub(super) bytes: usize,
    pub(super) room: OwnedSemaphorePermit,
}

/// A method or a message from RabbitMQ on the channel.
#[derive(Debug)]
pub(super) enum Event {
    /// RabbitMQ has given the acks, nacks and rejects before the commit to the queue.
    Committed,
    ConsumeOk,
    CancelOk,
    Delivery(Box<Arrived>),
    /// A message that did not fit the budget of leased bytes; its body was skipped.
    TooLarge {
        tag: u64,
        bytes: usize,
    },
    /// RabbitMQ has cancelled the consumer: its queue is deleted, or has moved.
    Cancelled,
    /// The channel has ended.
    Closed(Error),
}

/// The owner of the channel of a queue. The number of events that wait is bounded by the prefetch count of the consumer.
pub(super) struct LeaseChannel {
    outlet: Outlet,
    events: UnboundedSender<Event>,
    budget: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: Vec<u8>,
    is_queued: bool,
    /// Whether the channel has ended. A later frame on it would end the connection.
    has_ended: bool,
    arriving: Assembly<Deliver, Fitting>,
}

/// A message that fits the budget, until its body is complete.
struct Fitting {
    deliver: Deliver,
    bytes: usize,
    room: OwnedSemaphorePermit,
}

impl LeaseChannel {
    /// The owner of this channel. Bodies take their room from `budget`.
    pub(super) fn new(outlet: Outlet, budget: Arc<Semaphore>) -> (Arc<Self>, UnboundedReceiver<Event>) {
        let (events, receiver) = unbounded_channel();
        (Arc::new(Self { outlet, events, budget, state: Mutex::default() }), receiver)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the frames that `push` appends for this channel number, one after the other.
    pub(super) fn write_frames(self: &Arc<Self>, push: impl FnOnce(&mut Vec<u8>, u16)) {
        let was_queued = {
            let mut state = self.lock();
            if state.has_ended {
                return;
            }
            push(&mut state.frames, self.outlet.channel());
            std::mem::replace(&mut state.is_queued, true)
        };
        if !was_queued {
            self.outlet.has_work(Arc::clone(self) as Arc<dyn Owner>);
        }
    }

    fn tell(&self, event: Event) {
        // The worker of the queue has ended, and the channel is about to be closed.
        let _gone = self.events.send(event);
    }

    /// Takes room for a message, or tells that it does not fit.
    fn fit(&self, deliver: Deliver, header: &ContentHeader<'_>) -> Option<Fitting> {
        let body = usize::try_from(header.body_bytes).unwrap_or(usize::MAX);
        let bytes = header.bytes.saturating_add(body);
        let room = u32::try_from(bytes).ok().and_then(|n| self.budget.clone().try_acquire_many_owned(n).ok());
        if room.is_none() {
            self.tell(Event::TooLarge { tag: deliver.tag, bytes });
        }
        room.map(|room| Fitting { deliver, bytes, room })
    }

    fn finish(&self, assembled: Option<Assembled<Fitting>>) {
        let Some((fitting, properties, body)) = assembled.map(Assembled::into_parts) else { return };
        let Fitting { deliver, bytes, room } = fitting;
        let message = convert::received(&properties, body);
        let Deliver { tag, redelivered, exchange, routing_key } = deliver;
        let delivery = with_first_address(Delivery { redelivered, exchange, routing_key, message });
        self.tell(Event::Delivery(Box::new(Arrived { tag, delivery, bytes, room })));
    }
}

impl Owner for LeaseChannel {
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        match method_of(frame) {
            Some(BASIC_DELIVER) => self.lock().arriving.begin(Deliver::read(frame)?),
            Some(TX_COMMIT_OK) => self.tell(Event::Committed),
            Some(BASIC_QOS_OK | TX_SELECT_OK) => {}
            Some(BASIC_CONSUME_OK) => self.tell(Event::ConsumeOk),
            Some(BASIC_CANCEL_OK) => self.tell(Event::CancelOk),
            Some(BASIC_CANCEL) => self.tell(Event::Cancelled),
            _ => return Err(Malformed::Frame("a lease channel does not expect this method")),
        }
        Ok(())
    }

    fn header(&self, frame: &[u8]) -> Result<(), Malformed> {
        let assembled = self.lock().arriving.header(frame, |deliver, header| self.fit(deliver, &header))?;
        self.finish(assembled);
        Ok(())
    }

    fn body(&self, payload: &[u8]) -> Result<(), Malformed> {
        let assembled = self.lock().arriving.body(payload)?;
        self.finish(assembled);
        Ok(())
    }

    fn write(&self, batch: &mut Batch) -> Step {
        let mut state = self.lock();
        state.is_queued = false;
        if !state.has_ended {
            batch.buffer().append(&mut state.frames);
        }
        Step::Done
    }

    /// The gateway does not publish on the channel.
    fn blocked(&self) {}

    fn closed(&self, end: &End) {
        self.lock().has_ended = true;
        self.tell(Event::Closed(Error::of_end(end)));
    }
}
