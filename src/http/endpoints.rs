//! The handlers, one file a REST noun. Each has four beats: extract, convert, one call, answer.

pub(super) mod health;
pub(super) mod metrics;
pub(super) mod publish;
pub(super) mod queues;
pub(super) mod rpc;
