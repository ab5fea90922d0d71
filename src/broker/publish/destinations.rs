//! One state for each destination. It answers two questions: which lanes does a message use, and how does RabbitMQ's
//! answer change the state?
//!
//! RabbitMQ closes the channel for a missing exchange, a missing permission or a body over its limit, which ends the
//! publishes of all callers on the channel. So a message travels alone until its exchange has accepted a message within
//! the last minute. A destination whose publishes stay unanswered gets its own connection, see [`super::slow`].

mod exchange_state;
mod refused;
mod route;
mod slow_state;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::exchange_state::ExchangeState;
use self::refused::NextStep;
pub(super) use self::route::Route;
use self::slow_state::SlowState;
use self::table::Table;
use super::Publish;
use super::slow::{SlowConnections, SlowLanes};
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Cause, Error, Refusal, Unavailable};
use crate::broker::overflow;
use crate::domain::message::Destination;
use crate::domain::names::ExchangeName;
use crate::domain::reserved;
use crate::domain::sender_selected;

/// A body size in bytes that RabbitMQ accepts with every sensible setting.
const SMALL_BODY: usize = 4 * 1024;
/// After this time without a publish the gateway forgets a slow destination and closes its connection.
const SLOW_MEMORY: Duration = Duration::from_mins(1);

/// Every destination with a recent publish.
pub(in crate::broker) struct Destinations {
    table: Mutex<Table>,
    slow: Arc<SlowConnections>,
    /// The connection for hazardous messages, which can make RabbitMQ close it, see [`overflow`]. Opened on demand.
    hazardous: OnceLock<Option<Arc<SlowLanes>>>,
    /// The time limit for an answer to be in time.
    slow_after: Duration,
}

impl Destinations {
    /// A table without any destination.
    pub(super) fn new(slow: Arc<SlowConnections>, slow_after: Duration) -> Self {
        Self { table: Mutex::default(), slow, hazardous: OnceLock::new(), slow_after }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Selects the lanes for a message. `must_be_isolated` holds for a resent message, which may have caused the end of
    /// its channel, and for a message whose id is in flight on a shared channel.
    ///
    /// # Errors
    /// [`Unavailable::TooManySlow`] when the destination is slow and no connection is free for it.
    pub(super) fn route(
        &self,
        publish: &Publish,
        must_be_isolated: bool,
    ) -> Result<(KnownDestination, Route), Unavailable> {
        let to = &publish.destination;
        let mut table = self.lock();
        let fits = publish.message.body.len() <= table.largest_body.max(SMALL_BODY);
        let name = publish.routing_name();
        let (destination, exchange) = table.find(&to.exchange, &name);
        if is_hazardous(publish) {
            let lanes = self.hazardous.get_or_init(|| self.slow.open_hazardous()).clone();
            let route = lanes.map_or(Route::Isolated, Route::Hazardous);
            return Ok((destination, route));
        }
        let is_isolated = must_be_isolated || !fits || !exchange.state.is_good(Instant::now());
        let route = match exchange.slow_mut(&name) {
            None if is_isolated => Some(Route::Isolated),
            None => Some(Route::Shared),
            Some(slow) => slow.route(is_isolated, || self.slow.open()),
        };
        let too_many = || Unavailable::TooManySlow { limit: self.slow.limit() };
        Ok((destination, route.ok_or_else(too_many)?))
    }

    /// Waits until a publish to an exchange that RabbitMQ refuses may be written. RabbitMQ is asked once in a pause for
    /// all waiting callers. Returns these callers, if RabbitMQ refuses the exchange. The caller passes RabbitMQ's answer
    /// to [`Self::learn`], and gives it to the waiters.
    ///
    /// # Errors
    /// The answer to another caller's publish, which RabbitMQ was asked for after this call.
    pub(super) async fn wait_while_refused(
        &self,
        exchange: &ExchangeName,
        deadline: Instant,
    ) -> Result<Option<watch::Sender<Option<Error>>>, Error> {
        loop {
            let step = self.lock().refused(exchange).map(|refused| refused.next_step(deadline));
            match step.unwrap_or(NextStep::Publish) {
                NextStep::Publish => return Ok(None),
                NextStep::Ask { at, waiters } => {
                    sleep_until(at).await;
                    return Ok(Some(waiters));
                }
                NextStep::Wait(mut answer) => {
                    if let Ok(answer) = answer.wait_for(Option::is_some).await
                        && let Some(error) = &*answer
                    {
                        return Err(error.clone());
                    }
                }
            }
        }
    }

    /// Updates the states with RabbitMQ's answer to a written message, or with the end of the wait for the answer.
    pub(super) fn learn(&self, publish: &Publish, since: Instant, answer: &Result<(), Error>) {
        let (exchange, size) = (&publish.destination.exchange, publish.message.body.len());
        let now = Instant::now();
        let mut table = self.lock();
        match answer {
            Ok(()) | Err(Error::Unroutable { .. } | Error::Rejected) => {
                table.largest_body = table.largest_body.max(size);
                table.change_state(exchange, |state| state.took_a_message(now));
                if now < since + self.slow_after {
                    let closed = table.answered_in_time(exchange, &publish.routing_name(), self.slow_after);
                    drop(table);
                    closed.into_iter().for_each(SlowLanes::close);
                }
            }
            Err(Error::Refused(Refusal::TooLarge { .. })) => {
                table.largest_body = table.largest_body.min(size.saturating_sub(1));
            }
            Err(error) if error.refuses_the_exchange() => {
                table.change_state(exchange, |state| state.was_refused(now));
            }
            Err(Error::Refused(Refusal::AccessRefused { .. })) => {
                table.change_state(exchange, |state| *state = ExchangeState::KeyRestricted { since: now });
            }
            // The exchange exists, and RabbitMQ refuses the message itself.
            Err(Error::Refused(_)) => table.change_state(exchange, |state| *state = ExchangeState::Unknown),
            // The address is to blame, and not the default exchange.
            Err(Error::Unknown(Cause::Lost { .. })) if is_direct_reply(&publish.destination) => {}
            Err(Error::Unknown(Cause::Lost { .. })) => {
                table.change_state(exchange, ExchangeState::may_be_refused);
            }
            // An unanswered or unwritten publish is no hint about its exchange.
            Err(Error::Unknown(_) | Error::NotSent(_)) => {}
        }
    }

    /// Gives an answer to the callers that wait for it, if it is the answer to their publishes too.
    pub(super) fn answer_waiters(waiters: Option<&watch::Sender<Option<Error>>>, error: &Error) {
        let is_theirs = error.refuses_the_exchange() || *error == Error::NotSent(Unavailable::ShuttingDown);
        if let Some(waiters) = waiters.filter(|_| is_theirs) {
            waiters.send_replace(Some(error.clone()));
        }
    }

    /// Records that the gateway has declared this exchange.
    pub(in crate::broker) fn declared(&self, exchange: &ExchangeName) {
        self.lock().change_state(exchange, |state| {
            if matches!(state, ExchangeState::Refused(_)) {
                *state = ExchangeState::Unknown;
            }
        });
    }

    /// Records that the gateway deletes this exchange: RabbitMQ closes the channel of the next publish to it.
    pub(in crate::broker) fn deleted(&self, exchange: &ExchangeName) {
        self.lock().change_state(exchange, |state| *state = ExchangeState::Unknown);
    }

    /// Marks a destination as slow: its publishes stay unanswered while RabbitMQ answers others.
    pub(super) fn mark_slow(&self, destination: &KnownDestination) {
        let closed = self.lock().mark_slow(destination, || self.slow.open());
        closed.into_iter().for_each(SlowLanes::close);
    }

    /// Whether the destination has moved to its own connection, or waits for one.
    pub(super) fn is_slow(&self, destination: &KnownDestination) -> bool {
        self.lock().is_slow(destination)
    }

    /// Whether RabbitMQ has confirmed a publish to another destination since then.
    pub(super) fn was_another_confirmed(&self, destination: &KnownDestination, since: Instant) -> bool {
        let table = self.lock();
        table.destinations().any(|it| it != destination && it.last_confirm().is_some_and(|at| at >= since))
    }

    /// The lanes of slow destinations and of hazardous messages.
    pub(super) fn slow_lanes(&self) -> Vec<Arc<SlowLanes>> {
        let hazardous = self.hazardous.get().cloned().flatten();
        self.lock().slow().filter_map(SlowState::lanes).chain(hazardous).collect()
    }

    /// Forgets slow destinations that had no publish for a minute.
    pub(super) fn forget_idle(&self) {
        if let Some(idle_since) = Instant::now().checked_sub(SLOW_MEMORY) {
            self.forget_slow(idle_since);
        }
    }

    /// Closes the connections of slow destinations.
    pub(super) fn close(&self) {
        self.forget_slow(Instant::now());
        if let Some(lanes) = self.hazardous.get().cloned().flatten() {
            lanes.close();
        }
    }

    fn forget_slow(&self, idle_since: Instant) {
        let closed = self.lock().forget_slow(idle_since);
        closed.into_iter().for_each(SlowLanes::close);
    }
}

/// Whether RabbitMQ may close the connection over the destination: its error text may be too long, or the client of a call chose an
/// address that RabbitMQ cannot decode.
fn is_hazardous(publish: &Publish) -> bool {
    let Destination { exchange, routing_key, .. } = &publish.destination;
    let mut further = sender_selected::routing_keys(&publish.message.headers);
    overflow::of_destination(exchange.as_str(), routing_key.as_str())
        || further.any(|key| overflow::of_destination(exchange.as_str(), key))
        || is_direct_reply(&publish.destination)
}

/// Whether the message goes to a client that waits for it by direct reply-to.
fn is_direct_reply(to: &Destination) -> bool {
    to.exchange.is_default() && reserved::is_direct_reply_to(to.routing_key.as_str())
}
