//! Takes messages from queues for callers, and settles them by the callers' word.
//!
//! A message that is given to a caller is a lease: RabbitMQ keeps it unacknowledged until the caller settles it, the lease expires
//! or the connection is lost. Guarantees:
//! - The gateway acks or rejects a message only when its caller has said so, and answers `acked` only when RabbitMQ has read the ack.
//! - A message of a caller that left goes to the next waiting caller, or back to its queue, at once.
//! - Every queue has a channel and a worker of its own: a fault of one queue ends no lease of another.
//! - Publishing has other connections, so leases can be settled while an alarm blocks publishers.

mod command;
mod consuming;
mod control;
mod copier;
mod copy;
mod copy_order;
mod counts;
mod deliver;
mod lease_channel;
mod lease_scope;
mod lease_table;
mod link;
mod pull;
mod replicas;
mod reply;
mod secret;
mod settle;
mod settled_leases;
mod shared;
mod wait_queue;
mod worker;

pub use self::consuming::Consuming;
pub use self::lease_scope::LeaseScope;
pub use self::pull::{Leased, Pull, Pulled};
pub use self::settle::{Action, NoReplyTo, NotSettled, Retried, Settled};
