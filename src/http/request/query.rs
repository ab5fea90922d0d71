//! Reads the query string. Each parameter must be known, given once, and valid UTF-8.

use std::borrow::Cow;
use std::str::Utf8Error;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::domain::duration;
use crate::domain::names::ShortText;
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
        Ok(Self { left, known: Vec::with_capacity(8) })
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

    /// Takes a duration, such as `5s`.
    ///
    /// # Errors
    /// When it is given twice, or is not a duration.
    pub(in crate::http) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Problem> {
        let read = |text: String| {
            duration::parse(&text)
                .map_err(|error| Problem::malformed(name, format!("{} {error}", quoted(&text))))
        };
        self.take(name)?.map(read).transpose()
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

    /// Checks that the handler has taken every parameter.
    ///
    /// # Errors
    /// When a parameter is left that the handler does not know.
    pub(in crate::http) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let why = match &self.known[..] {
            [] => "is not a query parameter of this path, which has none".to_owned(),
            known => {
                format!("is not a query parameter of this path; its parameters are: {}", known.join(", "))
            }
        };
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
