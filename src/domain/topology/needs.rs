//! The permissions that declarations and bindings need.
//!
//! RabbitMQ checks a dead-letter exchange only when the queue is new, and never the routing key of dead letters. Here both are checked
//! always: a caller who may declare a queue must not send messages by it to a place that is closed to them.

use std::collections::BTreeSet;

use super::arguments::{DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY};
use super::document::TopologyDocument;
use super::exchange::{ALTERNATE_EXCHANGE, Binding, BindingTarget, ExchangeDeclaration};
use super::{DeadLetterPair, QueueDeclaration};
use crate::domain::access::{Key, Need, Needed};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::ExchangeName;

impl QueueDeclaration {
    /// The permissions to declare it: configure; with a dead-letter exchange, also to read its messages and to write them there; with a pair
    /// for dead letters, also those of the pair.
    #[must_use]
    pub fn needs(&self) -> Vec<Needed<'_>> {
        let name = self.name.as_str();
        let mut needs = vec![Need::configure(name)];
        if let Some(exchange) = name_in(&self.arguments, DEAD_LETTER_EXCHANGE) {
            // Without a key of its own a dead letter keeps the key of its message, which may be any.
            let key = name_in(&self.arguments, DEAD_LETTER_KEY).map_or(Key::Every, Key::One);
            needs.extend([Need::read(name, Key::Every), Need::write(in_path(exchange), key)]);
        }
        if let Some(DeadLetterPair { exchange, queue, .. }) = &self.dead_letter_pair {
            let (exchange, queue) = (exchange.in_path(), queue.as_str());
            needs.extend([
                Need::configure(exchange),
                Need::write(exchange, Key::Every),
                Need::read(exchange, Key::Every),
                Need::configure(queue),
                Need::write(queue, Key::Every),
            ]);
        }
        needs.into_iter().map(Needed::from).collect()
    }
}

impl ExchangeDeclaration {
    /// The permissions to declare it: configure; with an alternate exchange, also to read its messages and to write them there.
    #[must_use]
    pub fn needs(&self) -> Vec<Needed<'_>> {
        let name = self.name.in_path();
        let mut needs = vec![Need::configure(name)];
        if let Some(alternate) = name_in(&self.arguments, ALTERNATE_EXCHANGE) {
            needs.extend([Need::read(name, Key::Every), Need::write(in_path(alternate), Key::Every)]);
        }
        needs.into_iter().map(Needed::from).collect()
    }
}

impl Binding {
    /// The permissions to bind and to unbind: to write to the target, and to read the messages of the source. With arguments the routing key
    /// may not decide, so that every one is needed.
    #[must_use]
    pub fn needs(&self) -> Vec<Needed<'_>> {
        let target = match &self.target {
            BindingTarget::Queue(name) => name.as_str(),
            BindingTarget::Exchange(name) => name.in_path(),
        };
        let key = if self.arguments.0.is_empty() { Key::One(self.routing_key.as_str()) } else { Key::Every };
        let needs = [Need::write(target, Key::Every), Need::read(self.source.in_path(), key)];
        needs.into_iter().map(Needed::from).collect()
    }
}

impl TopologyDocument {
    /// The queues and exchanges that a look at the document asks RabbitMQ for, each once.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let exchanges = self.exchanges.iter().map(|exchange| exchange.name.in_path().to_owned());
        let queues = self.queues.iter().map(|queue| queue.name.as_str().to_owned());
        let pairs = self.queues.iter().filter_map(|queue| queue.dead_letter_pair.as_ref());
        let pairs = pairs.flat_map(|DeadLetterPair { exchange, queue, .. }| {
            [exchange.in_path().to_owned(), queue.as_str().to_owned()]
        });
        let references = self.references().into_iter().map(|(_, end)| match end {
            BindingTarget::Queue(name) => name.as_str().to_owned(),
            BindingTarget::Exchange(name) => name.in_path().to_owned(),
        });
        exchanges.chain(queues).chain(pairs).chain(references).collect()
    }

    /// The permissions of all its items.
    #[must_use]
    pub fn needs(&self) -> Vec<Needed<'_>> {
        let exchanges = self.exchanges.iter().flat_map(ExchangeDeclaration::needs);
        let queues = self.queues.iter().flat_map(QueueDeclaration::needs);
        let bindings = self.bindings.iter().flat_map(Binding::needs);
        exchanges.chain(queues).chain(bindings).collect()
    }
}

/// The name in an argument. One that is not UTF-8 counts as a name that only the pattern `*` covers.
fn name_in<'a>(arguments: &'a FieldTable, argument: &str) -> Option<&'a str> {
    match arguments.get(argument)? {
        FieldValue::Text(name) => Some(std::str::from_utf8(name).unwrap_or("\u{fffd}")),
        // RabbitMQ refuses it.
        _ => None,
    }
}

/// The name of an exchange in an argument as a path has it.
fn in_path(exchange: &str) -> &str {
    if exchange.is_empty() { ExchangeName::DEFAULT_IN_PATH } else { exchange }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{QueueName, ShortText};

    fn text(text: &str) -> ShortText {
        ShortText::parse(text).expect("a short text")
    }

    fn arguments(given: &[(&str, &str)]) -> FieldTable {
        FieldTable(given.iter().map(|(name, value)| (text(name), FieldValue::from(*value))).collect())
    }

    fn exchange(name: &str) -> ExchangeName {
        ExchangeName::from_path(name).expect("a name")
    }

    fn queue(name: &str) -> QueueName {
        QueueName::parse(name).expect("a name")
    }

    /// The needs as scopes; a need of every routing key ends with `/*`.
    fn scopes(needs: &[Needed<'_>]) -> Vec<String> {
        let scope = |it: &Needed<'_>| {
            let every = it.need.key == Key::Every && it.need.name != "q" && it.need.name != "q.dlq";
            it.need.scope("v")
                + if every && it.need.verb != crate::domain::access::Verb::Configure { "/*" } else { "" }
        };
        needs.iter().map(scope).collect()
    }

    fn declaration(given: &[(&str, &str)], pair: bool) -> QueueDeclaration {
        let pair = pair.then(|| DeadLetterPair {
            exchange: exchange("q.dlx"),
            queue: queue("q.dlq"),
            arguments: FieldTable::default(),
        });
        QueueDeclaration {
            name: queue("q"),
            durable: true,
            auto_delete: false,
            arguments: arguments(given),
            has_unknown_arguments: false,
            dead_letter_pair: pair,
        }
    }

    #[test]
    fn a_queue_needs_the_places_of_its_dead_letters_too() {
        let (to, key) = ("x-dead-letter-exchange", "x-dead-letter-routing-key");
        for (given, pair, expected) in [
            (&[][..], false, &["configure:v/q"][..]),
            (&[(to, "dlx")][..], false, &["configure:v/q", "read:v/q", "write:v/dlx/*"][..]),
            (
                &[(to, ""), (key, "dead")][..],
                false,
                &["configure:v/q", "read:v/q", "write:v/amq.default/dead"][..],
            ),
            (&[(key, "dead")][..], false, &["configure:v/q"][..]),
            (
                &[(to, "q.dlx")][..],
                true,
                &[
                    "configure:v/q",
                    "read:v/q",
                    "write:v/q.dlx/*",
                    "configure:v/q.dlx",
                    "write:v/q.dlx/*",
                    "read:v/q.dlx/*",
                    "configure:v/q.dlq",
                    "write:v/q.dlq",
                ][..],
            ),
        ] {
            assert_eq!(scopes(&declaration(given, pair).needs()), expected, "{given:?}");
        }
    }

    #[test]
    fn an_exchange_needs_its_alternate_exchange_with_every_routing_key() {
        let mut declared = ExchangeDeclaration {
            name: exchange("orders"),
            kind: text("topic"),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
        };
        assert_eq!(scopes(&declared.needs()), ["configure:v/orders"]);
        declared.arguments = arguments(&[(ALTERNATE_EXCHANGE, "lost")]);
        assert_eq!(scopes(&declared.needs()), ["configure:v/orders", "read:v/orders/*", "write:v/lost/*"]);
    }

    #[test]
    fn a_binding_needs_its_target_and_the_routing_key_of_its_source() {
        let bind = |target, given: &[(&str, &str)]| Binding {
            source: exchange("orders"),
            target,
            routing_key: text("eu.*"),
            arguments: arguments(given),
        };
        let to_queue = bind(BindingTarget::Queue(queue("q")), &[]);
        assert_eq!(scopes(&to_queue.needs()), ["write:v/q", "read:v/orders/eu.%2A"]);
        let by_headers = bind(BindingTarget::Queue(queue("q")), &[("x-match", "all")]);
        assert_eq!(scopes(&by_headers.needs()), ["write:v/q", "read:v/orders/*"]);
        let to_exchange = bind(BindingTarget::Exchange(exchange("all")), &[]);
        assert_eq!(scopes(&to_exchange.needs()), ["write:v/all/*", "read:v/orders/eu.%2A"]);
        let document = TopologyDocument {
            exchanges: Vec::new(),
            queues: vec![declaration(&[], false)],
            bindings: vec![to_queue],
        };
        assert_eq!(scopes(&document.needs()), ["configure:v/q", "write:v/q", "read:v/orders/eu.%2A"]);
    }

    #[test]
    fn a_look_at_a_document_asks_for_its_items_their_pairs_and_the_ends_of_its_bindings() {
        let bind = |target| Binding {
            source: exchange("orders"),
            target,
            routing_key: text(""),
            arguments: FieldTable::default(),
        };
        let document = TopologyDocument {
            exchanges: Vec::new(),
            queues: vec![declaration(&[("x-dead-letter-exchange", "q.dlx")], true)],
            bindings: vec![
                bind(BindingTarget::Queue(queue("q"))),
                bind(BindingTarget::Exchange(ExchangeName::default())),
            ],
        };
        let names: Vec<_> = document.names().into_iter().collect();
        assert_eq!(names, ["amq.default", "orders", "q", "q.dlq", "q.dlx"]);
        assert!(TopologyDocument::default().names().is_empty());
    }
}
