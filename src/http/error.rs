//! Converts errors of the broker side into problems. An endpoint may replace the detail by one that knows the request.

use super::problem::{Problem, ProblemType};
use crate::broker::{
    Cause, Error, NoReplyTo, NotSettled, PublishFailure, Refusal, Settled, SharedResource, Unavailable,
};
use crate::domain::duration;
use crate::domain::outcome::Outcome;
use crate::fairness::OverShare;

/// Whether the caller may send the same message again.
fn is_retryable(outcome: Outcome, error: &Error) -> bool {
    match outcome {
        Outcome::Confirmed | Outcome::Accepted | Outcome::Unroutable => false,
        Outcome::Rejected | Outcome::Unknown => true,
        Outcome::NotSent => match error {
            Error::NotSent(_) | Error::Rejected | Error::Unknown(_) => true,
            Error::Refused(_) | Error::Unroutable { .. } => false,
        },
    }
}

/// The problem of a topology operation that failed.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        describe(&error).caused_by(&error)
    }
}

/// The problem of a publish that failed.
impl From<PublishFailure> for Problem {
    fn from(failure: PublishFailure) -> Self {
        let PublishFailure { error, attempts, outcome } = &failure;
        let is_about_an_earlier_attempt = *outcome != error.outcome();
        let problem = if is_about_an_earlier_attempt { earlier_attempt_lost() } else { describe(error) };
        problem.outcome(*outcome, is_retryable(*outcome, error)).with("attempts", *attempts).caused_by(error)
    }
}

/// The problem of a lease that is not settled.
impl From<NotSettled> for Problem {
    fn from(why: NotSettled) -> Self {
        match why {
            NotSettled::Expired => Self::new(
                ProblemType::LeaseExpired,
                "the queue has no lease with this id any more, and the message is back in the queue or settled; nothing was done",
            ),
            NotSettled::Already(settled) => {
                let outcome = word(&settled);
                let detail = format!("the lease is {outcome} already; nothing was done");
                Self::new(ProblemType::LeaseSettled, detail).with("settled_as", outcome)
            }
            NotSettled::Settling => Self::new(
                ProblemType::LeaseSettled,
                "the lease is being settled in another way; nothing was done",
            ),
            NotSettled::TooLong { longest } => {
                let limit = duration::format(longest);
                let why = format!(
                    "must end at most {limit} after the delivery of the message, which GATEWAY_LEASE_MAX sets"
                );
                Self::malformed("lease", why).with("limit", limit)
            }
            NotSettled::NoReplyTo(why) => Self::new(ProblemType::NoReplyTo, no_reply_to(why)),
            NotSettled::TooLarge { limit } => {
                let detail = format!(
                    "the replica of the gateway that holds the message takes at most {limit} bytes from another replica, as many as \
                     GATEWAY_MAX_LEASE_BYTES allows there: send less, or raise it; nothing was done"
                );
                Self::new(ProblemType::PayloadTooLarge, detail).with("limit", limit)
            }
            NotSettled::CopyRejected => Self::new(
                ProblemType::Rejected,
                "the only queue that the copy or the reply goes to refused it, for example because it is full; RabbitMQ does not hold it, \
                 and the lease goes on",
            ),
            NotSettled::Failed(error) => error.into(),
        }
    }
}

fn no_reply_to(why: NoReplyTo) -> String {
    let why = match why {
        NoReplyTo::NoQueue => "the message names no queue that a reply can go to in its property reply_to",
        NoReplyTo::NotText => {
            "the property reply_to or correlation_id of the message has bytes that are not UTF-8, which the gateway cannot send again"
        }
        NoReplyTo::NoAddress => {
            "the property reply_to of the message begins as an address of direct reply-to, and RabbitMQ cannot have made it"
        }
        NoReplyTo::Unreachable => {
            "RabbitMQ closed the gateway's connection over an earlier reply to the same address of direct reply-to, so the gateway sends \
             none there for 5 minutes"
        }
    };
    format!("{why}: ack the message or give it to the dead letters; nothing was done")
}

fn word(settled: &Settled) -> &'static str {
    match settled {
        Settled::Acked => "acked",
        Settled::Released => "released",
        Settled::Rejected => "rejected",
        Settled::Extended { .. } => "extended",
        Settled::Retried(_) => "retried",
        Settled::DeadLettered => "dead_lettered",
        Settled::Replied { .. } => "replied",
    }
}

/// The problem of an error of the broker side. Only 4xx problems hold RabbitMQ's own texts.
fn describe(error: &Error) -> Problem {
    match error {
        Error::NotSent(unavailable) => not_sent(unavailable),
        Error::Refused(refusal) => refused(refusal),
        Error::Unroutable { .. } => {
            Problem::new(ProblemType::Unroutable, "no queue is bound to the exchange for this routing key")
        }
        Error::Rejected => {
            Problem::new(ProblemType::Rejected, "at least one queue refused the message; others may hold it")
        }
        Error::Unknown(cause) => unknown(cause),
    }
}

fn not_sent(unavailable: &Unavailable) -> Problem {
    use ProblemType as Kind;
    match unavailable {
        Unavailable::NoConnection => Problem::new(
            Kind::BrokerUnavailable,
            "the gateway got no connection to RabbitMQ, or no channel, within the deadline; nothing was sent",
        ),
        Unavailable::Denied(why) => Problem::new(Kind::BrokerRefused, format!("{why}; nothing was sent")),
        Unavailable::Busy => Problem::new(
            Kind::Overloaded,
            "the channels to RabbitMQ were full until the deadline; nothing was sent",
        ),
        Unavailable::TooManyCalls => Problem::new(
            Kind::Overloaded,
            "as many calls wait for replies as GATEWAY_MAX_PENDING_REPLIES allows; nothing was sent",
        ),
        Unavailable::OverShare { of, share } => over_share(*share, of_resource(*of)),
        Unavailable::TooManySlow { limit } => Problem::new(Kind::Overloaded, too_many_slow(*limit)),
        Unavailable::TooManyLong { limit } => Problem::new(Kind::Overloaded, too_many_long(*limit)),
        Unavailable::TooManyLeases => Problem::new(
            Kind::Overloaded,
            "as many messages are leased as GATEWAY_MAX_LEASES, GATEWAY_MAX_LEASE_BYTES and GATEWAY_MAX_SETTLED_LEASES allow: \
             settle some of them first",
        ),
        Unavailable::TooManyLeaseQueues { limit } => Problem::new(
            Kind::Overloaded,
            format!(
                "{limit} other queues have a channel for pulls, as many as GATEWAY_MAX_LEASE_QUEUES allows"
            ),
        ),
        Unavailable::OtherVersion => Problem::new(
            Kind::Overloaded,
            "the replica of the gateway that holds the message has another version and does not know this request: send it again \
             after the upgrade",
        ),
        Unavailable::OwnerBusy => Problem::new(
            Kind::Overloaded,
            "the replica of the gateway that holds the message keeps as many requests of other replicas as it can: send it again; nothing \
             was done",
        ),
        Unavailable::Blocked => Problem::new(
            Kind::BrokerBlocked,
            "RabbitMQ takes no messages because of a resource alarm; nothing was sent",
        ),
        Unavailable::ShuttingDown => {
            Problem::new(Kind::ShuttingDown, "the gateway is stopping; nothing was sent")
        }
    }
}

/// The name of the resource, and its setting.
fn of_resource(resource: SharedResource) -> &'static str {
    match resource {
        SharedResource::PendingReplies => {
            "calls that wait for replies, as many as GATEWAY_MAX_PENDING_REPLIES allows"
        }
        SharedResource::Leases => "leased messages, as many as GATEWAY_MAX_LEASES allows",
    }
}

/// The problem of a principal that holds its fair share. `setting` names what is limited, and its setting.
pub(super) fn over_share(share: OverShare, setting: &str) -> Problem {
    let OverShare { held, limit } = share;
    let detail = format!(
        "the principal holds {held} of {limit} {setting}, and the rest is for others; nothing was done"
    );
    Problem::new(ProblemType::RateLimited, detail).with("limit", limit)
}

fn too_many_slow(limit: usize) -> String {
    format!(
        "RabbitMQ does not answer publishes to this destination in time, and {limit} other destinations of that kind have a \
         connection of their own already, as many as RABBITMQ_SLOW_CONNECTIONS allows; nothing was sent"
    )
}

fn too_many_long(limit: usize) -> String {
    format!(
        "{limit} long operations of this kind are running, as many as RABBITMQ_TOPOLOGY_CONNECTIONS allows; nothing was sent"
    )
}

fn refused(refusal: &Refusal) -> Problem {
    use ProblemType as Kind;
    let with_advice = |kind, reason: &str, advice| Problem::new(kind, format!("{reason}: {advice}"));
    match refusal {
        Refusal::ExchangeMissing { reason } => with_advice(
            Kind::ExchangeNotFound,
            reason,
            "declare the exchange with PUT /exchanges/{name} or correct its name; the default exchange is called amq.default",
        ),
        Refusal::QueueMissing { reason } => with_advice(
            Kind::QueueNotFound,
            reason,
            "declare the queue with PUT /queues/{name} or correct its name",
        ),
        Refusal::AccessRefused { reason } if reason.contains(" internal exchange '") => {
            with_advice(Kind::Forbidden, &without_user(reason), "publish to an exchange that is bound to it")
                .with("by", "broker")
        }
        Refusal::AccessRefused { reason } => with_advice(
            Kind::Forbidden,
            &without_user(reason),
            "give the gateway's user the permission on this name (rabbitmqctl set_permissions): configure to declare or delete, write to \
             publish, read to pull or purge, write on a queue and read on its exchange to bind dead letters; or use another name",
        )
        .with("by", "broker"),
        Refusal::Invalid { reason } => Problem::new(Kind::MalformedRequest, reason),
        Refusal::TypeUnknown { reason } => with_advice(
            Kind::MalformedRequest,
            reason,
            "use direct, fanout, topic or headers, or enable the plugin that has this type (rabbitmq-plugins enable)",
        ),
        Refusal::Differs { reason } => with_advice(
            Kind::PreconditionFailed,
            reason,
            "declare it with the arguments that it has, delete it first, or use another name",
        ),
        Refusal::InUse { reason } => with_advice(
            Kind::ResourceInUse,
            reason,
            "stop its consumers, purge it or remove its bindings, or leave out if_unused and if_empty",
        ),
        Refusal::NotSupported { reason } => {
            with_advice(Kind::NotSupported, reason, "this type of queue does not support it")
        }
        Refusal::HeadersTooLarge { bytes, limit } => {
            let detail = format!(
                "the properties and headers of the message, or the arguments of the queue, take {bytes} bytes, and \
                 a frame of the connection to RabbitMQ has {limit} bytes; nothing was sent"
            );
            Problem::new(Kind::HeadersTooLarge, detail).with("limit", *limit)
        }
        Refusal::TooLarge { reason } => {
            with_advice(Kind::PayloadTooLarge, reason, "send less, or raise RabbitMQ's max_message_size")
        }
        Refusal::Locked { reason } => with_advice(
            Kind::ResourceLocked,
            reason,
            "only the connection that declared the queue can use it; use another name",
        ),
    }
}

/// The beginning of RabbitMQ's text, such as "access to exchange 'x'", and the objects that the gateway made. The part between them names
/// the virtual host and the gateway's user, which callers have no use for.
fn without_user(reason: &str) -> String {
    let (said, remains) = reason.split_at(reason.find(Refusal::REMAINS).unwrap_or(reason.len()));
    let object = said.rsplit_once(" in vhost '").map_or("RabbitMQ refuses it", |(object, _)| object);
    format!("{object}{remains}")
}

fn unknown(cause: &Cause) -> Problem {
    match cause {
        Cause::NoReply => Problem::new(
            ProblemType::RpcTimeout,
            "no reply came within the deadline; the request may still be executed",
        ),
        Cause::ReplyChannelLost => Problem::new(
            ProblemType::ReplyChannelLost,
            "the gateway lost its reply queue before the reply came; the request may still be executed",
        ),
        Cause::Silence => Problem::new(
            ProblemType::OutcomeUnknown,
            "RabbitMQ did not answer within the deadline; whether it executed the request is unknown",
        ),
        Cause::Stopped => Problem::new(
            ProblemType::OutcomeUnknown,
            "the gateway is stopping and no longer waits for RabbitMQ's answer; whether RabbitMQ executed the request is unknown",
        ),
        Cause::Lost { .. } => Problem::new(
            ProblemType::OutcomeUnknown,
            "the connection to RabbitMQ was lost before RabbitMQ answered; whether it executed the request is unknown",
        ),
    }
}

fn earlier_attempt_lost() -> Problem {
    Problem::new(
        ProblemType::OutcomeUnknown,
        "an earlier attempt may have left the message in a queue, and a later attempt failed; whether RabbitMQ holds the message \
         is unknown",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(problem: Problem) -> Value {
        serde_json::from_slice(&problem.render("x")).expect("a problem is JSON")
    }

    #[test]
    fn too_many_slow_destinations_are_503_overloaded_and_the_detail_names_the_setting() {
        let error = Error::NotSent(Unavailable::TooManySlow { limit: 4 });
        let outcome = error.outcome();
        let body = body(PublishFailure { error, attempts: 0, outcome }.into());
        assert_eq!((&body["type"], &body["status"]), (&"/problems/overloaded".into(), &503.into()));
        assert_eq!((&body["outcome"], &body["retryable"]), (&"not_sent".into(), &true.into()));
        let detail = body["detail"].as_str().expect("a text");
        assert!(detail.contains(" 4 other destinations"), "{detail}");
        assert!(detail.contains("RABBITMQ_SLOW_CONNECTIONS"), "{detail}");
    }

    #[test]
    fn a_refusal_after_a_lost_attempt_is_504_and_the_detail_does_not_name_the_refusal() {
        let error = Error::Refused(Refusal::ExchangeMissing { reason: "no exchange 'e'".to_owned() });
        let failure = PublishFailure { error, attempts: 2, outcome: Outcome::Unknown };
        let body = body(failure.into());
        assert_eq!((&body["type"], &body["status"]), (&"/problems/outcome-unknown".into(), &504.into()));
        assert_eq!((&body["outcome"], &body["retryable"]), (&"unknown".into(), &true.into()));
        assert!(!body["detail"].as_str().expect("a text").contains("no exchange"), "{body}");
    }
}
