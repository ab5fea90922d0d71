//! Describes the problems of actions with one lease in the contract. `problem` writes them.

use utoipa::IntoResponses;

/// The problems of an action that sends no message.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only describes the answers in the contract")]
pub(super) enum NotDone {
    /// `malformed-request`: names the field
    #[response(status = 400)]
    Malformed,
    /// `reserved-name`: the queue belongs to RabbitMQ or to the gateway; `forbidden`: the gateway's user may not ask the replica that
    /// holds the lease; `cross-origin`
    #[response(status = 403)]
    Forbidden,
    /// `request-timeout`: the request announced a body, which it must not have, and the body did not come
    #[response(status = 408)]
    BodyLate,
    /// `lease-settled`: the lease was settled in another way; nothing was done
    #[response(status = 409)]
    Settled,
    /// `lease-expired`: the queue has no lease with this id any more; nothing was done
    #[response(status = 410)]
    Expired,
    /// `broker-unavailable`, `broker-blocked`, `broker-refused`, `overloaded`, `shutting-down`: nothing was done
    #[response(status = 503)]
    NotSent,
    /// `outcome-unknown`: send the same request again
    #[response(status = 504)]
    Unknown,
}

/// The problems of an action that sends a copy of the message, or a reply to it. Each operation describes 409 and 422 itself.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only describes the answers in the contract")]
pub(super) enum NotSent {
    /// `malformed-request`: names the field
    #[response(status = 400)]
    Malformed,
    /// `reserved-name`: the queue belongs to RabbitMQ or to the gateway; `forbidden`: the gateway's user may not publish there, declare the
    /// wait queue of a delay, or ask the replica that holds the lease; `cross-origin`. The lease goes on
    #[response(status = 403)]
    Forbidden,
    /// `request-timeout`: the body did not come in time
    #[response(status = 408)]
    BodyLate,
    /// `lease-expired`: the queue has no lease with this id any more; nothing was done
    #[response(status = 410)]
    Expired,
    /// `payload-too-large`: the gateway or RabbitMQ refuses the body, or the message that it would send; the lease goes on
    #[response(status = 413)]
    TooLarge,
    /// `headers-too-large`: the headers of the message that it would send do not fit a frame of AMQP; the lease goes on
    #[response(status = 431)]
    HeadersTooLarge,
    /// `rejected`: a queue refused the message that the gateway sent, and others may hold it: send the same request again;
    /// `broker-unavailable`, `broker-blocked`, `broker-refused`, `overloaded`, `shutting-down`: nothing was sent. The lease goes on
    #[response(status = 503)]
    NotTaken,
    /// `outcome-unknown`: send the same request again
    #[response(status = 504)]
    Unknown,
}
