//! The owned channel that a queue's messages arrive on. It hands each event to the worker of the queue, and writes its frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::BasicProperties;
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::deliver::Deliver;
use crate::broker::convert;
use crate::broker::error::Error;
use crate::broker::wire::{
    BASIC_CANCEL, BASIC_CANCEL_OK, BASIC_CONSUME_OK, BASIC_DELIVER, BASIC_QOS_OK, Batch, End, Malformed,
    Outlet, Owner, Step, method_of,
};
use crate::domain::message::Delivery;

/// Bytes that are reserved when the header of a body arrives. A larger body grows as its bytes arrive.
const RESERVED: usize = 64 * 1024;

/// A message that has arrived, with its room in the budget of leased bytes.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) tag: u64,
    pub(super) delivery: Delivery,
    /// Bytes of its properties, headers and body.
    pub(super) bytes: usize,
    pub(super) room: OwnedSemaphorePermit,
}

/// What RabbitMQ has sent on the channel.
#[derive(Debug)]
pub(super) enum Event {
    QosOk,
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
    arriving: Arriving,
}

/// The state of the delivery that is being read.
#[derive(Default)]
enum Arriving {
    #[default]
    Nothing,
    /// The method has arrived, and the header is missing.
    Announced(Deliver),
    /// The number of missing bytes of a body that does not fit.
    Skipped { rest: u64 },
    /// A message whose body is not complete.
    Body(Box<ArrivingBody>),
}

struct ArrivingBody {
    deliver: Deliver,
    properties: BasicProperties,
    body: Vec<u8>,
    rest: u64,
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

    fn finish(&self, arriving: ArrivingBody) {
        let ArrivingBody { deliver, properties, body, bytes, room, .. } = arriving;
        let message = convert::received(&properties, Bytes::from(body));
        let Deliver { tag, redelivered, exchange, routing_key } = deliver;
        let delivery = Delivery { redelivered, exchange, routing_key, message };
        self.tell(Event::Delivery(Box::new(Arrived { tag, delivery, bytes, room })));
    }
}

impl Owner for LeaseChannel {
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        match method_of(frame) {
            Some(BASIC_DELIVER) => self.lock().arriving = Arriving::Announced(Deliver::read(frame)?),
            Some(BASIC_QOS_OK) => self.tell(Event::QosOk),
            Some(BASIC_CONSUME_OK) => self.tell(Event::ConsumeOk),
            Some(BASIC_CANCEL_OK) => self.tell(Event::CancelOk),
            Some(BASIC_CANCEL) => self.tell(Event::Cancelled),
            _ => return Err(Malformed::Frame("a lease channel does not expect this method")),
        }
        Ok(())
    }

    fn header(&self, frame: &[u8]) -> Result<(), Malformed> {
        let mut state = self.lock();
        let Arriving::Announced(deliver) = std::mem::take(&mut state.arriving) else {
            return Err(Malformed::Frame("a content header comes without its delivery"));
        };
        let Ok((_, AMQPFrame::Header(_, header))) = parse_frame(frame) else {
            return Err(Malformed::Frame("the content header of a delivery cannot be read"));
        };
        let rest = header.body_size;
        let size = usize::try_from(rest).unwrap_or(usize::MAX);
        let bytes = frame.len().saturating_add(size);
        let room = u32::try_from(bytes).ok().and_then(|n| self.budget.clone().try_acquire_many_owned(n).ok());
        let Some(room) = room else {
            state.arriving = if rest > 0 { Arriving::Skipped { rest } } else { Arriving::Nothing };
            self.tell(Event::TooLarge { tag: deliver.tag, bytes });
            return Ok(());
        };
        let (properties, body) = (header.properties, Vec::with_capacity(size.min(RESERVED)));
        let arriving = ArrivingBody { deliver, properties, body, rest, bytes, room };
        if rest > 0 {
            state.arriving = Arriving::Body(Box::new(arriving));
        } else {
            drop(state);
            self.finish(arriving);
        }
        Ok(())
    }

    fn body(&self, payload: &[u8]) -> Result<(), Malformed> {
        let too_long = Malformed::Frame("a body is longer than its header says");
        let mut state = self.lock();
        match &mut state.arriving {
            Arriving::Skipped { rest } => {
                *rest = rest.checked_sub(payload.len() as u64).ok_or(too_long)?;
                Ok(())
            }
            Arriving::Body(arriving) => {
                arriving.rest = arriving.rest.checked_sub(payload.len() as u64).ok_or(too_long)?;
                arriving.body.extend_from_slice(payload);
                if arriving.rest == 0
                    && let Arriving::Body(arriving) = std::mem::take(&mut state.arriving)
                {
                    drop(state);
                    self.finish(*arriving);
                }
                Ok(())
            }
            Arriving::Nothing | Arriving::Announced(_) => {
                Err(Malformed::Frame("a body comes without its header"))
            }
        }
    }

    fn write(&self, batch: &mut Batch) -> Step {
        let mut state = self.lock();
        batch.buffer().append(&mut state.frames);
        state.is_queued = false;
        Step::Done
    }

    /// The gateway does not publish on the channel.
    fn blocked(&self) {}

    fn closed(&self, end: &End) {
        self.tell(Event::Closed(match end {
            End::ChannelClosed(close) => Error::of_channel_close(close.code, &close.text),
            End::ConnectionClosed(close) => Error::of_connection_close(close.code, &close.text),
            End::CloseOk => Error::lost("the gateway closed the channel"),
            End::ConnectionLost => Error::gone(),
        }));
    }
}
