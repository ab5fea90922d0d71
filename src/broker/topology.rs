//! Declares, inspects, purges and deletes queues; declares, inspects, deletes and binds exchanges; all on separate connections.
//!
//! Each operation has its own channel, since RabbitMQ answers a mistake by closing the channel. Operations that can take
//! long, or can make RabbitMQ close the whole connection, run alone on a connection, so no other operation waits for
//! them. The gateway repeats an operation after a lost connection if a repetition does no harm.

mod alone;
mod answer_too_long;
mod argument_at_fault;
mod consumable;
mod document;
mod each;
mod exchange_methods;
mod exchanges;
mod file;
mod frame_size;
mod methods;
mod operation;
mod pair;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::Channel;
use tokio::time::Instant;

use self::alone::Alone;
use self::answer_too_long::explain_look_at_queue;
use self::argument_at_fault::attribute_to_argument;
pub use self::document::{DocumentFailure, ItemResults};
pub(super) use self::file::KeptFile;
pub use self::file::TopologyFileState;
use self::frame_size::check_queue;
pub(super) use self::methods::inspect;
use self::methods::{declare, delete, purge};
use self::operation::Operation;
use self::stream::is_stream;
use super::connection::{Connections, Connector, Role};
use super::error::{Error, Refusal};
use super::publish::Destinations;
use super::{RoleState, overflow};
use crate::domain::names::QueueName;
use crate::domain::topology::{DeleteConditions, QueueDeclaration, QueueState};
use crate::lifecycle::Lifecycle;

/// The topology operations. Each fails with [`Error::Refused`] if RabbitMQ refuses it, or with the reason for the missing
/// answer.
pub struct Topology {
    connections: Connections,
    /// Purges, and deletions under conditions.
    removals: Alone,
    /// Declarations with arguments that the gateway does not know, and other operations that can make RabbitMQ close the
    /// connection.
    declarations: Alone,
    /// Receives each exchange that the gateway has declared.
    destinations: Arc<Destinations>,
    lifecycle: Lifecycle,
}

impl Topology {
    /// Dials the shared connection of topology operations.
    pub(super) fn new(
        connector: &Connector,
        alone_connections: usize,
        destinations: &Arc<Destinations>,
        lifecycle: &Lifecycle,
    ) -> Self {
        Self {
            connections: connector.start(Role::Topology, 0, 1),
            removals: Alone::new(connector.clone(), Role::Removal, alone_connections, lifecycle),
            declarations: Alone::new(connector.clone(), Role::Declaration, alone_connections, lifecycle),
            destinations: Arc::clone(destinations),
            lifecycle: lifecycle.clone(),
        }
    }

    /// The shared connection, for its state and for stopping it.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The state of the connections of operations that run alone.
    pub(super) fn alone(&self) -> [RoleState; 2] {
        [&self.removals, &self.declarations].map(Alone::state)
    }

    /// Closes the connections of operations that run alone.
    pub(super) fn stop(&self) {
        self.removals.stop();
        self.declarations.stop();
    }

    fn operation(&self, deadline: Instant) -> Operation {
        Operation { deadline, lifecycle: self.lifecycle.clone() }
    }

    /// Repeats an operation until RabbitMQ answers it. The operation runs alone if it can make RabbitMQ close the
    /// connection.
    async fn repeat<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        deadline: Instant,
        is_alone: bool,
        methods: impl Fn(Channel) -> F + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let operation = self.operation(deadline);
        if !is_alone {
            return operation.repeat(&self.connections, methods).await;
        }
        let work =
            |connections: Arc<Connections>| async move { operation.repeat(&connections, methods).await };
        self.declarations.run(deadline, work).await
    }

    /// Returns the counts of a queue.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`] and others.
    pub async fn inspect(&self, name: &QueueName, deadline: Instant) -> Result<QueueState, Error> {
        let (is_alone, owned) = (overflow::of_queue(name.as_str()), name.clone());
        let looked = self.repeat(deadline, is_alone, move |channel| inspect(channel, owned.clone())).await;
        looked.map_err(|error| explain_look_at_queue(error, name))
    }

    /// Declares a queue and its dead-letter pair. True when the queue was not there before. After a refusal the pair is
    /// deleted again.
    ///
    /// # Errors
    /// [`Refusal::Differs`] if the queue exists with other arguments, and others.
    pub async fn declare(
        &self,
        queue: &QueueDeclaration,
        deadline: Instant,
    ) -> Result<(bool, QueueState), Error> {
        check_queue(queue, self.connections.wait(deadline).await?.frame_max())?;
        let is_there = self.is_there(&queue.name, deadline).await?;
        let absent = self.absent_of(queue.dead_letter_pair.as_ref(), deadline).await?;
        let is_alone = queue.has_unknown_arguments || overflow::of_declaration(queue);
        let (owned, makes_pair) = (queue.clone(), Arc::<AtomicBool>::default());
        let makes = Arc::clone(&makes_pair);
        let methods = move |channel| declare(channel, owned.clone(), is_there, Arc::clone(&makes));
        let declared = self.repeat(deadline, is_alone, methods).await;
        match declared
            .map_err(|error| if is_alone { attribute_to_argument(error, &queue.arguments) } else { error })
        {
            Ok(state) => {
                if let Some(pair) = &queue.dead_letter_pair {
                    self.destinations.declared(&pair.exchange);
                }
                Ok((!is_there, state))
            }
            Err(Error::Refused(refusal)) if makes_pair.load(Ordering::Relaxed) => {
                let remains = self.take_back(queue, absent, is_there, deadline).await;
                Err(Error::Refused(refusal.with_remains(&remains)))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a queue exists.
    async fn is_there(&self, name: &QueueName, deadline: Instant) -> Result<bool, Error> {
        is_there(self.inspect(name, deadline).await.map(|_| ()))
    }

    /// Deletes a queue. Returns the number of ready messages that were deleted with it.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`], [`Refusal::InUse`] if a condition does not hold, and others.
    pub async fn delete(
        &self,
        name: &QueueName,
        conditions: DeleteConditions,
        deadline: Instant,
    ) -> Result<u32, Error> {
        // RabbitMQ answers the deletion of a missing queue with success.
        self.inspect(name, deadline).await?;
        let operation = self.operation(deadline);
        if !conditions.any() && !overflow::of_queue(name.as_str()) {
            return operation
                .once(&self.connections, |channel| delete(channel, name.clone(), conditions))
                .await;
        }
        let name = name.clone();
        let work = |connections: Arc<Connections>| async move {
            if conditions.any()
                && operation.repeat(&connections, |channel| is_stream(channel, name.clone())).await?
            {
                let reason = "a stream cannot be deleted under conditions".to_owned();
                return Err(Error::Refused(Refusal::NotSupported { reason }));
            }
            operation.once(&connections, |channel| delete(channel, name.clone(), conditions)).await
        };
        self.removals.run(deadline, work).await
    }

    /// Empties a queue. Returns the number of ready messages that it held.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`], [`Refusal::NotSupported`] and others.
    pub async fn purge(&self, name: &QueueName, deadline: Instant) -> Result<u32, Error> {
        if overflow::of_queue(name.as_str()) {
            self.inspect(name, deadline).await?;
        }
        let (operation, name) = (self.operation(deadline), name.clone());
        let work = |connections: Arc<Connections>| async move {
            operation.once(&connections, |channel| purge(channel, name.clone())).await
        };
        self.removals.run(deadline, work).await
    }
}

/// Whether the queue or exchange exists, by the answer to a look at it.
fn is_there(looked: Result<(), Error>) -> Result<bool, Error> {
    match looked {
        Ok(()) => Ok(true),
        Err(Error::Refused(Refusal::QueueMissing { .. } | Refusal::ExchangeMissing { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}
