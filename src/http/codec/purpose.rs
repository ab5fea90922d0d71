//! The purpose of a message. It decides the members of an envelope, and the properties, that the gateway sets itself.

use crate::domain::message::DeliveryMode;

/// The purpose of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Purpose {
    /// A publish.
    Publish,
    /// The request of an RPC call.
    Call,
    /// The reply to a leased message.
    Reply,
}

impl Purpose {
    /// The delivery mode where the caller gives none.
    pub(super) fn delivery_mode(self) -> DeliveryMode {
        match self {
            Self::Publish => DeliveryMode::Persistent,
            Self::Call | Self::Reply => DeliveryMode::Transient,
        }
    }

    /// The members and the properties that the gateway sets itself, so that a caller may not give them.
    pub(super) fn own(self) -> &'static [&'static str] {
        match self {
            Self::Publish => &[],
            Self::Call => &["routing_key", "mandatory", "reply_to", "correlation_id", "expiration"],
            Self::Reply => &["routing_key", "mandatory", "correlation_id", "user_id"],
        }
    }
}
