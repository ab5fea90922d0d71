//! `/queues/{name}/messages`: takes messages from a queue with a lease, and settles them.

pub(in crate::http) mod next;
pub(in crate::http) mod pull;
pub(in crate::http) mod settle;
mod taken_body;
pub(super) mod time;
