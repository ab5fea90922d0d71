//! The results of a settle.

use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::items::{Item, SettleItems};
use super::member::Member;
use crate::broker::{NotSettled, Settled};
use crate::domain::path_prefix::PathPrefix;
use crate::http::endpoints::messages::time::rfc3339;
use crate::http::problem::{ItemProblem, Problem};

/// The results of a settle.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SettleResults {
    /// The result of each item, in the order of the request.
    results: Vec<SettleResult>,
    /// The number of items by outcome.
    counts: SettleCounts,
}

/// The result of one item: an outcome, or a problem.
#[derive(Debug, Serialize, ToSchema)]
struct SettleResult {
    /// The lease of the item.
    lease_id: String,
    /// The member of the request that names the lease.
    action: Member,
    /// The outcome of an item that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<SettleOutcome>,
    /// When an extended lease expires, in UTC (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, example = "2026-11-28T06:01:00.000Z")]
    lease_expires_at: Option<String>,
    /// When a retried message comes again, in UTC (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, example = "2026-11-28T06:01:00.000Z")]
    retry_at: Option<String>,
    /// The id of a retried message, also if its publisher gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Whether an earlier copy of a retried message, with the same id, may be in a queue too.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_possible: Option<bool>,
    /// Whether the queue for a reply has got it. `null` if that is unknown: RabbitMQ does not tell for direct reply-to, and the gateway
    /// does not send a reply again whose answer was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<bool>)]
    reply_delivered: Option<Delivered>,
    /// The reason why the item is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ItemProblem>,
}

/// Whether a reply was delivered; null if it is unknown.
#[derive(Debug, Serialize)]
struct Delivered(Option<bool>);

/// The outcome of an item that is done.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SettleOutcome {
    /// RabbitMQ has read the ack.
    Acked,
    /// The message is back in its queue.
    Released,
    /// RabbitMQ has dropped or dead-lettered the message.
    Rejected,
    /// The lease expires later.
    Extended,
    /// A copy of the message comes again.
    Retried,
    /// A copy of the message is at the exchange for dead letters.
    DeadLettered,
    /// The reply was sent once; `reply_delivered` says whether it arrived.
    Replied,
}

/// The number of items by outcome.
#[derive(Debug, Default, Serialize, ToSchema)]
struct SettleCounts {
    acked: u64,
    released: u64,
    rejected: u64,
    extended: u64,
    retried: u64,
    dead_lettered: u64,
    replied: u64,
    /// Items with a problem.
    failed: u64,
}

impl SettleResults {
    /// The results of these items for the caller of a gateway below this prefix.
    pub(super) fn of(
        items: SettleItems,
        settled: Vec<Result<Settled, NotSettled>>,
        prefix: &PathPrefix,
    ) -> Self {
        let mut counts = SettleCounts::default();
        for one in &settled {
            *counts.of_mut(one.as_ref().ok().map(SettleOutcome::of)) += 1;
        }
        let results = items.into_iter().zip(settled);
        let results = results.map(|(item, settled)| SettleResult::of(&item, settled, prefix)).collect();
        Self { results, counts }
    }

    /// Whether no item has a problem.
    pub(super) fn are_all_done(&self) -> bool {
        self.counts.failed == 0
    }
}

impl SettleResult {
    fn of(item: &Item, settled: Result<Settled, NotSettled>, prefix: &PathPrefix) -> Self {
        let outcome = settled.as_ref().ok().map(SettleOutcome::of);
        let lease_expires_at = match &settled {
            Ok(Settled::Extended { expires_at }) => Some(rfc3339(*expires_at)),
            _ => None,
        };
        let retried = match &settled {
            Ok(Settled::Retried(retried)) => Some(&**retried),
            _ => None,
        };
        let reply_delivered = match &settled {
            Ok(Settled::Replied { delivered }) => Some(Delivered(*delivered)),
            _ => None,
        };
        Self {
            lease_id: item.id.to_string(),
            action: item.member,
            outcome,
            lease_expires_at,
            retry_at: retried.map(|it| rfc3339(it.retry_at)),
            message_id: retried.map(|it| it.message_id.to_string()),
            duplicate_possible: retried.map(|it| it.duplicate_possible),
            reply_delivered,
            problem: settled.err().map(|why| Problem::from(why).into_item(prefix)),
        }
    }
}

impl SettleOutcome {
    fn of(settled: &Settled) -> Self {
        match settled {
            Settled::Acked => Self::Acked,
            Settled::Released => Self::Released,
            Settled::Rejected => Self::Rejected,
            Settled::Extended { .. } => Self::Extended,
            Settled::Retried(_) => Self::Retried,
            Settled::DeadLettered => Self::DeadLettered,
            Settled::Replied { .. } => Self::Replied,
        }
    }
}

impl SettleCounts {
    fn of_mut(&mut self, outcome: Option<SettleOutcome>) -> &mut u64 {
        match outcome {
            Some(SettleOutcome::Acked) => &mut self.acked,
            Some(SettleOutcome::Released) => &mut self.released,
            Some(SettleOutcome::Rejected) => &mut self.rejected,
            Some(SettleOutcome::Extended) => &mut self.extended,
            Some(SettleOutcome::Retried) => &mut self.retried,
            Some(SettleOutcome::DeadLettered) => &mut self.dead_lettered,
            Some(SettleOutcome::Replied) => &mut self.replied,
            None => &mut self.failed,
        }
    }
}

/// Writes one log line if items failed for a reason that is not their caller's mistake.
pub(super) fn log_failures(settled: &[Result<Settled, NotSettled>]) {
    let problems = settled.iter().filter_map(|one| one.as_ref().err().cloned()).map(Problem::from);
    let mut of_server = problems.filter(|problem| problem.kind().status().is_server_error());
    let Some(first) = of_server.next() else { return };
    let (failed, items) = (1 + of_server.count(), settled.len());
    let (problem, detail, cause) = (first.kind().name(), first.detail(), first.cause());
    error!(failed, items, problem, detail, cause, "leases were not settled; this is the first problem");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::broker::Cause;
    use crate::domain::names::QueueName;
    use crate::http::endpoints::messages::settle::items::Reading;

    #[test]
    fn each_item_has_an_outcome_or_a_problem_and_all_are_counted() {
        let ids: Vec<_> = (1..=6).map(|serial| format!("1.owner.{serial}.0000000000000007")).collect();
        let body = json!({
            "extend": [{"lease_id": ids[0], "lease": "1m"}, {"lease_id": ids[1], "lease": "1h"}],
            "ack": [ids[2], ids[3]], "release": [ids[4]], "reject": [ids[5]]
        });
        let queue = QueueName::parse("q").expect("a name");
        let no_reply = |_: &Bytes| Err(Problem::internal("the body has no reply"));
        let reading = Reading { queue: &queue, max_delay: Duration::ZERO, read_reply: no_reply };
        let items = reading.items(&Bytes::from(body.to_string())).expect("items");
        let members: Vec<_> = items.actions().into_iter().map(|(id, _)| id.to_string()).collect();
        let expires_at = UNIX_EPOCH + Duration::from_mins(1);
        let settled = |id: &str| match ids.iter().position(|other| other == id) {
            Some(0) => Ok(Settled::Extended { expires_at }),
            Some(1) => Err(NotSettled::TooLong { longest: Duration::from_mins(25) }),
            Some(2) => Ok(Settled::Acked),
            Some(3) => Err(NotSettled::Already(Settled::Released)),
            Some(4) => Err(NotSettled::Expired),
            _ => Err(NotSettled::Failed(Cause::Silence.into())),
        };
        let settled = members.iter().map(|id| settled(id)).collect();
        let results = SettleResults::of(items, settled, &PathPrefix::default());
        assert!(!results.are_all_done());
        let written = serde_json::to_value(&results).expect("JSON");
        let expected = json!({
            "acked": 1, "released": 0, "rejected": 0, "extended": 1, "retried": 0, "dead_lettered": 0, "replied": 0, "failed": 4
        });
        assert_eq!(written["counts"], expected);
        let of = |id: &String| {
            let mut results = written["results"].as_array().into_iter().flatten();
            results.find(|result| result["lease_id"] == *id).cloned().unwrap_or(Value::Null)
        };
        let extended = json!({
            "lease_id": ids[0], "action": "extend", "outcome": "extended",
            "lease_expires_at": "1970-01-01T00:01:00.000Z"
        });
        assert_eq!(of(&ids[0]), extended);
        assert_eq!(of(&ids[2]), json!({"lease_id": ids[2], "action": "ack", "outcome": "acked"}));
        for (id, kind, status, member, value) in [
            (&ids[1], "malformed-request", 400, "limit", json!("25m")),
            (&ids[3], "lease-settled", 409, "settled_as", json!("released")),
            (&ids[4], "lease-expired", 410, "retryable", json!(false)),
            (&ids[5], "outcome-unknown", 504, "retryable", json!(true)),
        ] {
            let problem = &of(id)["problem"];
            assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
            assert_eq!((&problem["status"], &problem[member]), (&status.into(), &value), "{problem}");
        }
    }
}
