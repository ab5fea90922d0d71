//! The permissions of a caller, in RabbitMQ's words.

/// The permission that a caller needs for an operation on the names in its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permission {
    /// No permission: every caller may use the operation.
    #[default]
    Open,
    /// Configure: declare and delete the queue or exchange.
    Configure,
    /// Write: publish to the exchange.
    Write,
    /// Read: purge the queue, or take its messages.
    Read,
    /// Configure, write or read: one of them is enough to look at the queue or exchange.
    Any,
    /// Bind: write to the target of the binding, and read from its source.
    Bind,
    /// The permissions of every item of the document in the body.
    Document,
    /// Call: send requests to the servers of the queue. Write to the queue by the default exchange includes it.
    Call,
    /// No permission, but valid credentials.
    Authenticated,
    /// The tag `monitoring`: read the state of the whole gateway.
    Monitoring,
}
