//! Connections to RabbitMQ: who dials them, when, where, and what is known of RabbitMQ while none is up.
//!
//! Each role has connections of its own, so an alarm that blocks publishing does not affect declarations, for example. A
//! lost connection is dialled again with a backoff. lapin's own recovery is not used: confirms hung for whole outages.

mod alarms;
mod connector;
mod dial_error;
mod dial_record;
mod dialler;
mod live;
mod login;
mod node;
mod outage_log;
mod reached;
mod role;
mod slots;
mod supervision;
mod trial;

pub(super) use self::connector::Connector;
pub(super) use self::dial_record::Refused;
pub(super) use self::live::Connection;
pub(super) use self::outage_log::{OutageLog, Reminders};
pub use self::reached::Reached;
pub(super) use self::role::Role;
pub(super) use self::slots::{Connections, REOPEN_PAUSE};
pub use self::trial::{Trial, Unreached, try_all};
