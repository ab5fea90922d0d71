//! The one list of the names and headers that are reserved for RabbitMQ or for the gateway.
//!
//! Sources: <https://www.rabbitmq.com/docs/queues#names>, <https://www.rabbitmq.com/docs/direct-reply-to>,
//! <https://www.rabbitmq.com/docs/dlx#effects>.

/// Headers that route a message beside its routing key. Matched without case, since some clients keep the case.
const ROUTING_HEADERS: [&str; 2] = ["cc", "bcc"];
/// Headers that RabbitMQ writes and consumers rely on.
const BROKER_HEADERS: [&str; 3] = ["x-death", "x-delivery-count", "x-acquired-count"];
const BROKER_HEADER_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "x-opt-"];
/// The header with the name of the principal that published a message. Only the gateway writes it.
pub const PRINCIPAL_HEADER: &str = "x-gateway-principal";
/// The pseudo-queue of direct reply-to: it needs a consumer on the publishing channel.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Queues that belong to RabbitMQ or to one connection, such as the gateway's own reply queues.
const INTERNAL_QUEUE_PREFIXES: [&str; 2] = ["amq.rabbitmq.", "amq.gen-"];
/// RabbitMQ lets no client declare a name with this prefix.
const PREFIX: &str = "amq.";

/// Whether a header with this name routes a message.
#[must_use]
pub fn routes(header: &str) -> bool {
    ROUTING_HEADERS.iter().any(|routing| header.eq_ignore_ascii_case(routing))
}

/// Whether RabbitMQ alone may write a header with this name.
#[must_use]
pub fn is_broker_header(header: &str) -> bool {
    BROKER_HEADERS.contains(&header) || BROKER_HEADER_PREFIXES.iter().any(|prefix| header.starts_with(prefix))
}

/// Whether only the gateway may write a header with this name. Matched without case, since consumers may compare so.
#[must_use]
pub fn is_gateway_header(header: &str) -> bool {
    header.eq_ignore_ascii_case(PRINCIPAL_HEADER)
}

/// Whether the name asks for direct reply-to, or is the address of a client that asked for it. It names no queue, but RabbitMQ decodes
/// it where a queue is published to or inspected: over an address that RabbitMQ did not make, it closes the connection (541).
#[must_use]
pub fn is_direct_reply_to(name: &str) -> bool {
    name.starts_with(DIRECT_REPLY_TO)
}

/// Whether the queue belongs to RabbitMQ or to one connection. No caller may publish to it through the default exchange.
#[must_use]
pub fn is_internal_queue(queue: &str) -> bool {
    INTERNAL_QUEUE_PREFIXES.iter().any(|prefix| queue.starts_with(prefix))
}

/// Whether RabbitMQ reserves this name of a queue or exchange for itself.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
}
