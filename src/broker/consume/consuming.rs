//! The handle to the queues that callers take messages from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::command::{Caller, Command, SettleRequest, SettleResult};
use super::control::{Control, Incoming};
use super::copy_order::CopyOrder;
use super::lease_scope::LeaseScope;
use super::pull::{Pull, Pulled};
use super::settle::{Action, NotSettled, Settled};
use super::shared::Shared;
use super::worker::Worker;
use crate::broker::connection::{Connector, Role};
use crate::broker::error::{Cause, Error, Unavailable};
use crate::broker::settings::ConsumeSettings;
use crate::broker::state::{LeaseState, RoleState};
use crate::broker::topology::Topology;
use crate::domain::lease::LeaseId;
use crate::domain::names::QueueName;
use crate::fairness::Holder;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// The worker answers a request at its deadline, and then the answer must come within this time.
const GRACE: Duration = Duration::from_secs(1);

/// The work of leases that needs publishing.
pub(in crate::broker) struct LeaseWork {
    /// The requests of other replicas.
    pub(in crate::broker) requests: Incoming,
    /// The copies of leased messages.
    pub(in crate::broker) orders: mpsc::UnboundedReceiver<CopyOrder>,
}

/// The handle to the queues that callers take messages from.
pub struct Consuming {
    shared: Arc<Shared>,
}

impl Consuming {
    /// No connection is dialled before the first pull. `user` is the gateway's own, if it logs in with a user name.
    pub(in crate::broker) fn new(
        connector: &Connector,
        settings: &ConsumeSettings,
        topology: &Arc<Topology>,
        (metrics, lifecycle): (&Metrics, &Lifecycle),
        user: Option<String>,
    ) -> (Self, LeaseWork) {
        let topology = Arc::clone(topology);
        let (control, requests) = Control::new(settings.max_lease_bytes, metrics.clone());
        let (copies, orders) = mpsc::unbounded_channel();
        let parts = (control, copies, user);
        let process = (metrics.clone(), lifecycle.clone());
        let shared = Shared::new(connector.clone(), settings.clone(), topology, parts, process);
        (Self { shared: Arc::new(shared) }, LeaseWork { requests, orders })
    }

    /// Takes messages for a principal, whose name is empty without authentication, and for the holder of its share: at least one, or
    /// none when none came within its wait. Drop the future when the caller leaves.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or the reason why RabbitMQ could not be asked.
    pub async fn pull(&self, pull: Pull, (principal, holder): (Arc<str>, Holder)) -> Result<Pulled, Error> {
        let Pull { queue, max, wait, lease } = pull;
        let (answer, pulled) = oneshot::channel();
        let number = self.shared.next_number();
        let wait_end = Instant::now() + wait;
        let is_before_cancel = false;
        let caller = Caller { number, principal, holder, max, lease, wait_end, is_before_cancel, answer };
        let caller = Command::Pull(caller);
        let limit = self.shared.settings.max_lease_queues;
        let start =
            |workers| (workers < limit).then(|| Worker::start(queue.clone(), Arc::clone(&self.shared)));
        if self.shared.send(&queue, caller, start).is_err() {
            return Err(Error::NotSent(Unavailable::TooManyLeaseQueues { limit }));
        }
        let waiting = WaitingCaller { shared: &self.shared, queue: &queue, number: Some(number) };
        let pulled = pulled.await;
        waiting.answered();
        pulled.unwrap_or(Err(Error::NotSent(Unavailable::ShuttingDown)))
    }

    /// Whether this replica gave out the lease, in this scope.
    pub(super) fn gave_out(&self, id: &LeaseId, scope: LeaseScope<'_>) -> bool {
        self.shared.gave_out(id, scope)
    }

    /// Does these actions with leases that this replica gave out, and waits until RabbitMQ has read them, at most to the deadline.
    /// The results are in the order of the actions. Each lease occurs once.
    pub(super) async fn settle(
        &self,
        scope: LeaseScope<'_>,
        actions: Vec<(LeaseId, Action)>,
        deadline: Instant,
    ) -> Vec<Result<Settled, NotSettled>> {
        let is_own = |(id, _): &(LeaseId, Action)| self.shared.gave_out(id, scope);
        let own: Vec<_> =
            actions.iter().filter(|it| is_own(it)).map(|(id, action)| (id.serial, action.clone())).collect();
        let mut results = self.settle_own(scope.queue, own, deadline).await.into_iter();
        let expired = || Err(NotSettled::Expired);
        actions
            .iter()
            .map(|it| if is_own(it) { results.next().unwrap_or_else(expired) } else { expired() })
            .collect()
    }

    async fn settle_own(
        &self,
        queue: &QueueName,
        actions: Vec<(u64, Action)>,
        deadline: Instant,
    ) -> Vec<SettleResult> {
        if actions.is_empty() {
            return Vec::new();
        }
        let (answer, results) = oneshot::channel();
        let request = Command::Settle(SettleRequest { actions: actions.clone(), deadline, answer });
        if self.shared.send(queue, request, |_| None).is_err() {
            return actions
                .into_iter()
                .map(|(serial, action)| self.without_worker(serial, &action))
                .collect();
        }
        let cause = match timeout_at(deadline + GRACE, results).await {
            Ok(Ok(results)) => return results,
            Ok(Err(_)) => Cause::Stopped,
            Err(_) => Cause::Silence,
        };
        actions.iter().map(|_| Err(NotSettled::Failed(Error::Unknown(cause.clone())))).collect()
    }

    /// The result for a queue that has no leases.
    fn without_worker(&self, serial: u64, action: &Action) -> SettleResult {
        let Some(how) = action.how() else {
            return Err(self.shared.settled(serial).map_or(NotSettled::Expired, NotSettled::Already));
        };
        self.shared.repeated(serial, how)
    }

    /// The messages that callers hold, and their limits. Does not ask RabbitMQ.
    pub(in crate::broker) fn state(&self) -> LeaseState {
        let Shared { settings, free_bytes, held, control, .. } = &*self.shared;
        LeaseState {
            held: held.get(),
            limit: settings.max_leases,
            bytes: settings.max_lease_bytes.saturating_sub(free_bytes.available_permits()),
            bytes_limit: settings.max_lease_bytes,
            control_queue: self.shared.dialled().map(|_| control.is_open()),
        }
    }

    /// Resolves when no message is leased. From then on the gateway leases none.
    pub async fn until_no_leases(&self) {
        let all = u32::try_from(self.shared.settings.max_leases).unwrap_or(u32::MAX);
        if let Ok(all) = self.shared.free_leases.acquire_many(all).await {
            all.forget();
            // Each listener waits for this: the first one that has all permits resolves the waits of the others.
            self.shared.free_leases.close();
        }
    }

    /// The state of the connection of leases.
    pub(in crate::broker) fn role(&self) -> RoleState {
        Role::Lease.state(self.shared.dialled().map(|connections| &**connections))
    }

    /// Gives all messages back, and waits until RabbitMQ has read it, at most to the deadline.
    pub async fn give_back(&self, deadline: Instant) {
        let stop = |worker: UnboundedSender<Command>| {
            let (sender, stopped) = oneshot::channel();
            // The worker may have ended by itself.
            let _gone = worker.send(Command::Stop(sender));
            stopped
        };
        let stopping: Vec<_> = self.shared.workers().into_iter().map(stop).collect();
        for stopped in stopping {
            if timeout_at(deadline, stopped).await.is_err() {
                tracing::warn!("the gateway stops before RabbitMQ has taken all leased messages back");
                return;
            }
        }
    }

    /// Closes the connection of leases.
    pub(in crate::broker) fn stop(&self) {
        if let Some(connections) = self.shared.dialled() {
            connections.stop();
        }
    }
}

/// A caller who waits; dropping it before the answer tells the worker that the caller has left.
struct WaitingCaller<'a> {
    shared: &'a Shared,
    queue: &'a QueueName,
    /// `None` after the answer.
    number: Option<u64>,
}

impl WaitingCaller<'_> {
    /// The worker has answered, and no longer knows the caller.
    fn answered(mut self) {
        self.number = None;
    }
}

impl Drop for WaitingCaller<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        // A queue without a worker has no callers.
        let _none = self.shared.send(self.queue, Command::Left(number), |_| None);
    }
}
