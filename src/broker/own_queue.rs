//! A queue of the gateway's own: exclusive, deleted with its consumer, and named by RabbitMQ. The gateway is its only consumer.
//!
//! Every client that may publish to the default exchange chooses the bytes that come here. So the receiver decides by the header
//! whether a message is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable as AmqpTable;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::convert::{received, short_string};
use super::error::Error;
use super::lapin_compat::until_noticed;
use super::wire::{
    Assembled, Assembly, BASIC_CANCEL, BASIC_CONSUME_OK, BASIC_DELIVER, Batch, ConsumerKind, ContentHeader,
    End, Malformed, Outlet, Owner, Step, method_of, push_consume,
};
use crate::domain::message::ReceivedMessage;

/// The consumer's tag; it is the only consumer on its channel.
const TAG: &str = "rabbitmq-gateway.own";

/// The receiver of the messages of the queue. The router's task calls it; a call must be short and must not block.
pub(super) trait Receiver: Send + Sync + 'static {
    /// The value that is kept of a message until its body is complete.
    type Kept: Send;

    /// Decides by the header of a message whether it is kept.
    fn keep(&self, header: &ContentHeader<'_>) -> Option<Self::Kept>;

    /// Takes a whole message.
    fn receive(&self, kept: Self::Kept, message: ReceivedMessage);
}

/// The owner of the channel that consumes from the queue.
pub(super) struct OwnQueue<R: Receiver> {
    receiver: R,
    outlet: Outlet,
    state: Mutex<State<R::Kept>>,
    lost: CancellationToken,
}

struct State<K> {
    /// The `basic.consume` that is to be written.
    consume: Vec<u8>,
    /// Notified when RabbitMQ has answered the `basic.consume`.
    consuming: Option<oneshot::Sender<Result<(), Error>>>,
    arriving: Assembly<(), K>,
}

/// Declares the queue on a channel of its own and starts its consumer. `receiver` gets the name of the queue. lapin closes the
/// channel when it is dropped.
///
/// # Errors
/// RabbitMQ's refusal, or the end of the connection.
pub(super) async fn open<R: Receiver>(
    connection: &Connection,
    receiver: impl FnOnce(String) -> R,
) -> Result<(Channel, Arc<OwnQueue<R>>), Error> {
    let channel = connection.lapin().create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let declared = channel.queue_declare(short_string(""), exclusive, AmqpTable::default()).await?;
    let name = declared.name().to_string();
    let state = State { consume: Vec::new(), consuming: None, arriving: Assembly::default() };
    let owner = Arc::new(OwnQueue {
        receiver: receiver(name.clone()),
        outlet: connection.router().outlet(channel.id()),
        state: Mutex::new(state),
        lost: CancellationToken::new(),
    });
    connection.router().register(channel.id(), Arc::clone(&owner) as _);
    match owner.consume(&name).await {
        Ok(()) => Ok((channel, owner)),
        Err(error) => {
            until_noticed(&channel).await;
            Err(error)
        }
    }
}

impl<R: Receiver> OwnQueue<R> {
    fn lock(&self) -> MutexGuard<'_, State<R::Kept>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver of the messages.
    pub(super) fn receiver(&self) -> &R {
        &self.receiver
    }

    async fn consume(self: &Arc<Self>, queue: &str) -> Result<(), Error> {
        let (consuming, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            let channel = self.outlet.channel();
            push_consume(&mut state.consume, channel, queue, TAG, ConsumerKind::ExclusiveWithoutAcks);
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
            // This also drops what is kept of a message that has arrived in part.
            state.arriving = Assembly::default();
            state.consuming.take()
        };
        self.lost.cancel();
        if let Some(consuming) = consuming {
            let _gone = consuming.send(Err(error));
        }
    }

    fn receive(&self, message: Option<Assembled<R::Kept>>) {
        if let Some((kept, properties, body)) = message.map(Assembled::into_parts) {
            self.receiver.receive(kept, received(&properties, body));
        }
    }
}

impl<R: Receiver> Owner for OwnQueue<R> {
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        match method_of(frame) {
            Some(BASIC_DELIVER) => self.lock().arriving.begin(()),
            Some(BASIC_CONSUME_OK) => {
                if let Some(consuming) = self.lock().consuming.take() {
                    let _gone = consuming.send(Ok(()));
                }
            }
            Some(BASIC_CANCEL) => self.lose(Error::lost("RabbitMQ cancelled the consumer")),
            _ => return Err(Malformed::Frame("the channel of an own queue does not expect this method")),
        }
        Ok(())
    }

    fn header(&self, frame: &[u8]) -> Result<(), Malformed> {
        let message = self.lock().arriving.header(frame, |(), header| self.receiver.keep(&header))?;
        self.receive(message);
        Ok(())
    }

    fn body(&self, payload: &[u8]) -> Result<(), Malformed> {
        let message = self.lock().arriving.body(payload)?;
        self.receive(message);
        Ok(())
    }

    fn write(&self, batch: &mut Batch) -> Step {
        batch.buffer().append(&mut self.lock().consume);
        Step::Done
    }

    /// The gateway does not publish on the channel.
    fn blocked(&self) {}

    fn closed(&self, end: &End) {
        self.lose(Error::of_end(end));
    }
}
