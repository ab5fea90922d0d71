//! The owned channel that consumes from the reply queue: it gives each reply to its caller.
//!
//! A reply without a waiting caller is counted and skipped, and its body is not kept: every client that may publish to
//! the reply queue chooses these bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::BasicProperties;
use bytes::Bytes;
use prometheus::IntCounter;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::reply_queue::{Reply, ReplyQueue};
use crate::broker::convert;
use crate::broker::error::Error;
use crate::broker::wire::{
    BASIC_CANCEL, BASIC_CONSUME_OK, BASIC_DELIVER, Batch, ConsumerKind, End, Malformed, Outlet, Owner, Step,
    method_of, push_consume,
};

/// The consumer's tag; it is the only consumer on its channel.
const CONSUMER_TAG: &str = "replies";
/// Bytes that are reserved when the header of a body arrives. A larger body grows as its bytes arrive.
const RESERVED: usize = 64 * 1024;

/// The owner of the reply channel.
pub(super) struct ReplyChannel {
    queue: Arc<ReplyQueue>,
    outlet: Outlet,
    unmatched: IntCounter,
    state: Mutex<State>,
    lost: CancellationToken,
}

#[derive(Default)]
struct State {
    /// The `basic.consume` that is to be written.
    consume: Vec<u8>,
    /// Notified when RabbitMQ has answered the `basic.consume`.
    consuming: Option<oneshot::Sender<Result<(), Error>>>,
    arriving: Arriving,
}

/// The state of the delivery that is being read.
#[derive(Default)]
enum Arriving {
    #[default]
    Nothing,
    /// The method has arrived, and the header is missing.
    Announced,
    /// The number of missing bytes of a body without a caller.
    Skipped { rest: u64 },
    /// A reply whose body is not complete.
    Body(Box<ArrivingReply>),
}

struct ArrivingReply {
    caller: oneshot::Sender<Reply>,
    properties: BasicProperties,
    body: Vec<u8>,
    rest: u64,
}

impl ReplyChannel {
    /// The owner of a channel on which the gateway has just declared this queue.
    pub(super) fn new(queue: Arc<ReplyQueue>, outlet: Outlet, unmatched: IntCounter) -> Arc<Self> {
        let (state, lost) = (Mutex::default(), CancellationToken::new());
        Arc::new(Self { queue, outlet, unmatched, state, lost })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue that the channel consumes from.
    pub(super) fn queue(&self) -> &Arc<ReplyQueue> {
        &self.queue
    }

    /// Starts the consumer.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or the end of the connection.
    pub(super) async fn consume(self: &Arc<Self>) -> Result<(), Error> {
        let (consuming, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            let (channel, queue) = (self.outlet.channel(), self.queue.name());
            push_consume(
                &mut state.consume,
                channel,
                queue,
                CONSUMER_TAG,
                ConsumerKind::ExclusiveWithoutAcks,
            );
            state.consuming = Some(consuming);
        }
        if self.lost.is_cancelled() {
            return Err(Error::gone());
        }
        self.outlet.has_work(Arc::clone(self) as Arc<dyn Owner>);
        answer.await.unwrap_or_else(|_| Err(Error::gone()))
    }

    /// Resolves when the queue, its channel or its connection is lost.
    pub(super) async fn until_lost(&self) {
        self.lost.cancelled().await;
    }

    fn lose(&self, error: Error) {
        let consuming = {
            let mut state = self.lock();
            // This also drops the sender of a reply that has arrived in part, which tells its caller.
            state.arriving = Arriving::Nothing;
            state.consuming.take()
        };
        self.lost.cancel();
        if let Some(consuming) = consuming {
            let _gone = consuming.send(Err(error));
        }
    }

    fn deliver(&self, reply: ArrivingReply) {
        let ArrivingReply { caller, properties, body, .. } = reply;
        if caller.send(convert::received(&properties, Bytes::from(body))).is_err() {
            self.unmatched.inc();
        }
    }
}

impl Owner for ReplyChannel {
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        match method_of(frame) {
            Some(BASIC_DELIVER) => self.lock().arriving = Arriving::Announced,
            Some(BASIC_CONSUME_OK) => {
                if let Some(consuming) = self.lock().consuming.take() {
                    let _gone = consuming.send(Ok(()));
                }
            }
            Some(BASIC_CANCEL) => self.lose(Error::lost("RabbitMQ cancelled the consumer")),
            _ => return Err(Malformed::Frame("the reply channel does not expect this method")),
        }
        Ok(())
    }

    fn header(&self, frame: &[u8]) -> Result<(), Malformed> {
        let mut state = self.lock();
        if !matches!(state.arriving, Arriving::Announced) {
            return Err(Malformed::Frame("a content header comes without its delivery"));
        }
        let Ok((_, AMQPFrame::Header(_, header))) = parse_frame(frame) else {
            return Err(Malformed::Frame("the content header of a reply cannot be read"));
        };
        let (properties, rest) = (header.properties, header.body_size);
        let id = properties.correlation_id().as_ref();
        let Some(caller) = id.and_then(|id| self.queue.take_caller(id.as_str())) else {
            self.unmatched.inc();
            state.arriving = Arriving::Skipped { rest };
            return Ok(());
        };
        let size = usize::try_from(rest).unwrap_or(usize::MAX);
        let reply = ArrivingReply { caller, properties, body: Vec::with_capacity(size.min(RESERVED)), rest };
        if rest > 0 {
            state.arriving = Arriving::Body(Box::new(reply));
        } else {
            state.arriving = Arriving::Nothing;
            drop(state);
            self.deliver(reply);
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
            Arriving::Body(reply) => {
                reply.rest = reply.rest.checked_sub(payload.len() as u64).ok_or(too_long)?;
                reply.body.extend_from_slice(payload);
                if reply.rest == 0
                    && let Arriving::Body(reply) = std::mem::take(&mut state.arriving)
                {
                    drop(state);
                    self.deliver(*reply);
                }
                Ok(())
            }
            Arriving::Nothing | Arriving::Announced => {
                Err(Malformed::Frame("a body comes without its header"))
            }
        }
    }

    fn write(&self, batch: &mut Batch) -> Step {
        batch.buffer().append(&mut self.lock().consume);
        Step::Done
    }

    /// The gateway does not publish on the reply channel.
    fn blocked(&self) {}

    fn closed(&self, end: &End) {
        self.lose(match end {
            End::ChannelClosed(close) => Error::of_channel_close(close.code, &close.text),
            End::ConnectionClosed(close) => Error::of_connection_close(close.code, &close.text),
            End::CloseOk => Error::lost("the gateway closed the channel"),
            End::ConnectionLost => Error::gone(),
        });
    }
}
