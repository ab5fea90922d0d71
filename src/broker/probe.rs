//! Checks RabbitMQ for health checks: reads, never writes, at most once a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::connection::Connections;
use super::error::{Cause, Error};
use super::topology::inspect;
use crate::domain::names::QueueName;
use crate::domain::topology::QueueState;

/// How long the result of a check is reused.
const FRESH: Duration = Duration::from_secs(1);
/// The deadline of a check.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of a check of RabbitMQ.
#[derive(Debug, Clone)]
pub struct Look {
    /// Time to open a channel, or the reason why RabbitMQ did not answer.
    pub round_trip: Result<Duration, Error>,
    /// Counts of each requested queue.
    pub queues: BTreeMap<QueueName, Result<QueueState, Error>>,
}

/// Checks RabbitMQ over its own connection, so that neither an alarm nor a slow queue delays the check.
pub(super) struct Probe {
    connections: Connections,
    last: Mutex<Option<(Instant, Look)>>,
}

impl Probe {
    pub(super) fn new(connections: Connections) -> Self {
        Self { connections, last: Mutex::new(None) }
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The last result if it is fresh and includes all these queues, else a new one. Concurrent callers share one check.
    pub(super) async fn look(&self, queues: &[QueueName]) -> Look {
        let deadline = Instant::now() + LOOK_TIMEOUT;
        let Ok(mut last) = timeout_at(deadline, self.last.lock()).await else {
            return Look::failed(queues, &Error::Unknown(Cause::Silence));
        };
        if let Some((at, look)) = &mut *last
            && at.elapsed() < FRESH
        {
            self.complete(look, queues, deadline).await;
            return look.clone();
        }
        let mut look = Look { round_trip: self.round_trip(deadline).await, queues: BTreeMap::new() };
        self.complete(&mut look, queues, deadline).await;
        *last = Some((Instant::now(), look.clone()));
        look
    }

    async fn round_trip(&self, deadline: Instant) -> Result<Duration, Error> {
        let connection = self.connections.wait(deadline.min(Instant::now() + FRESH / 2)).await?;
        let start = Instant::now();
        let opened = timeout_at(deadline, connection.lapin().create_channel()).await;
        opened
            .map_err(|_| Error::Unknown(Cause::Silence))?
            .map_err(|error| connection.not_opened(Error::from(error)))?;
        Ok(start.elapsed())
    }

    /// Adds the queues that the result does not include yet.
    async fn complete(&self, look: &mut Look, queues: &[QueueName], deadline: Instant) {
        for queue in queues {
            if !look.queues.contains_key(queue) {
                let state = match &look.round_trip {
                    Ok(_) => self.counts(queue, deadline).await,
                    Err(error) => Err(error.clone()),
                };
                look.queues.insert(queue.clone(), state);
            }
        }
    }

    async fn counts(&self, queue: &QueueName, deadline: Instant) -> Result<QueueState, Error> {
        let connection: Arc<_> = self.connections.wait(deadline).await?;
        let _user = connection.users().token();
        let (asked, queue) = (Arc::clone(&connection), queue.clone());
        let ask = async move { inspect(asked.lapin().create_channel().await?, queue).await };
        let answer = timeout_at(deadline, Arc::clone(&connection).finish(ask)).await;
        answer.unwrap_or(Err(Error::Unknown(Cause::Silence)))
    }
}

impl Look {
    fn failed(queues: &[QueueName], error: &Error) -> Self {
        let queues = queues.iter().map(|queue| (queue.clone(), Err(error.clone()))).collect();
        Self { round_trip: Err(error.clone()), queues }
    }
}
