//! The meaning and the remedy of each problem: the texts of the pages under `/problems`.
//!
//! There is one row for each kind, in a match without a catch-all arm, so a new kind does not compile without its row. Backticks
//! mark code.

use super::ProblemType;

/// The two paragraphs of a page.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The meaning of the problem, and the outcome of the message if there is one.
    pub meaning: &'static str,
    /// The remedy, for the caller or for the operator of the gateway.
    pub advice: &'static str,
}

const fn row(meaning: &'static str, advice: &'static str) -> Explanation {
    Explanation { meaning, advice }
}

impl ProblemType {
    /// Its meaning and its remedy.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    pub const fn explanation(self) -> Explanation {
        match self {
            Self::MalformedRequest => row(
                "A part of the request does not match the contract. Nothing was done.",
                "Correct the part that `detail` names (`field` has it for programs) and send the request again; `/docs` shows every parameter.",
            ),
            Self::Forbidden => row(
                "RabbitMQ does not permit the gateway's user to do this. Nothing was done.",
                "Give that user the permission that `detail` names: `rabbitmqctl set_permissions` sets configure, write and read for a virtual host.",
            ),
            Self::CrossOrigin => row(
                "The request comes from a web page of another origin, or names a host that is not this machine while the gateway listens on loopback only. Nothing was done.",
                "Name the page's origin in `GATEWAY_ALLOWED_ORIGINS`, or the host in `GATEWAY_ALLOWED_HOSTS`; `detail` says which of the two. A proxy in front of the gateway has to pass on the browser's `Host` unchanged.",
            ),
            Self::ReservedName => row(
                "The name is reserved for RabbitMQ or the gateway, such as `amq.*` or a reply queue. Nothing was done.",
                "Choose another name.",
            ),
            Self::NotFound => row(
                "The gateway has no such path.",
                "Compare the path with `/docs`. Write a slash inside a name as `%2F`.",
            ),
            Self::ExchangeNotFound => row(
                "RabbitMQ has no exchange with this name in the gateway's virtual host. The message was not sent.",
                "Declare the exchange, or correct the name; the default exchange is called `amq.default`.",
            ),
            Self::QueueNotFound => row(
                "RabbitMQ has no queue with this name in the gateway's virtual host. Nothing was sent.",
                "Declare the queue with `PUT /queues/{name}`, or correct the name. For `/rpc/{queue}`, start the server that answers the calls: usually it declares the queue.",
            ),
            Self::MethodNotAllowed => row(
                "The path exists, but it does not have this method.",
                "Use one of the methods that the answer's `Allow` header names.",
            ),
            Self::NotAcceptable => row(
                "The gateway cannot answer in any of the media types in `Accept`.",
                "Ask for `application/json`, or leave `Accept` out.",
            ),
            Self::RequestTimeout => row(
                "The request's body did not arrive in time. Nothing was sent to RabbitMQ.",
                "Send the request again, without pauses. If the body is large and the network is slow, raise `GATEWAY_BODY_TIMEOUT`.",
            ),
            Self::PreconditionFailed => row(
                "The queue already exists with another type or with other arguments. It was not changed.",
                "Declare the queue with the arguments that it has, or delete it, with its messages, and declare it again: RabbitMQ cannot change the arguments of a queue.",
            ),
            Self::ResourceInUse => row(
                "The queue has consumers or messages. It was not changed.",
                "Stop its consumers or empty it first, or leave `if_unused` and `if_empty` out.",
            ),
            Self::ResourceLocked => row(
                "The queue is exclusive to another connection. Nothing was done.",
                "Only the connection that declared the queue can use it: choose another name, or wait until that connection is closed.",
            ),
            Self::NotSupported => row(
                "The type of the queue does not support the operation: RabbitMQ purges no stream, and deletes neither a stream nor a quorum queue under a condition. The queue was not changed.",
                "Leave `if_unused` and `if_empty` out; delete a stream instead of purging it.",
            ),
            Self::PayloadTooLarge => row(
                "The body is larger than the limit. The message was not sent.",
                "Send less than `limit` bytes: split the message, or keep the content elsewhere and send a reference. The operator of the gateway can raise the limit.",
            ),
            Self::UnsupportedMediaType => row(
                "The gateway cannot read the media type or the content coding of the body. Nothing was done.",
                "Send `Content-Type: application/json` without `Content-Encoding`. A raw message to `/publish` may have any type.",
            ),
            Self::ExpectationFailed => row(
                "The request has an `Expect` header that the gateway does not know.",
                "Leave the header out, or send `100-continue`.",
            ),
            Self::Unroutable => row(
                "The exchange took the message and found no queue for it, so RabbitMQ returned it. It is in no queue.",
                "Declare the queue or bind one to the exchange with this routing key, then send the message again. If no queue has to take the message, set `mandatory=false`.",
            ),
            Self::HeadersTooLarge => row(
                "The headers of the request, or those of the message, are larger than the limit. Nothing was sent.",
                "Send fewer or shorter headers, and put data into the body.",
            ),
            Self::Internal => row(
                "The gateway failed. If the request was about a message, `outcome` is the outcome of the message.",
                "Search the gateway's log for the request's id, which is in `instance`, and report the defect.",
            ),
            Self::TransferCodingNotSupported => row(
                "The request has a transfer coding other than `chunked`.",
                "Send the body with a `Content-Length`, or chunked.",
            ),
            Self::ReplyChannelLost => row(
                "The connection for the reply was lost after the gateway sent the request. The server may execute the request nevertheless.",
                "Call again only if the server may execute the request twice without harm.",
            ),
            Self::BrokerUnavailable => row(
                "The gateway had no connection to RabbitMQ within the deadline. The message was not sent.",
                "Send it again after `Retry-After`. If the problem stays, look for the cause in `/health/rabbitmq` and in the gateway's log.",
            ),
            Self::BrokerBlocked => row(
                "RabbitMQ lacks memory or disk space and blocks all publishers. The message was not sent.",
                "Send it again after `Retry-After`. The operator of RabbitMQ has to make room: start consumers, add memory, or add disk space.",
            ),
            Self::BrokerRefused => row(
                "RabbitMQ refuses the gateway itself: its user, its virtual host, one more connection, or its reply queue. Nothing was sent.",
                "Follow `detail`: correct the user, password or virtual host of the gateway, give its user the permissions, or raise the limit. The gateway's log has RabbitMQ's own text.",
            ),
            Self::Rejected => row(
                "At least one queue refused the message, for example because it is full; other queues may have taken it. The gateway does not send it again.",
                "Send it again after `Retry-After`, with the same `message_id`, so that consumers recognise a duplicate. Look at the queue's length limit and its consumers.",
            ),
            Self::NoConsumers => row(
                "The queue has no consumer, and the call requires one with `require_consumers`. Nothing was sent.",
                "Start the server that answers the calls, then call again.",
            ),
            Self::Overloaded => row(
                "The gateway is at a limit, such as the number of requests in flight or the bytes of their bodies; `detail` names it. Nothing was sent.",
                "Send the request again after `Retry-After`. If the problem is frequent, run more replicas of the gateway or raise the limits.",
            ),
            Self::ShuttingDown => row(
                "The gateway is stopping. The message was not sent.",
                "Send it again: after `Retry-After`, or at once to another gateway.",
            ),
            Self::OutcomeUnknown => row(
                "The gateway wrote the message to RabbitMQ and got no answer in time. The message may be in a queue.",
                "Send it again with the same `message_id` if a duplicate does no harm: consumers can drop a message id that they have seen.",
            ),
            Self::RpcTimeout => row(
                "RabbitMQ has the request, and no reply came in time. The server may have executed it, or may still execute it.",
                "Check with `GET /queues/{name}` whether the queue has consumers. Allow more time with `timeout`. Call again only if the server may execute the request twice without harm.",
            ),
        }
    }
}
