//! The settings of the HTTP side.

use std::net::SocketAddr;
use std::time::Duration;

use super::forms;
use super::reader::Reader;
use super::table::PRINCIPALS_FILE;
use crate::domain::field::HeaderLimits;
use crate::http::{
    Access, AuditLevel, ConnectionLimits, Deadline, IdempotencyLimits, Limits, PullLimits, Settings,
};

/// The longest delay that has a wait queue.
const LONGEST_RETRY_DELAY: Duration = Duration::from_hours(24);
const MANY: usize = 1_000_000;

pub(super) fn read(
    from: &mut Reader<'_>,
    amqp_headers: HeaderLimits,
    consume: (PullLimits, Deadline),
) -> Settings {
    let limits = limits(from, amqp_headers, consume);
    let (listen, admin_listen) = addresses(from);
    Settings {
        listen,
        admin_listen,
        connections: connections(from, limits.max_body_bytes),
        limits,
        idempotency: idempotency(from),
        access: access(from),
        audit: audit(from),
        stamp_principal: stamp_principal(from),
        health_queues: from.read_optional("GATEWAY_HEALTH_QUEUES", forms::queues).unwrap_or_default(),
        rpc_status_header: from.read("GATEWAY_RPC_STATUS_HEADER", forms::switch),
        cloudevents_prefix: from.read("GATEWAY_CLOUDEVENTS_PREFIX", forms::header_prefix),
    }
}

/// The address of callers, and the one for administration if there is one.
pub(super) fn addresses(from: &mut Reader<'_>) -> (SocketAddr, Option<SocketAddr>) {
    let listen = from.read("GATEWAY_LISTEN", forms::socket_address);
    (listen, from.read_optional("GATEWAY_ADMIN_LISTEN", forms::socket_address))
}

fn access(from: &mut Reader<'_>) -> Access {
    Access {
        allowed_origins: from.read_optional("GATEWAY_ALLOWED_ORIGINS", forms::origins).unwrap_or_default(),
        allowed_hosts: from.read_optional("GATEWAY_ALLOWED_HOSTS", forms::hosts).unwrap_or_default(),
        path_prefix: from.read_optional("GATEWAY_PATH_PREFIX", forms::path_prefix).unwrap_or_default(),
        trusted_proxies: from.read_optional("GATEWAY_TRUSTED_PROXIES", forms::networks).unwrap_or_default(),
    }
}

/// By default the audit log has every event, where callers have names.
fn audit(from: &mut Reader<'_>) -> AuditLevel {
    let default = if from.is_given(PRINCIPALS_FILE) { AuditLevel::All } else { AuditLevel::Off };
    from.read_optional("GATEWAY_AUDIT", forms::audit_level).unwrap_or(default)
}

/// Without a file of principals, messages have no principal.
fn stamp_principal(from: &mut Reader<'_>) -> bool {
    const STAMP: &str = "GATEWAY_STAMP_PRINCIPAL";
    let stamps = from.read(STAMP, forms::switch);
    let without_names = stamps && !from.is_given(PRINCIPALS_FILE);
    from.refuse_if(
        without_names,
        [STAMP, PRINCIPALS_FILE],
        "the first needs a file of principals: set the second, or leave the first out",
    );
    stamps
}

fn idempotency(from: &mut Reader<'_>) -> IdempotencyLimits {
    IdempotencyLimits {
        ttl: from.read("GATEWAY_IDEMPOTENCY_TTL", forms::positive_duration),
        max: from.read("GATEWAY_IDEMPOTENCY_MAX", forms::count(MANY)),
    }
}

fn connections(from: &mut Reader<'_>, max_body_bytes: usize) -> ConnectionLimits {
    ConnectionLimits {
        max_connections: from.read("GATEWAY_MAX_CONNECTIONS", forms::count(MANY)),
        first_byte_timeout: from.read("GATEWAY_FIRST_BYTE_TIMEOUT", forms::positive_duration),
        header_timeout: from.read("GATEWAY_HEADER_TIMEOUT", forms::positive_duration),
        keep_alive_timeout: from.read("GATEWAY_KEEP_ALIVE_TIMEOUT", forms::positive_duration),
        write_timeout: from.read("GATEWAY_WRITE_TIMEOUT", forms::positive_duration),
        max_body_bytes,
    }
}

fn limits(
    from: &mut Reader<'_>,
    amqp_headers: HeaderLimits,
    (pull, settle): (PullLimits, Deadline),
) -> Limits {
    let limits = Limits {
        max_body_bytes: from.read("GATEWAY_MAX_BODY_BYTES", forms::size),
        body_timeout: from.read("GATEWAY_BODY_TIMEOUT", forms::positive_duration),
        // hyper panics on a buffer below 8 KiB, and the gateway's buffer has 64 KiB.
        max_header_bytes: from.read("GATEWAY_MAX_HEADER_BYTES", forms::size_between(8 << 10, 64 << 10)),
        max_bytes_in_flight: from.read("GATEWAY_MAX_BYTES_IN_FLIGHT", forms::size),
        max_requests_in_flight: from.read("GATEWAY_MAX_REQUESTS_IN_FLIGHT", forms::count(MANY)),
        max_publish_streams: from.read("GATEWAY_MAX_PUBLISH_STREAMS", forms::count(MANY)),
        publish_window: from.read("GATEWAY_PUBLISH_WINDOW", forms::count(100_000)),
        max_batch_items: from.read("GATEWAY_MAX_BATCH_ITEMS", forms::count(100_000)),
        max_topology_items: from.read("GATEWAY_MAX_TOPOLOGY_ITEMS", forms::count(10_000)),
        max_topology_documents: from.read("GATEWAY_MAX_TOPOLOGY_DOCUMENTS", forms::count(1000)),
        amqp_headers,
        publish: deadline(from, ["GATEWAY_PUBLISH_TIMEOUT", "GATEWAY_PUBLISH_TIMEOUT_MAX"]),
        rpc: deadline(from, ["GATEWAY_RPC_TIMEOUT", "GATEWAY_RPC_TIMEOUT_MAX"]),
        topology: deadline(from, ["GATEWAY_TOPOLOGY_TIMEOUT", "GATEWAY_TOPOLOGY_TIMEOUT_MAX"]),
        pull,
        max_retry_delay: from.read("GATEWAY_RETRY_DELAY_MAX", forms::duration_up_to(LONGEST_RETRY_DELAY)),
        settle,
    };
    from.refuse_if(
        limits.max_body_bytes > limits.max_bytes_in_flight,
        ["GATEWAY_MAX_BODY_BYTES", "GATEWAY_MAX_BYTES_IN_FLIGHT"],
        "the first must not be larger than the second, or the gateway refuses the largest body always",
    );
    limits
}

/// The limits on AMQP headers. HTTP and the broker side both use them; the headers must fit one AMQP frame.
pub(super) fn amqp_headers(from: &mut Reader<'_>) -> HeaderLimits {
    HeaderLimits {
        count: from.read("GATEWAY_MAX_AMQP_HEADERS", forms::count(MANY)),
        // RabbitMQ closes the connection over a header frame that is larger than its frame_max (128 KiB).
        bytes: from.read("GATEWAY_MAX_AMQP_HEADER_BYTES", forms::size_between(1, 64 << 10)),
        // lapin's parser is recursive: a table of 5,000 levels overflows the stack.
        depth: from.read("GATEWAY_MAX_AMQP_HEADER_DEPTH", forms::count(32)),
    }
}

fn deadline(from: &mut Reader<'_>, names: [&'static str; 2]) -> Deadline {
    let [default, max] = names.map(|name| from.read(name, forms::positive_duration));
    from.refuse_if(default > max, names, "the first must not be longer than the second");
    Deadline { default, max }
}
