//! The handlers, one file for each REST noun. Each handler has four steps: extract, convert, one call, answer.

pub(super) mod bindings;
pub(super) mod exchanges;
pub(super) mod health;
pub(super) mod leases;
pub(super) mod messages;
pub(super) mod metrics;
pub(super) mod publish;
pub(super) mod queues;
pub(super) mod rpc;
pub(super) mod topology;
pub(super) mod whoami;
