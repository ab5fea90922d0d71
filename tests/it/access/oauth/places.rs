//! The names and routing keys that the test draws. They are short and alike, so a drawn pattern often matches two of them.

/// A type of exchange, as far as permissions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Topic,
    Direct,
    Fanout,
    Headers,
    /// There is no such exchange.
    Absent,
}

#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// As in a path: the default exchange is `amq.default`.
    pub name: &'static str,
    pub kind: Kind,
}

const fn exchange(name: &'static str, kind: Kind) -> Exchange {
    Exchange { name, kind }
}

/// The exchange that gets a copy of every message where tracing is on. No client may publish to it.
pub const TRACE: Exchange = exchange("amq.rabbitmq.trace", Kind::Topic);

/// The default exchange.
pub const DEFAULT: Exchange = exchange("amq.default", Kind::Direct);

/// Exchanges to publish to, and to bind to.
pub const EXCHANGES: [Exchange; 15] = [
    exchange("a", Kind::Topic),
    exchange("a.b", Kind::Topic),
    exchange("b.a.a", Kind::Topic),
    exchange("amqp", Kind::Topic),
    exchange("a*b", Kind::Topic),
    exchange("a/b", Kind::Topic),
    exchange("amq.topic", Kind::Topic),
    exchange("b", Kind::Direct),
    exchange("ab", Kind::Direct),
    exchange("a%2Ab", Kind::Direct),
    exchange("é.a", Kind::Direct),
    exchange("amq.direct", Kind::Direct),
    exchange("b.b", Kind::Fanout),
    exchange("a+b", Kind::Headers),
    exchange("amq.headers", Kind::Headers),
];

/// Names of exchanges that do not exist before an operation.
pub const ABSENT_EXCHANGES: [&str; 5] = ["n", "a.n", "n.a.a", "an", "a/n"];

/// A name that stands for the name of the principal in a pattern without escapes.
const BRACES: &str = "{principal}";

/// Names of queues. The first ones exist.
pub const QUEUES: [&str; 15] = [
    "a", "a.b", "é", "b", "ab", "b.a", "a.b.a.b", "amqp", "a*b", "a/b", "a%b", "a b", "a+b", BRACES, "amq.q",
];
pub const EXISTING_QUEUES: usize = 3;

/// Names that RabbitMQ gave to queues of single connections, or looks like it.
pub const GENERATED_QUEUE: &str = "amq.gen-a";

/// Routing keys, of messages and of bindings.
pub const KEYS: [&str; 16] = [
    "", "a", "b", "eu", "x.eu", "x.eu.eu", "a.b", "a.a", "a.b.a.b", "#", "*", "*.eu", "eu.#", "a/b", "é+%",
    BRACES,
];

/// Patterns for names, as the texts between their stars.
pub const PATTERNS: [&[&str]; 10] = [
    &["", ""],
    &["", "", ""],
    &["a", ""],
    &["amq", ""],
    &["amq.", ""],
    &["amq.default"],
    &["amq.rabbitmq.", ""],
    &["amq.gen-", ""],
    &["amq.rabbitmq", ""],
    &["", ".a"],
];

/// Absent queues, and the names that the gateway gives to the exchange and the queue for their dead letters.
pub const PAIRS: [Pair; 3] = [
    Pair { queue: "b", exchange: "b.dlx", dead_letters: "b.dlq" },
    Pair { queue: "b.a", exchange: "b.a.dlx", dead_letters: "b.a.dlq" },
    Pair { queue: "a/b", exchange: "a/b.dlx", dead_letters: "a/b.dlq" },
];

#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub queue: &'static str,
    pub exchange: &'static str,
    pub dead_letters: &'static str,
}
