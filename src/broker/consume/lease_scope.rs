//! Where a lease is valid: at its queue, and for the principal that took the message.

use crate::domain::names::QueueName;

/// A queue, and a principal that holds leases of it. A lease id is unknown outside of its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseScope<'a> {
    /// The queue.
    pub queue: &'a QueueName,
    /// The name of the principal; empty without authentication.
    pub principal: &'a str,
}
