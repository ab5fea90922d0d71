//! The traits of an operation: the properties of its requests that the layers in front of its handler have to know.

use crate::domain::permission::Permission;

/// The traits of the requests of an operation.
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// The limit that they count against.
    pub admission: Admission,
    /// They carry a message, so their problems have an outcome.
    pub carries_message: bool,
    /// The gateway finishes them also when their caller has left.
    pub finishes_without_caller: bool,
    /// They may name any host, because probes send the address of the pod as `Host`.
    pub answers_any_host: bool,
    /// They are pages for people: a link on any page may lead to them.
    pub is_page: bool,
    /// They change queues, exchanges or bindings, or remove messages: the audit log tells of them.
    pub changes: bool,
    /// They carry many items, of which each can be refused by itself.
    pub has_items: bool,
    /// The permission that their caller needs. Without authentication every caller has it.
    pub permission: Permission,
}

/// The limit that the requests of an operation count against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Admission {
    /// None: the gateway serves them also when it is full.
    #[default]
    None,
    /// Requests in flight. Their bodies have a limit, and count against the budget of all bodies.
    Request,
    /// Open publish streams. Their bodies have no limit; the bytes in memory count against the budget of all bodies.
    Stream,
    /// Waiting pulls. Their bodies have a limit, and count against the budget of all bodies.
    Pull,
}

/// Operations that the gateway serves also when it is full.
pub(super) const SERVED_WHEN_FULL: Traits = Traits {
    admission: Admission::None,
    carries_message: false,
    finishes_without_caller: false,
    answers_any_host: false,
    is_page: false,
    changes: false,
    has_items: false,
    permission: Permission::Open,
};
/// Pages.
pub(super) const PAGE: Traits = Traits { is_page: true, ..SERVED_WHEN_FULL };
/// Health checks.
pub(super) const PROBE: Traits = Traits { answers_any_host: true, ..SERVED_WHEN_FULL };
/// Operations on RabbitMQ's queues and exchanges.
pub(super) const TOPOLOGY: Traits = Traits { admission: Admission::Request, ..SERVED_WHEN_FULL };
/// Operations that change queues, exchanges or bindings, or remove messages.
pub(super) const CHANGE: Traits = Traits { changes: true, ..TOPOLOGY };
/// Operations that carry a message, and end when their caller leaves.
pub(super) const CALL: Traits = Traits { carries_message: true, ..TOPOLOGY };
/// Operations that carry a message, and that the gateway finishes in any case.
pub(super) const PUBLISH: Traits = Traits { finishes_without_caller: true, ..CALL };
/// Batches of messages.
pub(super) const PUBLISH_BATCH: Traits = Traits { has_items: true, ..PUBLISH };
/// Publish streams: their bodies have no limit, and they have a bound of their own.
pub(super) const PUBLISH_STREAM: Traits = Traits { admission: Admission::Stream, ..PUBLISH_BATCH };

/// Pulls: they wait for messages, end when their caller leaves, and have a bound of their own.
pub(super) const PULL: Traits = Traits { admission: Admission::Pull, ..SERVED_WHEN_FULL };
/// Operations on leases, which the gateway finishes in any case: a caller may not know whether it has left in time.
pub(super) const SETTLE: Traits = Traits { finishes_without_caller: true, ..TOPOLOGY };
/// Settles of several leases.
pub(super) const SETTLE_ITEMS: Traits = Traits { has_items: true, ..SETTLE };

impl Traits {
    /// The same traits, with the permission that the caller needs.
    pub(super) const fn needs(self, permission: Permission) -> Self {
        Self { permission, ..self }
    }
}
