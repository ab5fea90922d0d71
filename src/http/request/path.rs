//! Reads the names in the path of a request. A path alternates between fixed segments and names: `/queues/{name}/messages`.

use std::borrow::Cow;
use std::fmt::Display;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::domain::lease::{LeaseId, NoLeaseId};
use crate::domain::names::{ExchangeName, NameError, QueueName};
use crate::http::problem::Problem;
use crate::http::quote::quoted;

/// The name, or the names, in the path of a request.
#[derive(Debug)]
pub(in crate::http) struct PathNames<T>(pub(in crate::http) T);

/// A name that may stand in a path.
pub(in crate::http) trait PathName: Sized {
    /// Its name in the text of a problem.
    const FIELD: &'static str;

    /// The mistake in a name.
    type Error: Display;

    /// Checks the decoded name.
    fn parse(name: &str) -> Result<Self, Self::Error>;
}

impl PathName for QueueName {
    const FIELD: &'static str = "queue";
    type Error = NameError;

    fn parse(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

impl PathName for ExchangeName {
    const FIELD: &'static str = "exchange";
    type Error = NameError;

    fn parse(name: &str) -> Result<Self, NameError> {
        Self::from_path(name)
    }
}

impl PathName for LeaseId {
    const FIELD: &'static str = "lease_id";
    type Error = NoLeaseId;

    fn parse(name: &str) -> Result<Self, NoLeaseId> {
        name.parse()
    }
}

/// One name, or a tuple of names in the order of the path.
pub(in crate::http) trait FromPath: Sized {
    /// Reads the names from the rest of a path.
    fn from_path(path: &mut &str) -> Result<Self, Problem>;
}

impl<A: PathName> FromPath for A {
    fn from_path(path: &mut &str) -> Result<Self, Problem> {
        let name = next_name(path)?;
        A::parse(&name).map_err(|error| Problem::malformed(A::FIELD, format!("{} {error}", quoted(&name))))
    }
}

impl<A: PathName, B: PathName> FromPath for (A, B) {
    fn from_path(path: &mut &str) -> Result<Self, Problem> {
        Ok((A::from_path(path)?, B::from_path(path)?))
    }
}

impl<T: FromPath> PathNames<T> {
    /// The names in the path of this request.
    ///
    /// # Errors
    /// When one is not a valid name.
    pub(in crate::http) fn of(parts: &Parts) -> Result<Self, Problem> {
        T::from_path(&mut parts.uri.path()).map(Self)
    }
}

impl<T: FromPath, S: Sync> FromRequestParts<S> for PathNames<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

/// The first name in a path, percent-decoded.
///
/// # Errors
/// When it is not UTF-8.
pub(in crate::http) fn first_name(mut path: &str) -> Result<Cow<'_, str>, Problem> {
    next_name(&mut path)
}

/// The next name, percent-decoded. Removes it, and the fixed segment before it, from the path.
fn next_name<'a>(path: &mut &'a str) -> Result<Cow<'a, str>, Problem> {
    take_segment(path);
    let name = take_segment(path);
    if !name.contains('%') {
        return Ok(Cow::Borrowed(name));
    }
    percent_decode_str(name).decode_utf8().map_err(|_| Problem::malformed("the path", "is not UTF-8"))
}

fn take_segment<'a>(path: &mut &'a str) -> &'a str {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (segment, rest) = rest.split_at(memchr(b'/', rest.as_bytes()).unwrap_or(rest.len()));
    *path = rest;
    segment
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn names<T: FromPath>(path: &str) -> Result<T, Problem> {
        let (parts, ()) = Request::get(path).body(()).expect("a request").into_parts();
        PathNames::of(&parts).map(|PathNames(names)| names)
    }

    #[test]
    fn one_name_is_the_second_segment() {
        for (path, name) in [
            ("/queues/a", "a"),
            ("/queues/a/messages", "a"),
            ("/queues/a%2Fb", "a/b"),
            ("/queues/%C3%A9", "é"),
            ("/queues/a+b", "a+b"),
        ] {
            assert_eq!(names::<QueueName>(path).expect(path).as_str(), name, "{path}");
        }
    }

    #[test]
    fn two_names_stand_in_the_order_of_the_path() {
        let path = "/queues/a%2Fb/bindings/amq.topic";
        let (queue, exchange) = names::<(QueueName, ExchangeName)>(path).expect("two names");
        assert_eq!((queue.as_str(), exchange.in_path()), ("a/b", "amq.topic"));
    }

    #[test]
    fn the_problem_of_a_wrong_name_says_which_one_it_is() {
        let detail = |path| names::<(QueueName, ExchangeName)>(path).expect_err(path).detail().to_owned();
        assert!(
            detail("/queues/a%00/bindings/e").starts_with("queue \"a\\u0000\""),
            "{}",
            detail("/queues/a%00/bindings/e")
        );
        assert!(detail("/queues/a/bindings/e%00").starts_with("exchange \"e\\u0000\""));
        assert!(names::<QueueName>("/queues/%FF").is_err());
    }
}
