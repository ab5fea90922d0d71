//! One attempt to publish: hands a message in to a channel and waits for RabbitMQ's answer.
//!
//! A message that a channel hands back unwritten is handed in again, within the same attempt.

use tokio::time::Instant;

use super::destinations::{Destinations, Route};
use super::lanes::Lanes;
use super::{Publish, Publisher};
use crate::broker::channels::{NotWritten, WriteResult};
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Error, Unavailable};

impl Publisher {
    /// Hands a message in until a channel keeps it, on the lanes that the state of its destination selects, and returns
    /// RabbitMQ's answer. The message is isolated if it is resent, or if its id is in flight on the channel that it was
    /// handed to.
    pub(super) async fn attempt(&self, publish: &Publish, is_resent: bool) -> Result<(), Error> {
        let mut must_be_isolated = is_resent;
        loop {
            // This check spares the message the wait for a permit, and an alarm that begins later ends that wait. The
            // check in `PublishChannel::hand_in` decides: it holds the lock of the channel.
            if self.blocked().is_some() {
                return Err(Error::NotSent(Unavailable::Blocked));
            }
            let (destination, route) = self.destinations.route(publish, must_be_isolated)?;
            let result = match route {
                Route::Shared => self.write(publish, destination, &self.shared).await?,
                // Boxed because this future is large and rarely needed.
                Route::Isolated => {
                    Box::pin(self.write_unless_refused(publish, destination, &self.isolated)).await?
                }
                Route::Slow { lanes, is_isolated: true } | Route::Hazardous(lanes) => {
                    Box::pin(self.write_unless_refused(publish, destination, &lanes.isolated)).await?
                }
                Route::Slow { lanes, is_isolated: false } => {
                    Box::pin(self.write(publish, destination, lanes.shared())).await?
                }
            };
            match result {
                WriteResult::Written(answer) => return answer,
                WriteResult::NotWritten(NotWritten::SameId) => must_be_isolated = true,
                WriteResult::NotWritten(NotWritten::Blocked) => {
                    return Err(Error::NotSent(Unavailable::Blocked));
                }
                WriteResult::NotWritten(NotWritten::Closed) => {}
                WriteResult::NotWritten(NotWritten::Refused(refusal)) => return Err(Error::Refused(refusal)),
            }
        }
    }

    /// Writes a message on an isolated lane. While RabbitMQ refuses the exchange, the message waits, and is not written
    /// if RabbitMQ refuses another caller's message meanwhile: that answer is its answer too.
    async fn write_unless_refused(
        &self,
        publish: &Publish,
        destination: KnownDestination,
        lanes: &Lanes,
    ) -> Result<WriteResult, Error> {
        let wait = self.destinations.wait_while_refused(&publish.destination.exchange, publish.deadline);
        let waiters = lanes.connections().wait_before_write(publish.deadline, wait).await?;
        let result = self.write(publish, destination, lanes).await;
        match &result {
            Ok(WriteResult::Written(Err(error))) | Err(error) => {
                Destinations::answer_waiters(waiters.as_ref(), error);
            }
            Ok(_) => {}
        }
        result
    }

    /// Hands a message in once, on one of these lanes, and waits for RabbitMQ's answer.
    async fn write(
        &self,
        publish: &Publish,
        destination: KnownDestination,
        lanes: &Lanes,
    ) -> Result<WriteResult, Error> {
        let Some((lane, permit)) = lanes.reserve(publish.message.body.len(), publish.deadline).await? else {
            return if self.closing.is_cancelled() {
                Err(Error::NotSent(Unavailable::ShuttingDown))
            } else {
                // The destination is no longer slow, so its lanes are closed.
                Ok(WriteResult::NotWritten(NotWritten::Closed))
            };
        };
        let (begun, _in_flight) = (Instant::now(), self.in_flight.token());
        publish.begin_attempt();
        let result = lane.publish(publish, destination, permit).await;
        match &result {
            WriteResult::Written(answer) => {
                self.measure(begun, answer);
                self.destinations.learn(publish, begun, answer);
            }
            WriteResult::NotWritten(_) => publish.take_attempt_back(),
        }
        Ok(result)
    }

    /// Measures how long RabbitMQ took to answer.
    fn measure(&self, begun: Instant, answer: &Result<(), Error>) {
        if !matches!(answer, Err(Error::Unknown(_))) {
            self.metrics.confirm_seconds.observe(begun.elapsed().as_secs_f64());
        }
    }
}
