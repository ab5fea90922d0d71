//! The state that the workers of all queues share: the connection, the limits and the settled leases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::command::{Command, SettleResult};
use super::control::Control;
use super::copy_order::CopyOrder;
use super::counts::HeldCount;
use super::lease_scope::LeaseScope;
use super::secret::LeaseKey;
use super::settle::{Final, NotSettled, Settled};
use super::settled_leases::SettledLeases;
use crate::broker::connection::{Connections, Connector, Role};
use crate::broker::settings::ConsumeSettings;
use crate::broker::topology::Topology;
use crate::domain::lease::LeaseId;
use crate::domain::names::QueueName;
use crate::fairness::Shares;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// The state that all workers share.
pub(super) struct Shared {
    pub(super) settings: ConsumeSettings,
    pub(super) topology: Arc<Topology>,
    pub(super) control: Control,
    /// The gateway's own user, if it logs in with a user name.
    pub(super) user: Option<String>,
    copies: UnboundedSender<CopyOrder>,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Metrics,
    /// The messages that callers hold.
    pub(super) held: HeldCount,
    /// The shares of principals in the leases.
    pub(super) lease_shares: Shares,
    /// The leases that may still begin.
    pub(super) free_leases: Arc<Semaphore>,
    /// The bytes that leased messages may still take.
    pub(super) free_bytes: Arc<Semaphore>,
    connector: Connector,
    connections: OnceLock<Arc<Connections>>,
    settled: Mutex<SettledLeases>,
    key: LeaseKey,
    last_number: AtomicU64,
    workers: Mutex<HashMap<QueueName, UnboundedSender<Command>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        connector: Connector,
        settings: ConsumeSettings,
        topology: Arc<Topology>,
        (control, copies, user): (Control, UnboundedSender<CopyOrder>, Option<String>),
        (metrics, lifecycle): (Metrics, Lifecycle),
    ) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let settled = SettledLeases::new(settings.max_settled_leases, 2 * settings.settle_timeout_max);
        Self {
            lease_shares: Shares::new(settings.max_leases),
            free_leases: semaphore(settings.max_leases),
            free_bytes: semaphore(settings.max_lease_bytes),
            settled: Mutex::new(settled),
            settings,
            topology,
            control,
            user,
            copies,
            lifecycle,
            metrics,
            held: HeldCount::default(),
            connector,
            connections: OnceLock::new(),
            key: LeaseKey::generate(),
            last_number: AtomicU64::new(0),
            workers: Mutex::default(),
        }
    }

    /// Has a copy published.
    pub(super) fn order_copy(&self, order: CopyOrder) {
        // The gateway is closed, and has lost its leases.
        let _closed = self.copies.send(order);
    }

    /// The connection of all leases, which is dialled at the first call.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        self.connections.get_or_init(|| Arc::new(self.connector.start(Role::Lease, 0, 1)))
    }

    /// The connection of all leases, if it was ever needed.
    pub(super) fn dialled(&self) -> Option<&Arc<Connections>> {
        self.connections.get()
    }

    /// A number that no other lease or caller has.
    pub(super) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The id of the lease with this number on the connection of this owner.
    pub(super) fn lease_id(&self, owner: &str, serial: u64, scope: LeaseScope<'_>) -> LeaseId {
        LeaseId { owner: owner.to_owned(), serial, secret: self.key.secret(serial, scope) }
    }

    /// Whether this process gave out the id, in this scope.
    pub(super) fn gave_out(&self, id: &LeaseId, scope: LeaseScope<'_>) -> bool {
        self.key.proves(id.secret, id.serial, scope)
    }

    /// Remembers how a lease was settled.
    pub(super) fn note_settled(&self, serial: u64, settled: Settled, now: Instant) {
        lock(&self.settled).add(serial, settled, now);
    }

    /// How a lease was settled, where it is remembered.
    pub(super) fn settled(&self, serial: u64) -> Option<Settled> {
        lock(&self.settled).get(serial)
    }

    /// The answer to a request to settle a lease that is not held: that of the first request, if it was the same.
    pub(super) fn repeated(&self, serial: u64, how: Final) -> SettleResult {
        match self.settled(serial) {
            Some(before) if before.how() == Some(how) => Ok(before),
            Some(other) => Err(NotSettled::Already(other)),
            None => Err(NotSettled::Expired),
        }
    }

    /// The number of leases that may still begin; 0 also if the table of settled leases is full.
    pub(super) fn free_leases(&self) -> usize {
        if lock(&self.settled).is_full(Instant::now()) { 0 } else { self.free_leases.available_permits() }
    }

    /// Takes one of them.
    pub(super) fn take_lease(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free_leases).try_acquire_owned().ok()
    }

    /// Gives a command to the worker of a queue. If there is none, `start` may make one.
    ///
    /// # Errors
    /// The command, if the queue has no worker.
    pub(super) fn send(
        &self,
        queue: &QueueName,
        command: Command,
        start: impl FnOnce(usize) -> Option<UnboundedSender<Command>>,
    ) -> Result<(), Command> {
        let mut workers = lock(&self.workers);
        let worker = match workers.get(queue).filter(|worker| !worker.is_closed()) {
            Some(worker) => worker,
            None => match start(workers.len()) {
                Some(worker) => workers.entry(queue.clone()).insert_entry(worker).into_mut(),
                None => return Err(command),
            },
        };
        worker.send(command).map_err(|unsent| unsent.0)
    }

    /// Removes the worker of a queue, unless it has got a further command.
    pub(super) fn remove_worker(&self, queue: &QueueName, commands: &UnboundedReceiver<Command>) -> bool {
        let mut workers = lock(&self.workers);
        let is_idle = commands.is_empty();
        if is_idle {
            workers.remove(queue);
        }
        is_idle
    }

    /// The ways to all workers.
    pub(super) fn workers(&self) -> Vec<UnboundedSender<Command>> {
        lock(&self.workers).values().cloned().collect()
    }
}
