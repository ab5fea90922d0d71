//! Reads the query string. Each parameter must be known, given once, and valid UTF-8.

use std::borrow::Cow;
use std::str::Utf8Error;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::domain::duration;
use crate::domain::names::ShortText;
use crate::http::Deadline;
use crate::http::problem::Problem;
use crate::http::quote::{cut, quoted};

/// The parameters of a query that the handler has not taken yet.
#[derive(Debug)]
pub(in crate::http) struct Query {
    left: Vec<(String, String)>,
    /// The names that the handler has asked for.
    known: Vec<&'static str>,
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

impl Query {
    /// The query of a URI.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub(in crate::http) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        let left = pairs.collect::<Result<_, Utf8Error>>();
        let left = left.map_err(|_| Problem::malformed("the query", "is not UTF-8"))?;
        Ok(Self { left, known: Vec::with_capacity(4) })
    }

    /// Takes the value of a parameter.
    ///
    /// # Errors
    /// When it is given more than once.
    pub(in crate::http) fn take(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.known.push(name);
        let Some(at) = self.left.iter().position(|(other, _)| other == name) else { return Ok(None) };
        let (_, value) = self.left.remove(at);
        if self.left.iter().any(|(other, _)| other == name) {
            return Err(Problem::malformed(name, "is given more than once: give it once"));
        }
        Ok(Some(value))
    }

    /// Takes all values of a parameter that may be repeated.
    pub(in crate::http) fn take_all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|(other, _)| other == name);
        self.left = left;
        taken.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// Takes a short string.
    ///
    /// # Errors
    /// When it is given twice, or is not a valid short string.
    pub(in crate::http) fn text(&mut self, name: &'static str) -> Result<Option<ShortText>, Problem> {
        self.take(name)?
            .map(|text| ShortText::parse(text).map_err(|error| Problem::malformed(name, error)))
            .transpose()
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// When it is given twice, or is neither.
    pub(in crate::http) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                Err(Problem::malformed(name, format!("must be true or false, not {}", quoted(other))))
            }
        }
    }

    /// Takes `timeout`: the deadline of the request, counted from its last byte.
    ///
    /// # Errors
    /// When it is given twice, is not a duration, is 0, or is above the maximum.
    pub(in crate::http) fn timeout(&mut self, deadline: Deadline) -> Result<Timeout, Problem> {
        let Some(text) = self.take("timeout")? else { return Ok(Timeout(deadline.default)) };
        let timeout = duration::parse(&text)
            .map_err(|error| Problem::malformed("timeout", format!("{} {error}", quoted(&text))))?;
        if timeout.is_zero() || timeout > deadline.max {
            let max = duration::format(deadline.max);
            let why = format!("must be above 0 and at most {max}");
            return Err(Problem::malformed("timeout", why).with("limit", max));
        }
        Ok(Timeout(timeout))
    }

    /// Checks that the handler has taken every parameter.
    ///
    /// # Errors
    /// When a parameter is left that the handler does not know.
    pub(in crate::http) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let why =
            format!("is not a query parameter of this path; its parameters are: {}", self.known.join(", "));
        Err(Problem::malformed(&cut(name).escape_debug().to_string(), why))
    }
}

fn decode(text: &str) -> Result<String, Utf8Error> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(Cow::into_owned)
}

/// Time that a request may take after its last byte has arrived.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Timeout(Duration);

impl Timeout {
    /// The deadline of a request whose last byte has just arrived.
    pub(in crate::http) fn deadline(self) -> Instant {
        Instant::now() + self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Deadline = Deadline { default: Duration::from_secs(10), max: Duration::from_mins(1) };

    fn parsed(text: &str) -> Result<Query, Problem> {
        Query::of(&format!("/?{text}").parse().expect("a URI"))
    }

    fn query(text: &str) -> Query {
        parsed(text).expect("a query")
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        assert!(query("a=1&a=2").take("a").is_err());
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let mut query = query("routing_kee=x&mandatory=false");
        assert_eq!(query.flag("mandatory").ok(), Some(Some(false)));
        assert_eq!(query.text("routing_key").ok(), Some(None));
        let problem = query.finish().expect_err("unknown");
        assert_eq!(
            problem.detail(),
            "routing_kee is not a query parameter of this path; its parameters are: mandatory, routing_key"
        );
    }

    #[test]
    fn percent_and_plus_are_decoded() {
        assert_eq!(query("k%65y=a%2Fb+c%2B").take("key").ok().flatten().as_deref(), Some("a/b c+"));
        assert!(parsed("key=%FF").is_err() && parsed("%FF=1").is_err());
    }

    #[test]
    fn the_error_about_a_timeout_above_the_maximum_names_the_maximum() {
        assert!(query("timeout=1m").timeout(DEADLINE).is_ok());
        for wrong in ["0", "61", "1m1s", "soon", "-1"] {
            assert!(query(&format!("timeout={wrong}")).timeout(DEADLINE).is_err(), "{wrong}");
        }
    }
}
