//! Connections to RabbitMQ: how the gateway dials them, how it replaces them, and the state that it knows while none is
//! up.
//!
//! Each role has its own connections, so for example an alarm that blocks publishing does not affect declarations. The
//! gateway dials a lost connection again with a backoff. It does not use lapin's own recovery, because confirms were
//! missing for whole outages with it.

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
