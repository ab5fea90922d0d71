//! The settings of taking messages from queues. HTTP checks requests by some of them, and the broker side plans by them.

use std::time::Duration;

use super::forms;
use super::reader::Reader;
use crate::broker::ConsumeSettings;
use crate::http::{Deadline, PullLimits};

const MANY: usize = 1_000_000;
/// AMQP counts the messages that RabbitMQ delivers without an ack in 16 bits.
const MAX_PREFETCH: usize = 65_535;
/// Each queue with leases has a channel, and a connection has at most 2047. The others are for the gateway's own work.
const MAX_QUEUES: usize = 2_000;
/// The longest `?timeout=` of a settle.
const SETTLE_TIMEOUT_MAX: Duration = Duration::from_mins(1);
/// How long a pull waits that does not say how long, unless `GATEWAY_PULL_WAIT_MAX` is shorter.
const WAIT: Duration = Duration::from_secs(20);

/// The settings of both sides.
pub(super) struct Consume {
    pub(super) broker: ConsumeSettings,
    pub(super) pull: PullLimits,
    pub(super) settle: Deadline,
}

pub(super) fn read(from: &mut Reader<'_>) -> Consume {
    let pull = pull(from);
    let broker = broker(from, &pull);
    let settle = Deadline {
        default: from.read("GATEWAY_SETTLE_TIMEOUT", forms::duration_up_to(SETTLE_TIMEOUT_MAX)),
        max: SETTLE_TIMEOUT_MAX,
    };
    Consume { broker, pull, settle }
}

fn pull(from: &mut Reader<'_>) -> PullLimits {
    let max_wait = from.read("GATEWAY_PULL_WAIT_MAX", forms::positive_duration);
    let limits = PullLimits {
        default_max: from.read("RABBITMQ_PREFETCH_COUNT", forms::count(MAX_PREFETCH)),
        max: from.read("GATEWAY_PULL_MAX", forms::count(MAX_PREFETCH)),
        default_wait: WAIT.min(max_wait),
        max_wait,
        default_lease: from.read("GATEWAY_LEASE", forms::positive_duration),
        max_lease: from.read("GATEWAY_LEASE_MAX", forms::positive_duration),
        max_waiting: from.read("GATEWAY_MAX_WAITING_PULLS", forms::count(MANY)),
    };
    from.refuse_if(
        limits.default_max > limits.max,
        ["RABBITMQ_PREFETCH_COUNT", "GATEWAY_PULL_MAX"],
        "the first must not be larger than the second",
    );
    from.refuse_if(
        limits.default_lease > limits.max_lease,
        ["GATEWAY_LEASE", "GATEWAY_LEASE_MAX"],
        "the first must not be longer than the second",
    );
    limits
}

fn broker(from: &mut Reader<'_>, pull: &PullLimits) -> ConsumeSettings {
    let settings = ConsumeSettings {
        max_leases: from.read("GATEWAY_MAX_LEASES", forms::count(MANY)),
        max_lease_bytes: from.read("GATEWAY_MAX_LEASE_BYTES", forms::size),
        max_lease_queues: from.read("GATEWAY_MAX_LEASE_QUEUES", forms::count(MAX_QUEUES)),
        max_settled_leases: from.read("GATEWAY_MAX_SETTLED_LEASES", forms::count(MANY)),
        lease_max: pull.max_lease,
        pull_max: pull.max,
        settle_timeout_max: SETTLE_TIMEOUT_MAX,
    };
    from.refuse_if(
        settings.pull_max > settings.max_leases,
        ["GATEWAY_PULL_MAX", "GATEWAY_MAX_LEASES"],
        "the first must not be larger than the second, or the gateway cannot hold the messages of the largest pull",
    );
    settings
}
