//! One attempt to publish: hands a message in to a channel and waits for RabbitMQ's answer.
//!
//! A message that a channel hands back unwritten is handed in again, within the same attempt.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::destinations::{Destinations, Route};
use super::lane::Lane;
use super::lanes::Lanes;
use super::sequence::Place;
use super::{Publish, Publisher};
use crate::broker::channels::{NotWritten, WindowPermit, WriteResult};
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Error, Unavailable};

impl Publisher {
    /// Hands a message in until a channel keeps it, on the lanes that the state of its destination selects, and returns
    /// RabbitMQ's answer. The message is isolated if it is resent, or if its id is in flight on the channel that it was
    /// handed to.
    pub(super) async fn attempt(
        &self,
        publish: &Publish,
        place: Option<&Place>,
        is_resent: bool,
    ) -> Result<(), Error> {
        let mut must_be_isolated = is_resent;
        loop {
            // This check spares the message the wait for a permit, and an alarm that begins later ends that wait. The
            // check in `PublishChannel::hand_in` decides: it holds the lock of the channel.
            if self.blocked().is_some() {
                return Err(Error::NotSent(Unavailable::Blocked));
            }
            self.wait_for_turn(publish, place).await?;
            let (destination, route) = self.destinations.route(publish, must_be_isolated)?;
            let result = match route {
                Route::Shared => self.write(publish, place, destination, &self.shared).await?,
                // Boxed because this future is large and rarely needed.
                Route::Isolated => {
                    Box::pin(self.write_unless_refused(publish, place, destination, &self.isolated)).await?
                }
                Route::Slow { lanes, is_isolated: true } | Route::Hazardous(lanes) => {
                    Box::pin(self.write_unless_refused(publish, place, destination, &lanes.isolated)).await?
                }
                Route::Slow { lanes, is_isolated: false } => {
                    Box::pin(self.write(publish, place, destination, lanes.shared())).await?
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
        place: Option<&Place>,
        destination: KnownDestination,
        lanes: &Lanes,
    ) -> Result<WriteResult, Error> {
        let wait = self.destinations.wait_while_refused(&publish.destination.exchange, publish.deadline);
        let waiters = lanes.connections().wait_before_write(publish.deadline, wait).await?;
        let result = self.write(publish, place, destination, lanes).await;
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
        place: Option<&Place>,
        destination: KnownDestination,
        lanes: &Lanes,
    ) -> Result<WriteResult, Error> {
        let Some((lane, permit)) = self.reserve(publish, place, lanes).await? else {
            return if self.closing.is_cancelled() {
                Err(Error::NotSent(Unavailable::ShuttingDown))
            } else {
                // The destination is no longer slow, so its lanes are closed; or earlier messages now have their results.
                Ok(WriteResult::NotWritten(NotWritten::Closed))
            };
        };
        let (begun, _in_flight) = (Instant::now(), self.in_flight.token());
        if !publish.begin_attempt() {
            return Err(Error::NotSent(Unavailable::ShuttingDown));
        }
        let handed_in = || place.into_iter().for_each(|place| place.handed_in(&lane));
        let result = lane.publish(publish, destination, permit, handed_in).await;
        match &result {
            WriteResult::Written(answer) => {
                self.measure(begun, answer);
                self.destinations.learn(publish, begun, answer);
                if let (Some(place), Err(error)) = (place, answer) {
                    place.refuse_waiting(begun, error);
                }
            }
            WriteResult::NotWritten(_) => {
                publish.take_attempt_back();
                place.into_iter().for_each(Place::take_again);
            }
        }
        Ok(result)
    }

    /// Waits until the earlier messages of its sequence are handed in, if it belongs to one.
    async fn wait_for_turn(&self, publish: &Publish, place: Option<&Place>) -> Result<(), Error> {
        let Some(place) = place else { return Ok(()) };
        let connections = self.shared.connections();
        if Instant::now() >= publish.deadline {
            return Err(connections.why_busy());
        }
        if place.is_first() {
            return Ok(());
        }
        // Boxed because this future is large and rarely needed.
        Box::pin(connections.wait_before_write(publish.deadline, place.turn())).await
    }

    /// Waits for a permit on one of these lanes; `None` if the lanes have to be selected again. As long as earlier messages of
    /// its sequence have no result, their lane is the only one.
    async fn reserve(
        &self,
        publish: &Publish,
        place: Option<&Place>,
        lanes: &Lanes,
    ) -> Result<Option<(Arc<Lane>, WindowPermit)>, Error> {
        let (need, deadline) = ((publish.message.body.len(), &publish.holder), publish.deadline);
        if let Some(place) = place
            && let Some(lane) = place.lane()
        {
            if let Some(permit) = lanes.reserve_on(&lane, need, deadline).await? {
                return Ok(Some((lane, permit)));
            }
            let settled = place.until_settled().map(Ok);
            Box::pin(lanes.connections().wait_before_write(deadline, settled)).await?;
            // The results may have changed the state of the destination, so the lanes are selected again.
            return Ok(None);
        }
        lanes.reserve(need, deadline).await
    }

    /// Measures how long RabbitMQ took to answer.
    fn measure(&self, begun: Instant, answer: &Result<(), Error>) {
        if !matches!(answer, Err(Error::Unknown(_))) {
            self.metrics.confirm_seconds.observe(begun.elapsed().as_secs_f64());
        }
    }
}
