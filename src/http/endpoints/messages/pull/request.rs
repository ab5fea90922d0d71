//! The body of a pull.

use std::time::Duration;

use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::broker::Pull;
use crate::domain::duration;
use crate::domain::names::QueueName;
use crate::http::PullLimits;
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::request::{self, whole};

/// How many messages, how long to wait, and the time to settle them. Every member is optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PullRequest {
    /// The most messages: 10 by default, at most 250 unless the gateway is configured otherwise.
    #[schema(minimum = 1)]
    #[serde(default, deserialize_with = "whole")]
    max: Option<u64>,
    #[schema(schema_with = schemas::pull_wait)]
    #[serde(default, deserialize_with = "request::duration")]
    wait: Option<Duration>,
    #[schema(schema_with = schemas::pull_lease)]
    #[serde(default, deserialize_with = "request::duration")]
    lease: Option<Duration>,
}

impl PullRequest {
    /// A request for one message.
    pub(in crate::http::endpoints::messages) fn for_one(
        wait: Option<Duration>,
        lease: Option<Duration>,
    ) -> Self {
        Self { max: Some(1), wait, lease }
    }

    /// Reads the body of a request with these headers. An empty body gives nothing.
    ///
    /// # Errors
    /// 400 naming the field, 415.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        request::expect_json(headers)?;
        Ok(request::json::<Option<_>>(body)?.unwrap_or_default())
    }

    /// The pull from a queue, within these limits.
    ///
    /// # Errors
    /// 400 naming the field and the setting.
    pub(in crate::http::endpoints::messages) fn into_pull(
        self,
        queue: QueueName,
        limits: &PullLimits,
    ) -> Result<Pull, Problem> {
        Ok(Pull {
            queue,
            max: max(self.max, limits)?,
            wait: wait(self.wait, limits)?,
            lease: lease(self.lease, limits)?,
        })
    }
}

fn max(given: Option<u64>, limits: &PullLimits) -> Result<usize, Problem> {
    let Some(given) = given else { return Ok(limits.default_max) };
    let max = usize::try_from(given).ok().filter(|max| (1..=limits.max).contains(max));
    max.ok_or_else(|| {
        let why = format!("must be from 1 to {}, which GATEWAY_PULL_MAX sets", limits.max);
        Problem::malformed("max", why).with("limit", limits.max)
    })
}

fn wait(given: Option<Duration>, limits: &PullLimits) -> Result<Duration, Problem> {
    let wait = given.unwrap_or(limits.default_wait);
    if wait <= limits.max_wait {
        return Ok(wait);
    }
    let limit = duration::format(limits.max_wait);
    let why = format!("must be at most {limit}, which GATEWAY_PULL_WAIT_MAX sets");
    Err(Problem::malformed("wait", why).with("limit", limit))
}

fn lease(given: Option<Duration>, limits: &PullLimits) -> Result<Duration, Problem> {
    let lease = given.unwrap_or(limits.default_lease);
    if !lease.is_zero() && lease <= limits.max_lease {
        return Ok(lease);
    }
    let limit = duration::format(limits.max_lease);
    let why = format!("must be above 0 and at most {limit}, which GATEWAY_LEASE_MAX sets");
    Err(Problem::malformed("lease", why).with("limit", limit))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    const LIMITS: PullLimits = PullLimits {
        default_max: 10,
        max: 250,
        default_wait: Duration::from_secs(20),
        max_wait: Duration::from_mins(1),
        default_lease: Duration::from_mins(1),
        max_lease: Duration::from_mins(25),
        max_waiting: 1,
    };

    fn pull(body: &str) -> Result<(usize, Duration, Duration), String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let queue = QueueName::parse("q").expect("a name");
        let request = PullRequest::read(&headers, body.as_bytes());
        let pull = request.and_then(|request| request.into_pull(queue, &LIMITS));
        pull.map(|pull| (pull.max, pull.wait, pull.lease)).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn an_absent_member_has_its_default() {
        let seconds = Duration::from_secs;
        for (body, expected) in [
            ("", (10, seconds(20), seconds(60))),
            ("{}", (10, seconds(20), seconds(60))),
            ("null", (10, seconds(20), seconds(60))),
            (r#"{"max":null,"wait":null,"lease":null}"#, (10, seconds(20), seconds(60))),
            (r#"{"max":250,"wait":"1m","lease":"25m"}"#, (250, seconds(60), seconds(1_500))),
            (r#"{"max":1.0,"wait":0,"lease":"1ms"}"#, (1, Duration::ZERO, Duration::from_millis(1))),
        ] {
            assert_eq!(pull(body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn a_wrong_member_is_named_and_a_limit_has_the_name_of_its_setting() {
        let lease = "lease must be above 0 and at most 25m, which GATEWAY_LEASE_MAX sets";
        let duration = "must be a duration such as 500ms, 5s or 1m30s";
        for (body, detail) in [
            (r#"{"max":0}"#, "max must be from 1 to 250, which GATEWAY_PULL_MAX sets"),
            (r#"{"max":251}"#, "max must be from 1 to 250, which GATEWAY_PULL_MAX sets"),
            (r#"{"max":"5"}"#, r#"max must be a whole number, not "5""#),
            (r#"{"wait":"61s"}"#, "wait must be at most 1m, which GATEWAY_PULL_WAIT_MAX sets"),
            (r#"{"wait":true}"#, &format!("wait {duration}, not true")),
            (r#"{"wait":"soon"}"#, &format!(r#"wait "soon" {duration}; a bare number is seconds"#)),
            (r#"{"lease":0}"#, lease),
            (r#"{"lease":"25m1ms"}"#, lease),
            (r#"{"lease":"25h"}"#, r#"lease "25h" must be at most 24h"#),
            (r#"{"size":1}"#, "size is not a known member; known are max, wait, lease"),
            (r#"{"max":1,"max":2}"#, "max is given more than once: give it once"),
            ("[]", "body must be an object, not an array"),
            ("{", "body is not complete JSON: it ends at line 1 column 1"),
        ] {
            assert_eq!(pull(body), Err(detail.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_body_has_to_be_json() {
        let refused = PullRequest::read(&HeaderMap::new(), b"{}").expect_err("no media type");
        assert_eq!(refused.kind().name(), "unsupported-media-type");
    }
}
