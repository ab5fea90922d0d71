//! A permission that an operation needs.

use std::fmt;

use super::toml_text::toml_text;
use super::wildcard::push_literal;

/// The verbs of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Declare and delete queues and exchanges.
    Configure,
    /// Publish to exchanges, and bind queues and exchanges as targets.
    Write,
    /// Take messages from queues, and bind exchanges as sources.
    Read,
    /// Call the servers of queues.
    Call,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 4] = [Self::Configure, Self::Write, Self::Read, Self::Call];

    /// Its word in files, scopes and problems.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
            Self::Call => "call",
        }
    }
}

/// The routing keys of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// This one.
    One(&'a str),
    /// Every routing key, also where the operation has none.
    Every,
    /// Any: a grant for some routing key is enough. For a look at an exchange, and for the check before a body is read.
    Some,
}

/// A permission that an operation needs on one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'a> {
    /// The verb.
    pub verb: Verb,
    /// The queue or exchange, as a path names it: the default exchange is `amq.default`.
    pub name: &'a str,
    /// The routing keys.
    pub key: Key<'a>,
}

impl<'a> Need<'a> {
    /// The permission to publish to an exchange with this routing key.
    #[must_use]
    pub fn write(exchange: &'a str, key: Key<'a>) -> Self {
        Self { verb: Verb::Write, name: exchange, key }
    }

    /// The permission to read from an exchange with this routing key, or from a queue.
    #[must_use]
    pub fn read(name: &'a str, key: Key<'a>) -> Self {
        Self { verb: Verb::Read, name, key }
    }

    /// The permission to declare or delete a queue or exchange.
    #[must_use]
    pub fn configure(name: &'a str) -> Self {
        Self { verb: Verb::Configure, name, key: Key::Every }
    }

    /// The permission to call the servers of a queue.
    #[must_use]
    pub fn call(queue: &'a str) -> Self {
        Self { verb: Verb::Call, name: queue, key: Key::Every }
    }

    /// The line of the file of principals that would be enough.
    #[must_use]
    pub fn in_file(&self) -> String {
        let mut pattern = String::new();
        push_literal(&mut pattern, self.name);
        if let Key::One(key) = self.key {
            pattern.push('/');
            push_literal(&mut pattern, key);
        }
        format!("{} = [{}]", self.verb.word(), toml_text(&pattern))
    }

    /// The scope that would be enough, in RabbitMQ's spelling.
    #[must_use]
    pub fn scope(&self, vhost: &str) -> String {
        let mut scope = format!("{}:", self.verb.word());
        push_literal(&mut scope, vhost);
        scope.push('/');
        push_literal(&mut scope, self.name);
        if let Key::One(key) = self.key {
            scope.push('/');
            push_literal(&mut scope, key);
        }
        scope
    }
}

impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.verb.word(), self.name)?;
        match self.key {
            Key::One(key) => write!(f, " with routing key {key:?}"),
            Key::Every | Key::Some => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_file_is_toml() {
        for (name, expected) in [
            ("it's", r#"read = ["it's"]"#),
            (r#"a"b\c"#, r#"read = ["a\"b\\c"]"#),
            ("größe*", r#"read = ["größe%2A"]"#),
            ("a\u{202e}b\u{301}\n", r#"read = ["a\U0000202Eb\U00000301\U0000000A"]"#),
        ] {
            assert_eq!(Need::read(name, Key::Every).in_file(), expected);
        }
    }

    #[test]
    fn a_missing_permission_is_a_scope_and_a_sentence() {
        for (need, scope, sentence) in [
            (
                Need::write("orders", Key::One("us.new")),
                "write:%2F/orders/us.new",
                r#"write "orders" with routing key "us.new""#,
            ),
            (Need::write("a/b", Key::Every), "write:%2F/a%2Fb", r#"write "a/b""#),
            (Need::read("q", Key::Every), "read:%2F/q", r#"read "q""#),
            (Need::configure("100%*"), "configure:%2F/100%25%2A", r#"configure "100%*""#),
            (Need::read("a+b", Key::One("+")), "read:%2F/a%2Bb/%2B", r#"read "a+b" with routing key "+""#),
            (Need::call("q\n"), "call:%2F/q\n", r#"call "q\n""#),
        ] {
            assert_eq!((need.scope("/").as_str(), need.to_string().as_str()), (scope, sentence));
        }
    }
}
