//! `/health/*`, for probes and for people. A health check never writes to RabbitMQ.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::{
    Cause, Error, LeaseState, Look, Publishing, Refusal, ReplyState, RoleState, TopologyFileState,
    Unavailable,
};
use crate::domain::names::QueueName;
use crate::domain::topology::QueueState;
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::request::Query;
use crate::http::state::AppState;

/// Queues that one request may name.
const MAX_QUEUES: usize = 20;
/// Media type of <https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06>.
const HEALTH_JSON: HeaderValue = HeaderValue::from_static("application/health+json");

/// State of the gateway or of one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// The part works.
    Pass,
    /// The part works in part, or will work as soon as RabbitMQ allows it.
    Warn,
    /// The part does not work.
    Fail,
}

/// A health check's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Health {
    /// The worst of the checks.
    status: Status,
    /// The checks, by `<component>:<measurement>`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<String, Vec<Check>>,
}

/// The result of one check.
#[derive(Debug, Serialize, ToSchema)]
struct Check {
    status: Status,
    #[serde(rename = "observedValue", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::observed_value)]
    observed_value: Option<serde_json::Value>,
    #[serde(rename = "observedUnit", skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

impl Check {
    fn new(status: Status, value: impl Into<serde_json::Value>, unit: &'static str) -> Self {
        Self { status, observed_value: Some(value.into()), observed_unit: Some(unit), output: None }
    }

    fn failed(output: impl Into<String>) -> Self {
        let output = Some(output.into());
        Self { status: Status::Fail, observed_value: None, observed_unit: None, output }
    }

    fn with_detail(mut self, output: Option<String>) -> Self {
        self.output = output;
        self
    }
}

impl Health {
    fn simple(status: Status) -> Self {
        Self { status, checks: BTreeMap::new() }
    }

    fn of(checks: BTreeMap<String, Vec<Check>>) -> Self {
        let worst = checks.values().flatten().map(|check| check.status).max();
        Self { status: worst.unwrap_or(Status::Pass), checks }
    }
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status =
            if self.status == Status::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, [(CONTENT_TYPE, HEALTH_JSON)], Json(self)).into_response()
    }
}

/// Whether the process answers
///
/// Never asks RabbitMQ.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "check_liveness",
    tag = "health",
    responses((status = 200, description = "It does", body = Health, content_type = "application/health+json", example = json!({"status": "pass"})))
)]
pub(in crate::http) async fn check_liveness() -> Health {
    Health::simple(Status::Pass)
}

/// Whether the gateway would send a publish now
///
/// Fails while no lane for publishes is open, while no connection for isolated publishes has been up for a minute, while RabbitMQ
/// blocks publishers, until a required topology file was applied once, and from the moment shutdown begins. The gateway still
/// accepts publishes meanwhile: they wait until their deadline.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "check_readiness",
    tag = "health",
    responses(
        (status = 200, description = "It would", body = Health, content_type = "application/health+json", example = json!({"status": "pass"})),
        (status = 503, description = "A publish would wait, or be refused; or `overloaded`: the gateway did not check", body = Health, content_type = "application/health+json", example = json!({"status": "fail"})),
    )
)]
pub(in crate::http) async fn check_readiness(State(state): State<AppState>) -> Health {
    Health::simple(if state.observed().is_ready() { Status::Pass } else { Status::Fail })
}

/// State of the gateway and of RabbitMQ
///
/// Shows the connections of each role and the reply queue, with the reason where RabbitMQ refuses them; the blocked state,
/// channels and publishes in flight, leases, the round trip, whether the topology file is applied, and the counts of each queue that the
/// request names. The gateway asks RabbitMQ at most once a second, for any number of requests.
#[utoipa::path(
    get,
    path = "/health/rabbitmq",
    operation_id = "check_rabbitmq",
    tag = "health",
    params(("queue" = Option<Vec<String>>, Query, max_items = 20, description = "Queue to count; may be repeated, 20 at most", example = json!([]))),
    responses(
        (status = 200, description = "`pass` or `warn`", body = Health, content_type = "application/health+json",
            example = json!({"status": "pass", "checks": {"connections:up": [{"status": "pass", "observedValue": 2, "observedUnit": "connections"}]}})),
        (status = 503, description = "`fail`; or `overloaded`: the gateway did not check", body = Health, content_type = "application/health+json",
            example = json!({"status": "fail", "checks": {"queue orders:messages": [{"status": "fail", "output": "no such queue"}]}})),
    )
)]
pub(in crate::http) async fn check_rabbitmq(
    State(state): State<AppState>,
    mut query: Query,
) -> Result<Health, Problem> {
    let queues = queues(&state, &query.take_all("queue"))?;
    query.finish()?;
    let observed = state.observed();
    let look = observed.look(&queues).await;
    let mut checks = publishing(&observed.publishing());
    checks.extend(observed.roles().iter().map(connections));
    checks.extend([reply_queue(observed.replies())]);
    checks.extend([publish_streams(&state)]);
    checks.extend(leases(&observed.leases()));
    checks.extend(observed.topology_file().map(topology_file));
    checks.extend(looked(&look, &queues));
    Ok(Health::of(checks))
}

fn queues(state: &AppState, asked: &[String]) -> Result<Vec<QueueName>, Problem> {
    let mut queues = state.health_queues().to_vec();
    for name in asked {
        let queue = QueueName::parse(name).map_err(|error| Problem::malformed("queue", error))?;
        if !queues.contains(&queue) {
            queues.push(queue);
        }
    }
    if queues.len() > MAX_QUEUES {
        let why = format!("may be named {MAX_QUEUES} times, those of the configuration included");
        return Err(Problem::malformed("queue", why).with("limit", MAX_QUEUES));
    }
    Ok(queues)
}

/// Fails while a role has no connection, after a second without one. Warns before that, while some of its connections are missing,
/// and where the gateway dials the connections on need.
fn connections(role: &RoleState) -> (String, Vec<Check>) {
    let status = match role.connected {
        up if up == role.wanted => Status::Pass,
        _ if role.is_absent => Status::Fail,
        _ => Status::Warn,
    };
    let reason = (status != Status::Pass).then(|| match role.denial {
        Some(denial) => denial.to_string(),
        None => format!("{} of {} connections are up", role.connected, role.wanted),
    });
    let check = Check::new(status, role.connected, "connections").with_detail(reason);
    (format!("{}:connections", role.name), vec![check])
}

/// Without a reply queue the gateway can make no call.
fn reply_queue(queue: ReplyState) -> (String, Vec<Check>) {
    let status = if queue.ready { Status::Pass } else { Status::Fail };
    let reason = (!queue.ready).then(|| {
        queue.denial.map_or_else(|| "there is no reply queue".to_owned(), |denial| denial.to_string())
    });
    ("reply:queue".to_owned(), vec![Check::new(status, queue.ready, "boolean").with_detail(reason)])
}

/// Warns while as many publish streams are open as the limit allows.
fn publish_streams(state: &AppState) -> (String, Vec<Check>) {
    let (open, limit) = (state.metric_sources.admission.open_streams(), state.limits().max_publish_streams);
    let status = if open < limit { Status::Pass } else { Status::Warn };
    let reason = (status == Status::Warn)
        .then(|| format!("{limit} streams are open, as many as GATEWAY_MAX_PUBLISH_STREAMS allows"));
    let check = Check::new(status, open, "streams").with_detail(reason);
    ("publish_streams:open".to_owned(), vec![check])
}

/// Warns while nine tenths of the leases, or of the bytes of their messages, are taken, and while other replicas cannot ask this one to
/// settle its leases.
fn leases(state: &LeaseState) -> [(String, Vec<Check>); 2] {
    let LeaseState { held, limit, bytes, bytes_limit, control_queue } = state;
    let is_near = |used: &usize, limit: &usize| used.saturating_mul(10) >= limit.saturating_mul(9);
    let is_nearly_full = is_near(held, limit) || is_near(bytes, bytes_limit);
    let reason = is_nearly_full.then(|| {
        format!(
            "{held} of {limit} leases (GATEWAY_MAX_LEASES) and {bytes} of {bytes_limit} bytes (GATEWAY_MAX_LEASE_BYTES) are taken; \
             further messages stay in their queues"
        )
    });
    let status = if is_nearly_full { Status::Warn } else { Status::Pass };
    let held = Check::new(status, *held, "leases").with_detail(reason);
    [("leases:held".to_owned(), vec![held]), ("control-queue:open".to_owned(), vec![control(*control_queue)])]
}

/// A gateway without pulls has no control queue, and needs none.
fn control(queue: Option<bool>) -> Check {
    let is_lost = queue == Some(false);
    let reason = is_lost.then(|| "there is no control queue; the next pull declares it".to_owned());
    let status = if is_lost { Status::Warn } else { Status::Pass };
    Check::new(status, queue.unwrap_or_default(), "boolean").with_detail(reason)
}

/// Warns until the gateway has tried to apply the topology file. Fails while the last attempt failed.
fn topology_file(file: TopologyFileState) -> (String, Vec<Check>) {
    let status = match &file.failure {
        Some(_) => Status::Fail,
        None if file.was_applied => Status::Pass,
        None => Status::Warn,
    };
    let reason = file.failure.map(|(item, error)| format!("{item}: {}", safe_words(&error)));
    let check = Check::new(status, status == Status::Pass, "boolean").with_detail(reason);
    ("topology:applied".to_owned(), vec![check])
}

fn publishing(publishing: &Publishing) -> BTreeMap<String, Vec<Check>> {
    let Publishing { blocked, channels, in_flight, waiting, overdue, .. } = publishing;
    let block = if blocked.is_some() { Status::Warn } else { Status::Pass };
    let full = if *waiting > 0 { Status::Warn } else { Status::Pass };
    [
        ("publishing:blocked", Check::new(block, blocked.is_some(), "boolean").with_detail(blocked.clone())),
        ("channels:open", Check::new(Status::Pass, *channels, "channels")),
        ("publishes:in_flight", Check::new(Status::Pass, *in_flight, "publishes")),
        ("publishes:waiting", Check::new(full, *waiting, "publishes")),
        ("publishes:overdue", Check::new(Status::Pass, *overdue, "publishes")),
    ]
    .into_iter()
    .map(|(name, check)| (name.to_owned(), vec![check]))
    .collect()
}

fn looked(look: &Look, queues: &[QueueName]) -> BTreeMap<String, Vec<Check>> {
    let trip = match &look.round_trip {
        Ok(time) => Check::new(Status::Pass, time.as_secs_f64() * 1000.0, "ms"),
        Err(error) => Check::failed(safe_words(error)),
    };
    let mut checks = BTreeMap::from([("broker:round_trip".to_owned(), vec![trip])]);
    for queue in queues {
        match look.queues.get(queue) {
            Some(Ok(QueueState { message_count, consumer_count })) => {
                let counts = [("messages", *message_count), ("consumers", *consumer_count)];
                for (what, count) in counts {
                    let check = Check::new(Status::Pass, count, what);
                    checks.insert(format!("queue {queue}:{what}"), vec![check]);
                }
            }
            Some(Err(error)) => {
                checks.insert(format!("queue {queue}:messages"), vec![Check::failed(safe_words(error))]);
            }
            None => {}
        }
    }
    checks
}

/// The meaning of an error, without RabbitMQ's words and without addresses.
fn safe_words(error: &Error) -> String {
    let words = match error {
        Error::NotSent(Unavailable::Denied(denial)) => return denial.to_string(),
        Error::Refused(Refusal::QueueMissing { .. }) => "no such queue",
        Error::Refused(Refusal::ExchangeMissing { .. }) => "no such exchange",
        Error::Refused(Refusal::AccessRefused { .. }) => "access refused",
        Error::Refused(Refusal::Differs { .. }) => "exists with other arguments",
        Error::Refused(Refusal::Locked { .. }) => "exclusive to another connection",
        Error::Refused(_) => "RabbitMQ refuses it; the gateway's log tells why",
        Error::Unknown(Cause::Silence) => "no answer in time",
        _ => "no connection",
    };
    words.to_owned()
}
