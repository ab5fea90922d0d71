//! The closed list of problem types. Each row has all that the gateway says of one kind: a new kind is a new row.
//!
//! `meaning` and `advice` are the paragraphs of the kind's page. Backticks mark code.

use axum::http::StatusCode;

/// All that the gateway says of a kind of problem.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The last segment of its URI.
    pub name: &'static str,
    /// Its HTTP status.
    pub status: StatusCode,
    /// The kind in a few words.
    pub title: &'static str,
    /// Seconds after which a retry makes sense. Every 429 and 503 has them, and a key in use.
    pub retry_after: Option<u16>,
    /// The operations whose contract names it.
    pub operations: Operations,
    /// The meaning of the problem, and the outcome of the message if there is one.
    pub meaning: &'static str,
    /// The remedy, for the caller or for the operator of the gateway.
    pub advice: &'static str,
}

/// The operations whose contract names a kind of problem, in addition to those whose annotations name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operations {
    /// Every operation: the gateway refuses the request by its header alone.
    Every,
    /// Operations that read a body.
    WithBody,
    /// Operations that need a permission.
    Closed,
    /// Operations that ask RabbitMQ.
    AsksRabbitMq,
    /// Operations on queues and bindings, and calls, which may inspect their queue.
    OnQueues,
    /// No other operations.
    Named,
}

/// Makes the type, the list of all kinds, and the look-up of a row from the rows.
macro_rules! problem_types {
    ($($kind:ident {
        name: $name:literal, status: $status:ident, title: $title:literal, retry_after: $retry:expr, operations: $operations:ident,
        meaning: $meaning:literal,
        advice: $advice:literal,
    })*) => {
        /// A kind of problem; `/problems/<name>` explains it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the table describes each")]
        pub enum ProblemType {
            $($kind,)*
        }

        impl ProblemType {
            /// Every kind, in the order of their statuses.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Its row in the table.
            #[must_use]
            pub const fn row(self) -> &'static Row {
                match self {
                    $(Self::$kind => &Row {
                        name: $name,
                        status: StatusCode::$status,
                        title: $title,
                        retry_after: $retry,
                        operations: Operations::$operations,
                        meaning: $meaning,
                        advice: $advice,
                    },)*
                }
            }
        }
    };
}

problem_types! {
    MalformedRequest {
        name: "malformed-request", status: BAD_REQUEST, title: "Malformed request", retry_after: None, operations: Every,
        meaning: "A part of the request does not match the contract. Nothing was done.",
        advice: "Correct the part that `detail` names (`field` has it for programs) and send the request again; `/docs` shows every parameter.",
    }
    Unauthorized {
        name: "unauthorized", status: UNAUTHORIZED, title: "Unauthorized", retry_after: None, operations: Closed,
        meaning: "The request has no credentials, or credentials that the gateway does not accept, or no longer. Nothing was done.",
        advice: "Send a valid API key as `Authorization: Bearer rgw_…`. The operator of the gateway makes one with `rabbitmq-gateway key new`.",
    }
    Forbidden {
        name: "forbidden", status: FORBIDDEN, title: "Forbidden", retry_after: None, operations: Closed,
        meaning: "The caller may not do this (`by` is `gateway`, and `missing` names the permissions), or RabbitMQ does not permit it to the gateway's user (`by` is `broker`). Nothing was done.",
        advice: "Add the permissions in `missing` to the caller in the gateway's file of principals; or give the gateway's user the permission that `detail` names: `rabbitmqctl set_permissions` sets configure, write and read for a virtual host.",
    }
    CrossOrigin {
        name: "cross-origin", status: FORBIDDEN, title: "Cross-origin request", retry_after: None, operations: Every,
        meaning: "The request comes from a web page of another origin, or names a host that is not this machine while the gateway listens on loopback only. Nothing was done.",
        advice: "Name the page's origin in `GATEWAY_ALLOWED_ORIGINS`, or the host in `GATEWAY_ALLOWED_HOSTS`; `detail` says which of the two. A proxy in front of the gateway has to pass on the browser's `Host` unchanged.",
    }
    ReservedName {
        name: "reserved-name", status: FORBIDDEN, title: "Reserved name", retry_after: None, operations: WithBody,
        meaning: "The name is reserved for RabbitMQ or the gateway, such as `amq.*` or a reply queue. Nothing was done.",
        advice: "Choose another name.",
    }
    NotFound {
        name: "not-found", status: NOT_FOUND, title: "Not found", retry_after: None, operations: Named,
        meaning: "The gateway has no such path.",
        advice: "Compare the path with `/docs`. Write a slash inside a name as `%2F`.",
    }
    ExchangeNotFound {
        name: "exchange-not-found", status: NOT_FOUND, title: "Exchange not found", retry_after: None, operations: Named,
        meaning: "RabbitMQ has no exchange with this name in the gateway's virtual host. The message was not sent.",
        advice: "Declare the exchange with `PUT /exchanges/{name}`, or correct the name; the default exchange is called `amq.default`.",
    }
    QueueNotFound {
        name: "queue-not-found", status: NOT_FOUND, title: "Queue not found", retry_after: None, operations: Named,
        meaning: "RabbitMQ has no queue with this name in the gateway's virtual host. Nothing was sent.",
        advice: "Declare the queue with `PUT /queues/{name}`, or correct the name. For `/rpc/{queue}`, start the server that answers the calls: usually it declares the queue.",
    }
    MethodNotAllowed {
        name: "method-not-allowed", status: METHOD_NOT_ALLOWED, title: "Method not allowed", retry_after: None, operations: Named,
        meaning: "The path exists, but it does not have this method.",
        advice: "Use one of the methods that the answer's `Allow` header names.",
    }
    NotAcceptable {
        name: "not-acceptable", status: NOT_ACCEPTABLE, title: "Not acceptable", retry_after: None, operations: Named,
        meaning: "The gateway cannot answer in any of the media types in `Accept`.",
        advice: "Ask for `application/json`, or leave `Accept` out.",
    }
    RequestTimeout {
        name: "request-timeout", status: REQUEST_TIMEOUT, title: "Request timeout", retry_after: None, operations: WithBody,
        meaning: "The request's body did not arrive in time. Nothing was sent to RabbitMQ.",
        advice: "Send the request again, without pauses. If the body is large and the network is slow, raise `GATEWAY_BODY_TIMEOUT`.",
    }
    PreconditionFailed {
        name: "precondition-failed", status: CONFLICT, title: "Exists with other properties", retry_after: None, operations: Named,
        meaning: "The queue or exchange already exists with another type or with other arguments. It was not changed.",
        advice: "Declare it with the arguments that it has, or delete it (a queue with its messages, an exchange with its bindings) and declare it again: RabbitMQ cannot change the arguments.",
    }
    ResourceInUse {
        name: "resource-in-use", status: CONFLICT, title: "Resource in use", retry_after: None, operations: Named,
        meaning: "The queue has consumers or messages, or the exchange has bindings. It was not changed.",
        advice: "Stop its consumers, empty it or remove its bindings first, or leave `if_unused` and `if_empty` out.",
    }
    ResourceLocked {
        name: "resource-locked", status: CONFLICT, title: "Resource locked", retry_after: None, operations: OnQueues,
        meaning: "The queue is exclusive to another connection. Nothing was done.",
        advice: "Only the connection that declared the queue can use it: choose another name, or wait until that connection is closed.",
    }
    NotSupported {
        name: "not-supported", status: CONFLICT, title: "Not supported by this type of queue", retry_after: None, operations: Named,
        meaning: "The type of the queue does not support the operation: RabbitMQ purges no stream, and deletes neither a stream nor a quorum queue under a condition; a pull takes no messages from a stream or an auto-delete queue. The queue was not changed.",
        advice: "Leave `if_unused` and `if_empty` out; delete a stream instead of purging it. For pulls, declare the queue with `expires_ms` in place of `auto_delete`.",
    }
    IdempotencyKeyInUse {
        name: "idempotency-key-in-use", status: CONFLICT, title: "Idempotency key in use", retry_after: Some(1), operations: Named,
        meaning: "An earlier request with this `Idempotency-Key` is still in flight. This request sent nothing; the earlier one may have, so the outcome of the message is not known yet.",
        advice: "Send the request again after `Retry-After`, without a change: the answer is then that of the earlier request, or the message is sent.",
    }
    LeaseSettled {
        name: "lease-settled", status: CONFLICT, title: "Lease settled already", retry_after: None, operations: Named,
        meaning: "The lease was settled in another way before, or is being settled in another way; `settled_as` says how. This item changed nothing.",
        advice: "Leave the item out: the message has the outcome that `settled_as` names. Let one part of your program decide on each message.",
    }
    LeaseExpired {
        name: "lease-expired", status: GONE, title: "Lease expired", retry_after: None, operations: Named,
        meaning: "The queue has no lease with this id: the lease expired, the connection that held the message was lost, or the id is of another queue. RabbitMQ has the message in its queue again, or somebody else has settled it.",
        advice: "Leave the item out: the message is delivered again, so process it without harm a second time. Ask for a longer `lease`, or extend it in time, where the work takes longer.",
    }
    PayloadTooLarge {
        name: "payload-too-large", status: PAYLOAD_TOO_LARGE, title: "Payload too large", retry_after: None, operations: Every,
        meaning: "The body is larger than the limit. The message was not sent.",
        advice: "Send less than `limit` bytes: split the message, or keep the content elsewhere and send a reference. The operator of the gateway can raise the limit.",
    }
    UnsupportedMediaType {
        name: "unsupported-media-type", status: UNSUPPORTED_MEDIA_TYPE, title: "Unsupported media type", retry_after: None, operations: WithBody,
        meaning: "The gateway cannot read the media type or the content coding of the body. Nothing was done.",
        advice: "Send `Content-Type: application/json` without `Content-Encoding`. A raw message to `/publish` may have any type.",
    }
    ExpectationFailed {
        name: "expectation-failed", status: EXPECTATION_FAILED, title: "Expectation failed", retry_after: None, operations: Every,
        meaning: "The request has an `Expect` header that the gateway does not know.",
        advice: "Leave the header out, or send `100-continue`.",
    }
    Unroutable {
        name: "unroutable", status: UNPROCESSABLE_ENTITY, title: "No queue took the message", retry_after: None, operations: Named,
        meaning: "The exchange took the message and found no queue for it, so RabbitMQ returned it. It is in no queue.",
        advice: "Declare the queue or bind one to the exchange with this routing key, then send the message again. If no queue has to take the message, set `mandatory=false`.",
    }
    NoReplyTo {
        name: "no-reply-to", status: UNPROCESSABLE_ENTITY, title: "No queue for the reply", retry_after: None, operations: Named,
        meaning: "The message names no queue that a reply can go to in its property `reply_to`, or has a `correlation_id` that the gateway cannot send. Nothing was done, and the lease goes on.",
        advice: "Ack the message, or give it to the dead letters: its publisher does not wait for a reply, or waits where none can arrive; `detail` says which. To call a server over HTTP, use `POST /rpc/{queue}`.",
    }
    IdempotencyKeyReused {
        name: "idempotency-key-reused", status: UNPROCESSABLE_ENTITY, title: "Idempotency key reused", retry_after: None, operations: Named,
        meaning: "The `Idempotency-Key` belongs to an earlier request with another message: the routing key, `mandatory`, the properties, the headers or the body differ. This message was not sent.",
        advice: "Use a new key for each message. A retry has to repeat its message without a change, also its `X-Amqp-Timestamp`; trace headers may differ.",
    }
    RateLimited {
        name: "rate-limited", status: TOO_MANY_REQUESTS, title: "Fair share used", retry_after: Some(1), operations: AsksRabbitMq,
        meaning: "The principal holds its fair share of a limit of the gateway, such as the number of requests in flight; `detail` names it. The rest is for other principals. Nothing was sent.",
        advice: "Send the request again after `Retry-After`, and keep fewer requests in flight. The operator of the gateway can raise the limit that `detail` names.",
    }
    HeadersTooLarge {
        name: "headers-too-large", status: REQUEST_HEADER_FIELDS_TOO_LARGE, title: "Headers too large", retry_after: None, operations: Every,
        meaning: "The headers of the request, or those of the message, are larger than the limit. Nothing was sent.",
        advice: "Send fewer or shorter headers, and put data into the body.",
    }
    Internal {
        name: "internal", status: INTERNAL_SERVER_ERROR, title: "Internal error", retry_after: None, operations: Every,
        meaning: "The gateway failed. If the request was about a message, `outcome` is the outcome of the message.",
        advice: "Search the gateway's log for the request's id, which is in `instance`, and report the defect.",
    }
    TransferCodingNotSupported {
        name: "transfer-coding-not-supported", status: NOT_IMPLEMENTED, title: "Transfer coding not supported", retry_after: None, operations: Every,
        meaning: "The request has a transfer coding other than `chunked`.",
        advice: "Send the body with a `Content-Length`, or chunked.",
    }
    ReplyChannelLost {
        name: "reply-channel-lost", status: BAD_GATEWAY, title: "Reply channel lost", retry_after: None, operations: Named,
        meaning: "The connection for the reply was lost after the gateway sent the request. The server may execute the request nevertheless.",
        advice: "Call again only if the server may execute the request twice without harm.",
    }
    BrokerUnavailable {
        name: "broker-unavailable", status: SERVICE_UNAVAILABLE, title: "RabbitMQ unavailable", retry_after: Some(1), operations: AsksRabbitMq,
        meaning: "The gateway had no connection to RabbitMQ within the deadline. The message was not sent.",
        advice: "Send it again after `Retry-After`. If the problem stays, look for the cause in `/health/rabbitmq` and in the gateway's log.",
    }
    BrokerBlocked {
        name: "broker-blocked", status: SERVICE_UNAVAILABLE, title: "RabbitMQ blocks publishers", retry_after: Some(5), operations: Named,
        meaning: "RabbitMQ lacks memory or disk space and blocks all publishers. The message was not sent.",
        advice: "Send it again after `Retry-After`. The operator of RabbitMQ has to make room: start consumers, add memory, or add disk space.",
    }
    BrokerRefused {
        name: "broker-refused", status: SERVICE_UNAVAILABLE, title: "RabbitMQ refuses the gateway", retry_after: Some(30), operations: AsksRabbitMq,
        meaning: "RabbitMQ refuses the gateway itself: its user, its virtual host, one more connection, or its reply queue. Nothing was sent.",
        advice: "Follow `detail`: correct the user, password or virtual host of the gateway, give its user the permissions, or raise the limit. The gateway's log has RabbitMQ's own text.",
    }
    Rejected {
        name: "rejected", status: SERVICE_UNAVAILABLE, title: "A queue refused the message", retry_after: Some(1), operations: Named,
        meaning: "At least one queue refused the message, for example because it is full; other queues may have taken it. The gateway does not send it again.",
        advice: "Send it again after `Retry-After`, with the same `message_id`, so that consumers recognise a duplicate. Look at the queue's length limit and its consumers.",
    }
    NoConsumers {
        name: "no-consumers", status: SERVICE_UNAVAILABLE, title: "The queue has no consumer", retry_after: Some(1), operations: Named,
        meaning: "The queue has no consumer, and the call requires one with `require_consumers`. Nothing was sent.",
        advice: "Start the server that answers the calls, then call again.",
    }
    Overloaded {
        name: "overloaded", status: SERVICE_UNAVAILABLE, title: "Overloaded", retry_after: Some(1), operations: Every,
        meaning: "The gateway is at a limit, such as the number of requests in flight or the bytes of their bodies; `detail` names it. Nothing was sent.",
        advice: "Send the request again after `Retry-After`. If the problem is frequent, run more replicas of the gateway or raise the limits.",
    }
    ShuttingDown {
        name: "shutting-down", status: SERVICE_UNAVAILABLE, title: "Shutting down", retry_after: Some(5), operations: AsksRabbitMq,
        meaning: "The gateway is stopping. The message was not sent.",
        advice: "Send it again: after `Retry-After`, or at once to another gateway.",
    }
    OutcomeUnknown {
        name: "outcome-unknown", status: GATEWAY_TIMEOUT, title: "Outcome unknown", retry_after: None, operations: AsksRabbitMq,
        meaning: "The gateway wrote the message to RabbitMQ and got no answer in time. The message may be in a queue.",
        advice: "Send it again with the same `message_id` if a duplicate does no harm: consumers can drop a message id that they have seen.",
    }
    RpcTimeout {
        name: "rpc-timeout", status: GATEWAY_TIMEOUT, title: "No reply in time", retry_after: None, operations: Named,
        meaning: "RabbitMQ has the request, and no reply came in time. The server may have executed it, or may still execute it.",
        advice: "Check with `GET /queues/{name}` whether the queue has consumers. Allow more time with `timeout`. Call again only if the server may execute the request twice without harm.",
    }
}
