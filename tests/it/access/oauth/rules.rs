//! The rules by which the gateway decides differently from RabbitMQ, and the decision under any set of them: under all of them the
//! gateway's, under those that RabbitMQ has itself RabbitMQ's. It uses none of the gateway's code, and its patterns are those from which both
//! sides got their text.

use rabbitmq_gateway::domain::access::Verb;

use super::{
    grant::{Grant, Pattern},
    operation::{Binding, Operation, Publish, Target},
    places::{DEFAULT, Exchange, Kind, Pair},
};

/// A rule of the gateway that RabbitMQ 3.10 does not have, see [`Rules::of_rabbitmq`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Stricter: only `*`, and a pattern that begins with `amq.`, covers a name that begins with `amq.`.
    AmqNeedsAnExplicitGrant,
    /// Stricter: only a pattern that begins with the same covers a name that begins with `amq.rabbitmq.` or `amq.gen-`.
    InternalNeedsItsPrefix,
    /// Stricter: a grant with a routing key covers no operation without one.
    KeyLimitsOperationsWithoutKey,
    /// Stricter: the routing key counts on exchanges of every type.
    KeyCountsOnEveryType,
    /// Stricter than RabbitMQ 3.10: the routing keys of the headers `CC` and `BCC` count.
    KeysOfCopiesCount,
    /// Stricter: the routing key of dead letters counts.
    KeyOfDeadLettersCounts,
    /// Stricter: dead letters without a routing key of their own need every one.
    DeadLettersWithoutKeyNeedEveryKey,
    /// Stricter: a dead-letter exchange counts also where the queue exists.
    DeadLettersOfExistingQueueCount,
    /// Stricter: an alternate exchange counts also where the exchange exists.
    AlternateOfExistingExchangeCounts,
    /// Stricter: to look needs a permission.
    LookNeedsAPermission,
    /// Stricter: `reply_to` needs a permission for the queue that it names.
    ReplyToNeedsAPermission,
    /// Stricter: a binding with arguments needs every routing key.
    BindingWithArgumentsNeedsEveryKey,
    /// Wider: a grant without a routing key covers topic exchanges.
    GrantWithoutKeyCoversTopics,
    /// Wider: a star is any text. RabbitMQ searches the text behind a star at its first place only, and so `*.eu` does not match
    /// `x.eu.eu`; and no second star at the end matches the empty text.
    StarIsAnyText,
    /// Wider: `call` allows to publish to a queue by the default exchange.
    CallAllows,
}

use Rule::*;

impl Rule {
    pub const ALL: [Self; 15] = [
        AmqNeedsAnExplicitGrant,
        InternalNeedsItsPrefix,
        KeyLimitsOperationsWithoutKey,
        KeyCountsOnEveryType,
        KeysOfCopiesCount,
        KeyOfDeadLettersCounts,
        DeadLettersWithoutKeyNeedEveryKey,
        DeadLettersOfExistingQueueCount,
        AlternateOfExistingExchangeCounts,
        LookNeedsAPermission,
        ReplyToNeedsAPermission,
        BindingWithArgumentsNeedsEveryKey,
        GrantWithoutKeyCoversTopics,
        StarIsAnyText,
        CallAllows,
    ];

    pub fn is_wider(self) -> bool {
        matches!(self, GrantWithoutKeyCoversTopics | StarIsAnyText | CallAllows)
    }
}

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    pub const ALL: Self = Self((1 << Rule::ALL.len()) - 1);

    /// Those that RabbitMQ of this major version has too: 4.0 checks the headers `CC` and `BCC`.
    pub fn of_rabbitmq(major_version: u32) -> Self {
        Self(if major_version < 4 { 0 } else { 1 << KeysOfCopiesCount as u32 })
    }

    /// Every set that includes these, those with fewest rules first.
    pub fn every_with(base: Self) -> Vec<Self> {
        let all = (0..=Self::ALL.0).filter(|rules| rules & base.0 == base.0);
        let mut every: Vec<_> = all.map(Self).collect();
        every.sort_by_key(|rules| rules.0.count_ones());
        every
    }

    pub fn has(self, rule: Rule) -> bool {
        self.0 >> rule as u32 & 1 == 1
    }

    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.into_iter().filter(move |rule| self.has(*rule))
    }
}

/// The routing keys that an operation needs.
#[derive(Debug, Clone, Copy)]
enum Keys {
    /// This one, of a message or a binding.
    One(Kind, &'static str),
    /// This one, of a binding with arguments.
    OneWithArguments(Kind, &'static str),
    /// The operation has none.
    None,
    /// A grant for some is enough.
    Any,
    /// Those of dead letters.
    DeadLetters(Option<&'static str>),
}

/// The decision under a set of rules.
pub struct Decision<'a> {
    pub rules: Rules,
    pub grants: &'a [Grant],
}

impl Decision<'_> {
    pub fn permits(&self, operation: &Operation) -> bool {
        let amq_default = DEFAULT.name;
        match *operation {
            Operation::Publish(publish) => self.publish(publish),
            Operation::Call { queue } => {
                self.write(amq_default, Keys::One(Kind::Direct, queue))
                    || self.rules.has(CallAllows) && self.has(Verb::Call, queue, Keys::None)
            }
            Operation::Take { queue } | Operation::Purge { queue } => self.has(Verb::Read, queue, Keys::None),
            Operation::LookAtQueue { queue: name } | Operation::LookAtExchange { exchange: name } => {
                self.look(name)
            }
            Operation::DeclareQueue { queue, exists, dead_letters } => {
                let is_free =
                    dead_letters.is_none() || exists && !self.rules.has(DeadLettersOfExistingQueueCount);
                let may_send = |(exchange, key)| {
                    self.has(Verb::Read, queue, Keys::None) && self.write(exchange, Keys::DeadLetters(key))
                };
                self.configure(queue) && (is_free || dead_letters.is_some_and(may_send))
            }
            Operation::DeclareWithPair(pair) => self.declare_with_pair(pair),
            Operation::DeclareExchange { exchange, kind, alternate } => {
                let exists = kind != Kind::Absent;
                let is_free =
                    alternate.is_none() || exists && !self.rules.has(AlternateOfExistingExchangeCounts);
                let may_send = |alternate| {
                    self.has(Verb::Read, exchange, Keys::None) && self.write(alternate, Keys::None)
                };
                self.configure(exchange) && (is_free || alternate.is_some_and(may_send))
            }
            Operation::DeleteQueue { queue: name } | Operation::DeleteExchange { exchange: name } => {
                self.configure(name)
            }
            Operation::Bind(binding) | Operation::Unbind(binding) => self.bind(binding),
        }
    }

    fn publish(&self, Publish { exchange, key, copy, reply_to }: Publish) -> bool {
        let writes = |key| self.write(exchange.name, Keys::One(exchange.kind, key));
        let is_free = copy.is_none() || !self.rules.has(KeysOfCopiesCount);
        writes(key)
            && (is_free || copy.is_some_and(|(_, key)| writes(key)))
            && reply_to.is_none_or(|queue| self.replies_at(queue))
    }

    fn declare_with_pair(&self, Pair { queue, exchange, dead_letters }: Pair) -> bool {
        let has = |verb, name| self.has(verb, name, Keys::None);
        [queue, exchange, dead_letters].into_iter().all(|name| self.configure(name))
            && [queue, exchange].into_iter().all(|name| has(Verb::Read, name))
            && [exchange, dead_letters].into_iter().all(|name| has(Verb::Write, name))
            && self.write(exchange, Keys::DeadLetters(None))
    }

    fn bind(&self, Binding { target, source, key, has_arguments }: Binding) -> bool {
        let (Target::Queue(target) | Target::Exchange(target)) = target;
        let Exchange { name, kind } = source;
        let keys = if has_arguments { Keys::OneWithArguments(kind, key) } else { Keys::One(kind, key) };
        self.write(target, Keys::None) && self.has(Verb::Read, name, keys)
    }

    fn look(&self, name: &'static str) -> bool {
        let verbs = [Verb::Configure, Verb::Write, Verb::Read];
        !self.rules.has(LookNeedsAPermission)
            || verbs.into_iter().any(|verb| self.has(verb, name, Keys::Any))
            || self.write(DEFAULT.name, Keys::One(Kind::Direct, name))
    }

    fn replies_at(&self, queue: &'static str) -> bool {
        !self.rules.has(ReplyToNeedsAPermission)
            || self.has(Verb::Read, queue, Keys::None)
            || self.write(DEFAULT.name, Keys::One(Kind::Direct, queue))
    }

    fn configure(&self, name: &str) -> bool {
        self.has(Verb::Configure, name, Keys::None)
    }

    fn write(&self, name: &str, keys: Keys) -> bool {
        self.has(Verb::Write, name, keys)
    }

    fn has(&self, verb: Verb, name: &str, keys: Keys) -> bool {
        self.grants.iter().any(|grant| {
            grant.verb == verb
                && self.covers_name(&grant.name, name)
                && self.covers_keys(grant.key.as_ref(), keys)
        })
    }

    fn covers_name(&self, pattern: &Pattern, name: &str) -> bool {
        let is_internal = ["amq.rabbitmq.", "amq.gen-"].into_iter().find(|prefix| name.starts_with(prefix));
        let begins_with = |prefix| pattern.start().starts_with(prefix);
        let is_explicit = !name.starts_with("amq.") || begins_with("amq.") || pattern.is_stars();
        let has_prefix = is_internal.is_none_or(begins_with);
        (is_explicit || !self.rules.has(AmqNeedsAnExplicitGrant))
            && (has_prefix || !self.rules.has(InternalNeedsItsPrefix))
            && self.matches(pattern, name)
    }

    fn covers_keys(&self, pattern: Option<&Pattern>, keys: Keys) -> bool {
        let Some(pattern) = pattern else {
            let is_topic = matches!(keys, Keys::One(Kind::Topic, _) | Keys::OneWithArguments(Kind::Topic, _));
            return !is_topic || self.rules.has(GrantWithoutKeyCoversTopics);
        };
        match keys {
            Keys::Any => true,
            Keys::None => !self.rules.has(KeyLimitsOperationsWithoutKey) || pattern.is_stars(),
            Keys::One(kind, key) => self.covers_key(pattern, kind, key),
            Keys::OneWithArguments(kind, key) => {
                let every = !self.rules.has(BindingWithArgumentsNeedsEveryKey) || pattern.is_stars();
                every && self.covers_key(pattern, kind, key)
            }
            Keys::DeadLetters(Some(key)) => {
                !self.rules.has(KeyOfDeadLettersCounts) || self.matches(pattern, key)
            }
            Keys::DeadLetters(None) => {
                !self.rules.has(DeadLettersWithoutKeyNeedEveryKey) || pattern.is_stars()
            }
        }
    }

    fn covers_key(&self, pattern: &Pattern, kind: Kind, key: &str) -> bool {
        let counts = kind == Kind::Topic || self.rules.has(KeyCountsOnEveryType);
        !counts || self.matches(pattern, key)
    }

    fn matches(&self, pattern: &Pattern, text: &str) -> bool {
        let parts: Vec<_> = pattern.0.iter().map(String::as_bytes).collect();
        let Some(rest) = text.as_bytes().strip_prefix(parts[0]) else { return false };
        if self.rules.has(StarIsAnyText) { is_any(&parts[1..], rest) } else { is_first(&parts[1..], rest) }
    }
}

/// Whether the text is these parts, each behind any text.
fn is_any(parts: &[&[u8]], text: &[u8]) -> bool {
    let Some((part, rest)) = parts.split_first() else { return text.is_empty() };
    (0..=text.len()).any(|at| text[at..].strip_prefix(*part).is_some_and(|text| is_any(rest, text)))
}

/// As `wildcard:match/2` of RabbitMQ's plugin does it.
fn is_first(parts: &[&[u8]], text: &[u8]) -> bool {
    match parts {
        [[]] => true,
        [] => text.is_empty(),
        _ if text.is_empty() => false,
        [[], rest @ ..] => is_first(rest, text),
        [part, rest @ ..] => {
            let at = text.windows(part.len()).position(|window| window == *part);
            at.is_some_and(|at| is_first(rest, &text[at + part.len()..]))
        }
    }
}

#[test]
fn a_star_of_rabbitmq_takes_the_first_place() {
    for (parts, text, any, first) in [
        (&[".eu"][..], "x.eu", true, true),
        (&[".eu"], "x.eu.eu", true, false),
        (&["", ""], "", true, false),
        (&[""], "", true, true),
        (&[], "x", false, false),
        (&["b", ""], "abc", true, true),
    ] {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        let found = (is_any(&parts, text.as_bytes()), is_first(&parts, text.as_bytes()));
        assert_eq!(found, (any, first), "{parts:?} {text}");
    }
}
