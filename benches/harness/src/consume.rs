//! Taking messages from a queue: workers that pull and ack, and callers who wait for messages.
//!
//! The body of each message begins with its number, so a run knows that every message was acked exactly once. A run in which anything
//! fails has no figures.

mod direct;
pub mod drain;
mod ledger;
pub mod long_poll;
mod puller;
mod settle;
pub mod waiting;
