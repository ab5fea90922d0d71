//! The copies that have no answer yet.

use std::collections::HashMap;

use tokio_util::sync::DropGuard;

use super::requests::Place;
use crate::broker::publish::WriteGate;
use crate::domain::message::MessageId;

/// The copies without an answer, by the number of their lease.
pub(super) type Copies = HashMap<u64, Copying>;

/// A copy without an answer. When this is dropped, a copy that is not written yet is not sent.
#[derive(Debug)]
pub(super) struct Copying {
    pub(super) places: Vec<Place>,
    pub(super) cancel: DropGuard,
    /// The gate of a reply.
    pub(super) reply: Option<WriteGate>,
}

/// The id of the copies of a message, and whether one of them may be in a queue.
#[derive(Debug, Clone)]
pub(super) struct CopyId {
    pub(super) id: MessageId,
    pub(super) may_exist: bool,
}
