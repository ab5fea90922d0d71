//! The requests and answers between replicas, as JSON. The type of a message names its version, so that replicas of two versions can
//! work side by side during an upgrade. Replies follow the JSON of a request, after a line feed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::carried::{self, CarriedSize};
use super::failure::FailureJson;
use crate::broker::consume::command::SettleResult;
use crate::broker::consume::lease_scope::LeaseScope;
use crate::broker::consume::settle::{Action, NoReplyTo, NotSettled, Retried, Settled};
use crate::broker::error::Error;
use crate::domain::lease::LeaseId;
use crate::domain::message::MessageId;
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::retry_step::RetryStep;

/// The type of a request of this version.
pub(in crate::broker::consume) const REQUEST: &str = "settle.v1";
/// The type of a request for copies and replies, of the same layout.
pub(in crate::broker::consume) const COPY_REQUEST: &str = "copy.v1";
/// The type of the answer to both.
pub(in crate::broker::consume) const ANSWER: &str = "settled.v1";
/// The type of the answer to a request of an unknown version.
pub(in crate::broker::consume) const UNSUPPORTED: &str = "unsupported";
/// The type of the answer to a request that finds no room now.
pub(in crate::broker::consume) const OVERLOADED: &str = "overloaded";
/// The type of the answer to a request that never finds room. Its body is the limit in bytes, as digits.
pub(in crate::broker::consume) const TOO_LARGE: &str = "too-large";

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    queue: String,
    /// The principal of the leases. Replicas without authentication leave it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    principal: String,
    actions: Vec<(String, ActionJson)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionJson {
    Ack,
    Release,
    Reject,
    /// Milliseconds.
    Extend(u64),
    Retry {
        /// Milliseconds.
        delay: u64,
        reason: Option<String>,
    },
    DeadLetter {
        exchange: String,
        routing_key: String,
        reason: Option<String>,
    },
    Reply(CarriedSize),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResultJson {
    Acked,
    Released,
    Rejected,
    /// Milliseconds since 1970.
    Extended(u64),
    Retried {
        /// Milliseconds since 1970.
        retry_at: u64,
        message_id: String,
        duplicate_possible: bool,
    },
    DeadLettered,
    Replied {
        delivered: Option<bool>,
    },
    NoReplyTo(NoReplyTo),
    CopyRejected,
    Expired,
    TooLarge(usize),
    Settling,
    Already(Box<ResultJson>),
    /// Milliseconds.
    TooLong(u64),
    /// The owner could not do it.
    Failed(FailureJson),
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request that was read.
#[derive(Debug, PartialEq)]
pub(in crate::broker::consume) struct Asked {
    pub(in crate::broker::consume) queue: QueueName,
    pub(in crate::broker::consume) principal: String,
    pub(in crate::broker::consume) actions: Vec<(LeaseId, Action)>,
}

/// A request to settle leases of this scope.
pub(in crate::broker::consume) fn request(scope: LeaseScope<'_>, actions: &[(LeaseId, Action)]) -> Vec<u8> {
    let mut replies = Vec::new();
    let mut action = |action: &Action| match action {
        Action::Ack => ActionJson::Ack,
        Action::Release => ActionJson::Release,
        Action::Reject => ActionJson::Reject,
        Action::Extend(lease) => ActionJson::Extend(milliseconds(*lease)),
        Action::Retry { step, reason } => {
            let delay = step.map(RetryStep::delay).unwrap_or_default();
            ActionJson::Retry { delay: milliseconds(delay), reason: reason.clone() }
        }
        Action::DeadLetter { exchange, routing_key, reason } => ActionJson::DeadLetter {
            exchange: exchange.in_path().to_owned(),
            routing_key: routing_key.to_string(),
            reason: reason.clone(),
        },
        Action::Reply(message) => ActionJson::Reply(carried::push(&mut replies, message)),
    };
    let actions = actions.iter().map(|(id, it)| (id.to_string(), action(it))).collect();
    let (queue, principal) = (scope.queue.as_str().to_owned(), scope.principal.to_owned());
    let mut request = json(&Request { queue, principal, actions });
    request.push(b'\n');
    request.append(&mut replies);
    request
}

/// The bytes that an action takes in a request, or a few more.
pub(in crate::broker::consume) fn size(action: &Action) -> usize {
    /// A lease id, and the words of an action.
    const WORDS: usize = 256;
    WORDS
        + match action {
            Action::Retry { reason, .. } => reason.as_ref().map_or(0, String::len),
            Action::DeadLetter { exchange, routing_key, reason } => {
                let names = exchange.as_str().len() + routing_key.as_str().len();
                names + reason.as_ref().map_or(0, String::len)
            }
            Action::Reply(message) => carried::size(message),
            Action::Ack | Action::Release | Action::Reject | Action::Extend(_) => 0,
        }
}

/// Reads a request; `None` if it is malformed.
pub(in crate::broker::consume) fn read_request(body: &Bytes) -> Option<Asked> {
    let end = body.iter().position(|byte| *byte == b'\n')?;
    let request: Request = serde_json::from_slice(&body[..end]).ok()?;
    let mut replies = body.slice(end + 1..);
    let actions = request.actions.into_iter();
    let actions = actions.map(|(id, it)| Some((id.parse().ok()?, read_action(it, &mut replies)?)));
    let (queue, actions) = (QueueName::parse(&request.queue).ok()?, actions.collect::<Option<_>>()?);
    Some(Asked { queue, principal: request.principal, actions })
}

fn read_action(action: ActionJson, replies: &mut Bytes) -> Option<Action> {
    Some(match action {
        ActionJson::Ack => Action::Ack,
        ActionJson::Release => Action::Release,
        ActionJson::Reject => Action::Reject,
        ActionJson::Extend(lease) => Action::Extend(Duration::from_millis(lease)),
        ActionJson::Retry { delay, reason } => {
            Action::Retry { step: RetryStep::for_delay(Duration::from_millis(delay)), reason }
        }
        ActionJson::DeadLetter { exchange, routing_key, reason } => Action::DeadLetter {
            exchange: ExchangeName::from_path(&exchange).ok()?,
            routing_key: ShortText::parse(routing_key).ok()?,
            reason,
        },
        ActionJson::Reply(size) => Action::Reply(Arc::new(carried::take(replies, size)?)),
    })
}

/// The answer with these results.
pub(in crate::broker::consume) fn answer(results: &[SettleResult]) -> Vec<u8> {
    json(&results.iter().map(result_json).collect::<Vec<_>>())
}

/// Reads the answer with this number of results; `None` if it is malformed.
pub(in crate::broker::consume) fn read_answer(body: &[u8], count: usize) -> Option<Vec<SettleResult>> {
    let results: Vec<ResultJson> = serde_json::from_slice(body).ok()?;
    (results.len() == count).then(|| results.into_iter().map(read_result).collect())
}

fn result_json(result: &SettleResult) -> ResultJson {
    match result {
        Ok(settled) => settled_json(settled),
        Err(NotSettled::Expired) => ResultJson::Expired,
        Err(NotSettled::Settling) => ResultJson::Settling,
        Err(NotSettled::NoReplyTo(why)) => ResultJson::NoReplyTo(*why),
        Err(NotSettled::TooLarge { limit }) => ResultJson::TooLarge(*limit),
        Err(NotSettled::CopyRejected) => ResultJson::CopyRejected,
        Err(NotSettled::Already(settled)) => ResultJson::Already(Box::new(settled_json(settled))),
        Err(NotSettled::TooLong { longest }) => ResultJson::TooLong(milliseconds(*longest)),
        Err(NotSettled::Failed(error)) => ResultJson::Failed(FailureJson::from(error)),
    }
}

fn settled_json(settled: &Settled) -> ResultJson {
    match settled {
        Settled::Acked => ResultJson::Acked,
        Settled::Released => ResultJson::Released,
        Settled::Rejected => ResultJson::Rejected,
        Settled::Extended { expires_at } => ResultJson::Extended(since_1970(*expires_at)),
        Settled::Retried(retried) => ResultJson::Retried {
            retry_at: since_1970(retried.retry_at),
            message_id: retried.message_id.to_string(),
            duplicate_possible: retried.duplicate_possible,
        },
        Settled::DeadLettered => ResultJson::DeadLettered,
        Settled::Replied { delivered } => ResultJson::Replied { delivered: *delivered },
    }
}

fn read_result(result: ResultJson) -> SettleResult {
    Ok(match result {
        ResultJson::Acked => Settled::Acked,
        ResultJson::Released => Settled::Released,
        ResultJson::Rejected => Settled::Rejected,
        ResultJson::Extended(time) => Settled::Extended { expires_at: time_of(time) },
        ResultJson::Retried { retry_at, message_id, duplicate_possible } => {
            let (retry_at, message_id) = (time_of(retry_at), MessageId::from(message_id));
            Settled::Retried(Arc::new(Retried { retry_at, message_id, duplicate_possible }))
        }
        ResultJson::DeadLettered => Settled::DeadLettered,
        ResultJson::Replied { delivered } => Settled::Replied { delivered },
        ResultJson::NoReplyTo(why) => return Err(NotSettled::NoReplyTo(why)),
        ResultJson::TooLarge(limit) => return Err(NotSettled::TooLarge { limit }),
        ResultJson::CopyRejected => return Err(NotSettled::CopyRejected),
        ResultJson::Expired => return Err(NotSettled::Expired),
        ResultJson::Settling => return Err(NotSettled::Settling),
        ResultJson::Already(settled) => {
            return Err(read_result(*settled).map_or(NotSettled::Settling, NotSettled::Already));
        }
        ResultJson::TooLong(longest) => {
            return Err(NotSettled::TooLong { longest: Duration::from_millis(longest) });
        }
        ResultJson::Failed(failure) => return Err(NotSettled::Failed(Error::from(failure))),
    })
}

fn since_1970(time: SystemTime) -> u64 {
    milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn time_of(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Writing to memory cannot fail, and the value has no map with keys that are not strings.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::error::Cause;
    use crate::domain::field::{FieldTable, FieldValue};
    use crate::domain::message::{Message, Properties};

    fn lease(serial: u64) -> LeaseId {
        LeaseId { owner: "owner".to_owned(), serial, secret: 7 }
    }

    fn reply(body: &'static str) -> Message {
        let properties = Properties {
            content_type: Some(ShortText::from_broker("application/json")),
            priority: Some(3),
            expiration: Some(1500),
            ..Properties::default()
        };
        let headers = [(ShortText::from_broker("x"), FieldValue::I8(5))].into_iter().collect();
        let id = MessageId::from("reply".to_owned());
        Message { id, properties, headers: FieldTable(headers), body: Bytes::from(body) }
    }

    #[test]
    fn a_request_is_read_as_it_was_written_and_a_malformed_one_is_none() {
        let queue = QueueName::parse("q").expect("a name");
        let actions = vec![
            (lease(1), Action::Ack),
            (lease(2), Action::Release),
            (lease(3), Action::Reject),
            (lease(4), Action::Extend(Duration::from_millis(1500))),
            (lease(5), Action::Retry { step: None, reason: None }),
            (
                lease(6),
                Action::Retry {
                    step: RetryStep::for_delay(Duration::from_secs(5)),
                    reason: Some("x".to_owned()),
                },
            ),
            (
                lease(7),
                Action::DeadLetter {
                    exchange: ExchangeName::default(),
                    routing_key: ShortText::from_broker("dead"),
                    reason: None,
                },
            ),
            (lease(8), Action::Reply(Arc::new(reply("{\"sum\":\n30}")))),
            (lease(9), Action::Reply(Arc::new(reply("")))),
        ];
        let of = |principal| request(LeaseScope { queue: &queue, principal }, &actions);
        let asked = |principal: &str| Asked {
            queue: queue.clone(),
            principal: principal.to_owned(),
            actions: actions.clone(),
        };
        // A replica without authentication names no principal, as older replicas do.
        assert!(!String::from_utf8_lossy(&of("")).contains("principal"));
        assert_eq!(read_request(&Bytes::from(of(""))), Some(asked("")));
        let written = Bytes::from(of("shop"));
        assert_eq!(read_request(&written), Some(asked("shop")));
        for length in 0..written.len() {
            assert_eq!(read_request(&written.slice(..length)), None, "{length} bytes");
        }
        for wrong in [
            "",
            "\n",
            "[]\n",
            "{\"queue\":\"\",\"actions\":[]}\n",
            "{\"queue\":\"q\",\"actions\":[[\"x\",\"ack\"]]}\n",
            "{\"queue\":\"q\",\"actions\":[[\"1.o.1.0000000000000007\",{\"reply\":{\"header\":9,\"body\":0}}]]}\nno header",
        ] {
            assert_eq!(read_request(&Bytes::from(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written_and_silence_stays_unknown() {
        let longest = Duration::from_mins(25);
        let expires_at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let results = vec![
            Ok(Settled::Acked),
            Ok(Settled::Released),
            Ok(Settled::Rejected),
            Ok(Settled::Extended { expires_at }),
            Ok(Settled::Retried(Arc::new(Retried {
                retry_at: expires_at,
                message_id: MessageId::from("m".to_owned()),
                duplicate_possible: true,
            }))),
            Ok(Settled::DeadLettered),
            Ok(Settled::Replied { delivered: Some(false) }),
            Ok(Settled::Replied { delivered: None }),
            Err(NotSettled::NoReplyTo(NoReplyTo::NoAddress)),
            Err(NotSettled::CopyRejected),
            Err(NotSettled::Expired),
            Err(NotSettled::Settling),
            Err(NotSettled::Already(Settled::Acked)),
            Err(NotSettled::TooLong { longest }),
            Err(NotSettled::Failed(Error::Unknown(Cause::Silence))),
        ];
        let written = answer(&results);
        assert_eq!(read_answer(&written, results.len()), Some(results));
        assert_eq!(read_answer(&written, 1), None);
        assert_eq!(read_answer(b"{}", 0), None);
    }
}
