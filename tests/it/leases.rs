//! Pulls and settles of messages with a lease.

mod refused;
