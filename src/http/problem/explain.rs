//! What each problem means and what to do about it: the words of the pages under `/problems`.
//!
//! One row a kind, in a match without a catch-all: a new kind does not compile without its row. Backticks mark code.

use super::ProblemType;

/// A page's two paragraphs.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// What happened, and what became of the message where there was one.
    pub meaning: &'static str,
    /// What the caller, or whoever runs the gateway, can do.
    pub advice: &'static str,
}

const fn row(meaning: &'static str, advice: &'static str) -> Explanation {
    Explanation { meaning, advice }
}

impl ProblemType {
    /// What it means and what to do.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    pub const fn explanation(self) -> Explanation {
        match self {
            Self::MalformedRequest => row(
                "A part of the request is not what the contract asks for. Nothing was done.",
                "Mend the part that `detail` names (`field` has it for programs) and send the request again; `/docs` shows every parameter.",
            ),
            Self::Forbidden => row(
                "The broker does not permit the gateway's user to do this. Nothing was done.",
                "Give that user the permission that `detail` names: `rabbitmqctl set_permissions` sets configure, write and read for a virtual host.",
            ),
            Self::CrossOrigin => row(
                "The request comes from a web page of another origin, or names a host that is not this machine while the gateway listens on loopback only. Nothing was done.",
                "Name the page's origin in `GATEWAY_ALLOWED_ORIGINS`, or the host in `GATEWAY_ALLOWED_HOSTS`; `detail` says which of them. A proxy in front passes on the browser's `Host` unchanged.",
            ),
            Self::ReservedName => row(
                "The name belongs to the broker or to the gateway itself, such as `amq.*` or a reply queue. Nothing was done.",
                "Choose a name of your own.",
            ),
            Self::NotFound => row(
                "Nothing is served under this path.",
                "Compare the path with `/docs`. A slash inside a name is written `%2F`.",
            ),
            Self::ExchangeNotFound => row(
                "The broker has no exchange of this name in the gateway's virtual host. The message was not sent.",
                "Declare the exchange, or mend the name; the default exchange is called `amq.default`.",
            ),
            Self::QueueNotFound => row(
                "The broker has no queue of this name in the gateway's virtual host. Nothing was sent.",
                "Declare the queue with `PUT /queues/{name}`, or mend the name. For `/rpc/{queue}` whoever answers the calls must be running: usually it declares the queue.",
            ),
            Self::MethodNotAllowed => row(
                "The path exists, the method does not.",
                "Use one of the methods that the answer's `Allow` header names.",
            ),
            Self::NotAcceptable => row(
                "None of the media types in `Accept` can be given.",
                "Ask for `application/json`, or leave `Accept` out.",
            ),
            Self::RequestTimeout => row(
                "The request's body did not arrive in time. Nothing was sent to the broker.",
                "Send it again, in one go. If it is large and the line is slow, raise the gateway's limit on the time of a body.",
            ),
            Self::PreconditionFailed => row(
                "The queue is there already, with another type or other arguments than those asked for. It was left as it is.",
                "Ask for what is there, or delete the queue, with its messages, and declare it anew: RabbitMQ cannot change the arguments of a queue.",
            ),
            Self::ResourceInUse => row(
                "The queue is used or not empty, or its type cannot do what was asked. It was left as it is.",
                "Stop its consumers or empty it first, or leave `if_unused` and `if_empty` out.",
            ),
            Self::ResourceLocked => row(
                "The queue is exclusive to another connection. Nothing was done.",
                "Only the connection that declared it can use it: take another name, or wait until that connection is gone.",
            ),
            Self::PayloadTooLarge => row(
                "The body is larger than the gateway takes. The message was not sent.",
                "Send less than `limit` bytes: split the message, or keep the content elsewhere and send a reference. Whoever runs the gateway can raise the limit.",
            ),
            Self::UnsupportedMediaType => row(
                "The body has a media type or a content coding that cannot be read here. Nothing was done.",
                "Send `Content-Type: application/json` without `Content-Encoding`. A raw message to `/publish` may have any type.",
            ),
            Self::ExpectationFailed => row(
                "The request has an `Expect` header that the gateway does not know.",
                "Leave it out, or send `100-continue`.",
            ),
            Self::Unroutable => row(
                "The exchange took the message and found no queue for it, so the broker returned it. It is in no queue.",
                "Declare the queue or bind one to the exchange with this routing key, then send the message again. If nobody needs to take it, say `mandatory=false`.",
            ),
            Self::HeadersTooLarge => row(
                "The headers of the request, or those of the message, are larger than the gateway takes. Nothing was sent.",
                "Send fewer or shorter ones; data belongs into the body.",
            ),
            Self::Internal => row(
                "The gateway failed. If the request was about a message, its `outcome` says what is known of it.",
                "Look into the gateway's log for the request's id, which is in `instance`, and report it as a defect.",
            ),
            Self::TransferCodingNotSupported => row(
                "The request has a transfer coding other than `chunked`.",
                "Send the body with a `Content-Length`, or chunked.",
            ),
            Self::ReplyChannelLost => row(
                "The connection on which the reply would have come was lost after the request was sent. It may be executed all the same.",
                "Call again only if it does no harm to execute the request twice.",
            ),
            Self::BrokerUnavailable => row(
                "There was no connection to the broker within the deadline. The message was not sent.",
                "Send it again after `Retry-After`. If it stays so, `/health/rabbitmq` and the gateway's log say what is wrong with the connection.",
            ),
            Self::BrokerBlocked => row(
                "The broker lacks memory or disk space and lets nobody publish. The message was not sent.",
                "Send it again after `Retry-After`. Whoever runs the broker makes room: consumers that catch up, more memory, a larger disk.",
            ),
            Self::BrokerRefused => row(
                "RabbitMQ refuses the gateway itself: its user, its virtual host, one more connection, or its reply queue. Nothing was sent.",
                "Do what `detail` names: correct the user, password or virtual host of the gateway, give its user the permissions, or raise the limit. The gateway's log has RabbitMQ's own text.",
            ),
            Self::Rejected => row(
                "At least one queue refused the message, for example because it is full; other queues may have taken it. The gateway does not send it again.",
                "Send it again after `Retry-After`, with the same `message_id` so that a duplicate can be told. Look at the queue's length limit and its consumers.",
            ),
            Self::NoConsumers => row(
                "Nobody consumes from the queue, and the call asked for that with `require_consumers`. Nothing was sent.",
                "Start whoever answers the calls, then call again.",
            ),
            Self::Overloaded => row(
                "The gateway has as many requests, or as many bytes of them, as it takes at one time. Nothing was sent.",
                "Send the request again after `Retry-After`. If it happens often, run more gateways or raise the limits.",
            ),
            Self::ShuttingDown => row(
                "The gateway is being stopped. The message was not sent.",
                "Send it again: after `Retry-After`, or at once to another gateway.",
            ),
            Self::OutcomeUnknown => row(
                "The message was written to the broker and no answer came in time. It may be in its queue or not.",
                "Send it again with the same `message_id` if a duplicate does no harm: consumers can drop what they have seen.",
            ),
            Self::RpcTimeout => row(
                "The request is with the broker and no reply came in time. It may have been executed, or still be in work.",
                "See with `GET /queues/{name}` whether anybody consumes. Allow more time with `timeout`. Call again only if it does no harm to execute the request twice.",
            ),
        }
    }
}
