//! Settles one lease by a reply to its message.

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;

use super::not_done::NotSent;
use super::request::Lease;
use super::{LeasePath, settle_naming};
use crate::broker::Action;
use crate::domain::message::DeliveryMode;
use crate::http::codec::{self, RawBody};
use crate::http::problem::Problem;
use crate::http::request::{Headers, PathNames, ReadBody, SettleDeadline, TimedQuery};
use crate::http::state::{AppState, PermittedBroker};

/// An envelope without the members that the gateway sets itself. `openapi/envelopes.rs` makes its schema.
#[derive(ToSchema)]
struct ReplyEnvelope {}

/// Reply to a message
///
/// For servers of RPC calls: the body goes to the queue that the message names in `reply_to`, with the `correlation_id` of the message.
/// Then the gateway acks the message. A message has at most one reply: if the answer of RabbitMQ to the reply is lost, the gateway does
/// not send it again. The same request again gets the same answer, also with another body.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/reply",
    operation_id = "reply_to_lease",
    tag = "messages",
    params(
        LeasePath,
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
        ("X-Amqp-Message-Id" = Option<String>, Header, description = "Identity of the reply; a UUIDv7 if not given"),
        ("X-Amqp-Reply-To" = Option<String>, Header, description = "Queue for a message that answers the reply"),
        ("X-Amqp-Type" = Option<String>, Header, description = "Application's name for the kind of reply"),
        ("X-Amqp-App-Id" = Option<String>, Header, description = "Application that replies"),
        ("X-Amqp-Priority" = Option<u8>, Header, maximum = 255, description = "0 to 255"),
        ("X-Amqp-Expiration" = Option<u64>, Header, maximum = 315_360_000_000_u64, description = "Milliseconds that the reply may wait in its queue; 0: RabbitMQ delivers it at once or drops it"),
        ("X-Amqp-Delivery-Mode" = Option<DeliveryMode>, Header, description = "`transient` (the default) or `persistent`"),
        ("X-Amqp-Timestamp" = Option<String>, Header, description = "RFC 3339, or seconds since 1970, not later than the year 9999"),
    ),
    request_body(
        description = "The bytes of the reply, of any media type; or an envelope without `routing_key`, `mandatory`, `correlation_id` and `user_id`",
        content(
            (RawBody = "application/octet-stream"),
            (ReplyEnvelope = "application/vnd.amqp.message+json", example = json!({"properties": {"type": "sum"}, "body": {"result": 30}})),
            (String = "text/plain", example = "30"),
        )
    ),
    responses(
        (status = 204, description = "RabbitMQ has read the ack of the message, and the reply was sent once", headers(
            ("X-Reply-Delivered" = String, description = "`true`: the queue has the reply; `false`: the queue is gone, as after a caller that has left; `unknown`: RabbitMQ does not tell for direct reply-to, or its answer was lost"),
        )),
        (status = 409, description = "`lease-settled`: the lease was settled in another way; nothing was done"),
        (status = 422, description = "`no-reply-to`: the message names no queue that a reply can go to; the lease goes on"),
        NotSent,
    )
)]
pub(in crate::http) async fn reply_to_lease(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames(lease): PathNames<Lease>,
    query: TimedQuery<SettleDeadline>,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<Response, Problem> {
    let (reply, reply_to) = codec::read_reply(&headers, &body, &state)?;
    drop(body);
    settle_naming(reply_to, &broker, lease, Action::Reply(reply.into()), query).await
}
