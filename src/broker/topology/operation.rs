//! One operation: its channel, its deadline, and how it is repeated after a lost connection.

use std::sync::Arc;

use lapin::Channel;
use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::connection::Connection;
use crate::broker::connection::{Connections, REOPEN_PAUSE};
use crate::broker::error::{Cause, Error, Unavailable};
use crate::lifecycle::Lifecycle;

/// An operation, with the deadline of its caller.
pub(super) struct Operation {
    pub(super) deadline: Instant,
    pub(super) lifecycle: Lifecycle,
}

impl Operation {
    /// Runs methods that may run twice without harm, until RabbitMQ answers.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or the reason for the missing answer.
    pub(super) async fn repeat<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        connections: &Connections,
        methods: impl Fn(Channel) -> F,
    ) -> Result<T, Error> {
        loop {
            match self.once(connections, &methods).await {
                Err(Error::Unknown(Cause::Lost { repeatable: true, .. }))
                    if Instant::now() < self.deadline => {}
                answer => return answer,
            }
        }
    }

    /// Runs the methods once.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or the reason for the missing answer.
    pub(super) async fn once<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        connections: &Connections,
        methods: impl Fn(Channel) -> F,
    ) -> Result<T, Error> {
        let opened = tokio::select! {
            biased;
            opened = self.open(connections) => opened,
            () = self.lifecycle.aborting() => Err(Error::NotSent(Unavailable::ShuttingDown)),
        };
        let (connection, channel) = opened?;
        let _user = connection.users().token();
        let mut number = ChannelNumber { connection: &connection, is_good: false };
        let answer = tokio::select! {
            biased;
            answer = timeout_at(self.deadline, Arc::clone(&connection).finish(methods(channel))) => {
                answer.unwrap_or(Err(Error::Unknown(Cause::Silence)))
            }
            () = self.lifecycle.aborting() => Err(Error::Unknown(Cause::Stopped)),
        };
        number.is_good = answer.is_ok();
        answer
    }

    /// Opens a channel, which closes itself when dropped.
    async fn open(&self, connections: &Connections) -> Result<(Arc<Connection>, Channel), Error> {
        loop {
            let connection = connections.wait(self.deadline).await?;
            let dialled = Arc::clone(&connection);
            let opening = Arc::clone(&connection).finish(async move { Ok(dialled.open_channel().await?) });
            let opened = timeout_at(self.deadline, opening).await;
            match opened {
                Ok(Ok(channel)) => return Ok((connection, channel)),
                Ok(Err(error)) => {
                    connection.not_opened(error);
                    sleep(REOPEN_PAUSE).await;
                }
                Err(_) => return Err(Error::NotSent(Unavailable::NoConnection)),
            }
        }
    }
}

/// The number of an operation's channel, until the operation ends or its caller leaves.
struct ChannelNumber<'a> {
    connection: &'a Connection,
    /// Whether RabbitMQ did the operation and left the channel open.
    is_good: bool,
}

impl Drop for ChannelNumber<'_> {
    fn drop(&mut self) {
        if !self.is_good {
            self.connection.numbers().lose_one();
        }
    }
}
