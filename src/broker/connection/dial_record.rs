//! The result of the last dial of each address, over all connections of one role.
//!
//! It distinguishes a RabbitMQ that refuses the gateway from an absent one: RabbitMQ refuses the role if it refused the
//! last dial of every address.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::broker::error::Denial;

/// How long a refusal must last before waiting callers get it as an error. A restarting virtual host refuses for a
/// moment.
const CERTAIN_AFTER: Duration = Duration::from_secs(2);

/// Why RabbitMQ refuses the gateway, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) struct Refused {
    pub(in crate::broker) why: Denial,
    pub(in crate::broker) since: Instant,
}

impl Refused {
    /// Records one more refusal. It keeps the start of the first one.
    pub(in crate::broker) fn again(before: Option<Self>, why: Denial) -> Self {
        Self { why, since: before.map_or_else(Instant::now, |it| it.since) }
    }

    /// Whether the refusal has lasted long enough to be an error for callers.
    pub(in crate::broker) fn is_certain(&self) -> bool {
        Instant::now() >= self.certain_at()
    }

    fn certain_at(&self) -> Instant {
        self.since + CERTAIN_AFTER
    }

    /// Resolves when RabbitMQ has refused the gateway for two seconds. `refused` returns the refusal, and is called after
    /// each change.
    pub(in crate::broker) async fn until_certain<T>(
        mut changed: watch::Receiver<T>,
        refused: impl Fn() -> Option<Self>,
    ) -> Denial {
        loop {
            changed.mark_unchanged();
            let now = refused();
            if let Some(certain) = now.filter(Self::is_certain) {
                return certain.why;
            }
            let at = now.map(|it| it.certain_at());
            tokio::select! {
                () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {}
                change = changed.changed() => if change.is_err() { std::future::pending::<()>().await },
            }
        }
    }
}

/// How the last dial of one address ended.
#[derive(Debug, Clone, Copy, Default)]
enum LastDial {
    /// The gateway has not dialled the address since a connection was lost.
    #[default]
    Unknown,
    /// The dial failed for another reason.
    NotRefused,
    Refused(Refused),
}

/// The last dials of one role.
pub(in crate::broker) struct DialRecord(Mutex<State>);

struct State {
    addresses: Vec<LastDial>,
    lost_at: Option<Instant>,
}

impl DialRecord {
    /// The record of a role that dials this number of addresses.
    pub(in crate::broker) fn new(addresses: usize) -> Self {
        Self(Mutex::new(State { addresses: vec![LastDial::default(); addresses], lost_at: None }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a dial of this address failed or that its connection was lost at once, with RabbitMQ's refusal if it
    /// refused.
    pub(in crate::broker) fn failed(&self, address: usize, denial: Option<Denial>) {
        let mut state = self.lock();
        let before = match state.addresses[address] {
            LastDial::Refused(refused) => Some(refused),
            LastDial::Unknown | LastDial::NotRefused => None,
        };
        state.addresses[address] =
            denial.map_or(LastDial::NotRefused, |why| LastDial::Refused(Refused::again(before, why)));
    }

    /// Records that a connection that had lasted was lost: the earlier results no longer count.
    pub(in crate::broker) fn lost(&self) {
        let mut state = self.lock();
        state.addresses.fill(LastDial::Unknown);
        state.lost_at = Some(Instant::now());
    }

    /// Whether the gateway has not dialled an address since then.
    pub(in crate::broker) fn has_unknown(&self) -> bool {
        self.lock().addresses.iter().any(|last| matches!(last, LastDial::Unknown))
    }

    /// Whether a connection was lost at least this time ago, or none has ever lasted.
    pub(in crate::broker) fn is_lost_for(&self, time: Duration) -> bool {
        self.lock().lost_at.is_none_or(|at| at.elapsed() >= time)
    }

    /// RabbitMQ's refusal of the last dial of any address.
    pub(in crate::broker) fn any_denial(&self) -> Option<Denial> {
        self.lock().addresses.iter().find_map(|last| match last {
            LastDial::Refused(refused) => Some(refused.why),
            LastDial::Unknown | LastDial::NotRefused => None,
        })
    }

    /// RabbitMQ's refusal, where the last dial of every address was refused: since the last of them was refused first.
    pub(in crate::broker) fn refused(&self) -> Option<Refused> {
        let state = self.lock();
        let refused = state.addresses.iter().map(|last| match last {
            LastDial::Refused(refused) => Some(*refused),
            LastDial::Unknown | LastDial::NotRefused => None,
        });
        refused.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(|refused| refused.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_refused_only_when_the_last_dial_of_every_address_was() {
        let record = DialRecord::new(2);
        assert_eq!(record.refused(), None);
        record.failed(0, Some(Denial::Credentials));
        assert_eq!(record.refused(), None, "the other address may let it in");
        record.failed(1, Some(Denial::ConnectionLimit));
        assert_eq!(record.refused().map(|it| it.why), Some(Denial::ConnectionLimit));
        record.failed(1, None);
        assert_eq!(record.refused(), None, "it is away");
    }

    #[test]
    fn a_refusal_begins_again_after_a_connection() {
        let record = DialRecord::new(1);
        record.failed(0, Some(Denial::VhostMissing));
        let first = record.refused();
        record.failed(0, Some(Denial::VhostMissing));
        assert_eq!(record.refused(), first, "refused ever since");
        record.lost();
        assert_eq!(record.refused(), None);
        record.failed(0, Some(Denial::VhostMissing));
        assert_ne!(record.refused(), first);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_missing_for_a_time_from_the_start_or_since_the_last_was_lost() {
        let (record, minute) = (DialRecord::new(1), Duration::from_mins(1));
        assert!(record.is_lost_for(minute), "none was ever up");
        record.lost();
        assert!(!record.is_lost_for(minute));
        tokio::time::advance(minute).await;
        assert!(record.is_lost_for(minute));
    }

    #[tokio::test(start_paused = true)]
    async fn a_virtual_host_that_restarts_refuses_for_a_moment_without_an_error_for_its_callers() {
        let (_sender, changed) = watch::channel(());
        let record = DialRecord::new(1);
        record.failed(0, Some(Denial::VhostForbidden));
        let begun = Instant::now();
        let why = Refused::until_certain(changed, || record.refused()).await;
        assert_eq!((why, begun.elapsed()), (Denial::VhostForbidden, CERTAIN_AFTER));
    }
}
