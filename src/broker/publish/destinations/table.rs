//! The states of all destinations with a recent publish. Bounded in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::exchange_state::ExchangeState;
use super::refused::RefusedExchange;
use super::slow_state::SlowState;
use crate::broker::destination::KnownDestination;
use crate::broker::publish::slow::SlowLanes;
use crate::domain::names::{ExchangeName, ShortText};

/// The maximum number of remembered exchanges, and of destinations over all exchanges.
const LIMIT: usize = 10_000;
/// With this number of slow routing keys an exchange is slow as a whole.
const SLOW_KEYS: usize = 8;

/// An exchange with a recent publish.
pub(super) struct Exchange {
    pub(super) state: ExchangeState,
    keys: HashMap<ShortText, RoutingKey>,
    /// Set while the exchange is slow as a whole.
    slow: Option<SlowState>,
}

/// A routing key of an exchange.
struct RoutingKey {
    destination: KnownDestination,
    /// Set while this key is slow and the exchange is not.
    slow: Option<SlowState>,
}

impl Exchange {
    fn new() -> Self {
        Self { state: ExchangeState::Unknown, keys: HashMap::new(), slow: None }
    }

    fn slow(&self) -> impl Iterator<Item = &SlowState> {
        self.slow.iter().chain(self.keys.values().filter_map(|key| key.slow.as_ref()))
    }

    fn slow_slots(&mut self) -> impl Iterator<Item = &mut Option<SlowState>> {
        std::iter::once(&mut self.slow).chain(self.keys.values_mut().map(|key| &mut key.slow))
    }

    /// The slow state of a routing key, or of the whole exchange.
    pub(super) fn slow_mut(&mut self, routing_key: &ShortText) -> Option<&mut SlowState> {
        match &mut self.slow {
            Some(slow) => Some(slow),
            None => self.keys.get_mut(routing_key)?.slow.as_mut(),
        }
    }

    /// Whether the table should remember it although its keys are gone.
    fn is_known(&self) -> bool {
        !matches!(self.state, ExchangeState::Unknown) || !self.keys.is_empty()
    }
}

/// The table of all exchanges.
#[derive(Default)]
pub(super) struct Table {
    exchanges: HashMap<ExchangeName, Exchange>,
    /// Number of routing keys over all exchanges.
    keys: usize,
    /// Number of slow destinations and exchanges.
    slow: usize,
    /// At this number of keys the table forgets the idle ones.
    limit: usize,
    /// The largest body in bytes that RabbitMQ accepted.
    pub(super) largest_body: usize,
}

impl Table {
    /// Finds a destination and its exchange, and remembers them from now on.
    pub(super) fn find(
        &mut self,
        exchange: &ExchangeName,
        routing_key: &ShortText,
    ) -> (KnownDestination, &mut Exchange) {
        let is_new = self.exchanges.get(exchange).is_none_or(|it| !it.keys.contains_key(routing_key));
        if is_new {
            self.add(exchange, routing_key);
        }
        // The exchange exists: it was found, or added above.
        let found = self.exchanges.entry(exchange.clone()).or_insert_with(Exchange::new);
        let destination = match found.keys.get(routing_key) {
            Some(key) => key.destination.clone(),
            None => KnownDestination::new(exchange.clone(), routing_key.clone()),
        };
        (destination, found)
    }

    fn add(&mut self, exchange: &ExchangeName, routing_key: &ShortText) {
        if self.keys >= self.limit.max(LIMIT) || self.exchanges.len() >= LIMIT {
            self.forget_unused();
        }
        let destination = KnownDestination::new(exchange.clone(), routing_key.clone());
        let found = self.exchanges.entry(exchange.clone()).or_insert_with(Exchange::new);
        found.keys.insert(routing_key.clone(), RoutingKey { destination, slow: None });
        self.keys += 1;
    }

    /// Forgets the keys that are not slow and have no publish in flight. If there are too many exchanges, forgets their
    /// states too.
    fn forget_unused(&mut self) {
        let has_too_many = self.exchanges.len() >= LIMIT;
        self.exchanges.retain(|_, exchange| {
            exchange.keys.retain(|_, key| key.slow.is_some() || key.destination.is_in_use());
            exchange.slow.is_some() || !exchange.keys.is_empty() || (exchange.is_known() && !has_too_many)
        });
        self.keys = self.exchanges.values().map(|exchange| exchange.keys.len()).sum();
        // If most keys are in use, the next search is worth its cost only after the number of keys has doubled.
        self.limit = 2 * self.keys;
    }

    /// The exchange, if RabbitMQ refuses it.
    pub(super) fn refused(&mut self, exchange: &ExchangeName) -> Option<&mut RefusedExchange> {
        match &mut self.exchanges.get_mut(exchange)?.state {
            ExchangeState::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// Changes the state of an exchange.
    pub(super) fn change_state(&mut self, exchange: &ExchangeName, change: impl FnOnce(&mut ExchangeState)) {
        // The exchange may have been forgotten since the publish began. It is added again only if the table has room.
        let has_room = self.exchanges.len() < LIMIT;
        match self.exchanges.get_mut(exchange) {
            Some(found) => change(&mut found.state),
            None if has_room => {
                let new = self.exchanges.entry(exchange.clone()).or_insert_with(Exchange::new);
                change(&mut new.state);
            }
            None => {}
        }
    }

    /// Records that RabbitMQ answered a publish to this destination in time. The destination is no longer slow, unless
    /// another publish on its connection stays unanswered. Returns the lanes to close.
    pub(super) fn answered_in_time(
        &mut self,
        exchange: &ExchangeName,
        routing_key: &ShortText,
        slow_after: Duration,
    ) -> Option<Arc<SlowLanes>> {
        if self.slow == 0 {
            return None;
        }
        let found = self.exchanges.get_mut(exchange)?;
        let slot = match found.slow {
            Some(_) => &mut found.slow,
            None => &mut found.keys.get_mut(routing_key)?.slow,
        };
        let over = slot.take_if(|slow| slow.is_over(slow_after))?;
        self.slow -= 1;
        let (exchange, routing_key) = (exchange.as_str(), routing_key.as_str());
        info!(exchange, routing_key, "RabbitMQ answers publishes to this destination in time again");
        over.into_lanes()
    }

    /// Marks a destination as slow. `open` opens a connection for it, if one is free. Returns the lanes to close.
    pub(super) fn mark_slow(
        &mut self,
        destination: &KnownDestination,
        open: impl FnOnce() -> Option<Arc<SlowLanes>>,
    ) -> Vec<Arc<SlowLanes>> {
        let name = destination.exchange();
        let Some(exchange) = self.exchanges.get_mut(name) else { return Vec::new() };
        let is_slow_as_a_whole = exchange.slow.is_some();
        let Some(key) = exchange.keys.get_mut(destination.routing_key()) else { return Vec::new() };
        if is_slow_as_a_whole || key.slow.is_some() {
            return Vec::new();
        }
        let slow = SlowState::new(destination.clone(), open());
        let (exchange_name, routing_key) = (name.as_str(), destination.routing_key().as_str());
        let consequence =
            if slow.has_lanes() { "it gets its own connection" } else { "no connection is free for it" };
        warn!(
            exchange = exchange_name,
            routing_key, "RabbitMQ does not answer publishes to this destination: {consequence}"
        );
        key.slow = Some(slow);
        self.slow += 1;
        let slow_keys = exchange.keys.values().filter(|key| key.slow.is_some()).count();
        // The default exchange leads to all queues of the virtual host: one state for all would stop the healthy queues.
        if slow_keys < SLOW_KEYS || name.as_str().is_empty() {
            return Vec::new();
        }
        warn!(
            exchange = name.as_str(),
            slow_keys, "all destinations of this exchange get one connection together"
        );
        let (slow, closed) = SlowState::merge(exchange.slow_slots().filter_map(Option::take).collect());
        self.slow = self.slow + 1 - slow_keys;
        exchange.slow = slow;
        closed
    }

    /// Whether the destination is slow, or its exchange is slow as a whole.
    pub(super) fn is_slow(&self, destination: &KnownDestination) -> bool {
        self.exchanges.get(destination.exchange()).is_some_and(|exchange| {
            let key = exchange.keys.get(destination.routing_key());
            exchange.slow.is_some() || key.is_some_and(|key| key.slow.is_some())
        })
    }

    /// Every destination.
    pub(super) fn destinations(&self) -> impl Iterator<Item = &KnownDestination> {
        self.exchanges.values().flat_map(|exchange| exchange.keys.values()).map(|key| &key.destination)
    }

    /// Every destination and exchange that is slow.
    pub(super) fn slow(&self) -> impl Iterator<Item = &SlowState> {
        // If there is none, the search through all destinations is not needed.
        let exchanges = if self.slow == 0 { None } else { Some(self.exchanges.values()) };
        exchanges.into_iter().flatten().flat_map(Exchange::slow)
    }

    /// Forgets slow destinations that had no publish since this instant. Returns the lanes to close.
    pub(super) fn forget_slow(&mut self, idle_since: Instant) -> Vec<Arc<SlowLanes>> {
        if self.slow == 0 {
            return Vec::new();
        }
        let slots = self.exchanges.values_mut().flat_map(Exchange::slow_slots);
        let idle = slots.filter_map(|slot| slot.take_if(|slow| slow.is_idle_since(idle_since)));
        let forgotten: Vec<_> = idle.collect();
        self.slow -= forgotten.len();
        forgotten.into_iter().filter_map(SlowState::into_lanes).collect()
    }
}
