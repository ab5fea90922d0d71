//! The queues and exchanges that a document names and does not declare.

use std::collections::BTreeSet;

use super::QueueDeclaration;
use super::arguments::{DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY};
use super::document::{Place, TopologyDocument};
use super::exchange::{ALTERNATE_EXCHANGE, BindingTarget, ExchangeDeclaration};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::{ExchangeName, QueueName};

impl TopologyDocument {
    /// The exchanges and queues that items name and the document does not declare, each with the first such item: the ends of
    /// bindings, alternate exchanges, and the targets of dead letters. RabbitMQ accepts a name of no exchange for the latter two,
    /// and then drops the messages.
    #[must_use]
    pub fn references(&self) -> Vec<(Place, BindingTarget)> {
        let mut known: BTreeSet<BindingTarget> = BTreeSet::new();
        known.extend(self.exchanges.iter().map(|it| BindingTarget::Exchange(it.name.clone())));
        known.extend(self.queues.iter().map(|it| BindingTarget::Queue(it.name.clone())));
        for pair in self.queues.iter().filter_map(|queue| queue.dead_letter_pair.as_ref()) {
            known.insert(BindingTarget::Exchange(pair.exchange.clone()));
            known.insert(BindingTarget::Queue(pair.queue.clone()));
        }
        let alternates = self.exchanges.iter().enumerate();
        let alternates = alternates.filter_map(|(n, it)| Some((Place::Exchange(n), it.alternate()?)));
        let dead_letters = self.queues.iter().enumerate();
        let dead_letters = dead_letters.filter_map(|(n, it)| Some((Place::Queue(n), it.dead_letters_to()?)));
        let ends = self.bindings.iter().enumerate().flat_map(|(n, it)| {
            let ends = [BindingTarget::Exchange(it.source.clone()), it.target.clone()];
            ends.map(|end| (Place::Binding(n), end))
        });
        let named = alternates.chain(dead_letters).chain(ends);
        named.filter(|(_, end)| known.insert(end.clone())).collect()
    }
}

impl ExchangeDeclaration {
    /// The exchange that gets the messages which this one cannot route, unless it is the default exchange.
    fn alternate(&self) -> Option<BindingTarget> {
        exchange_in(&self.arguments, ALTERNATE_EXCHANGE)
    }
}

impl QueueDeclaration {
    /// The exchange that gets dead letters. For the default exchange, the queue that they have as routing key.
    fn dead_letters_to(&self) -> Option<BindingTarget> {
        let is_default = self.arguments.get(DEAD_LETTER_EXCHANGE) == Some(&FieldValue::from(""));
        if is_default {
            let queue = QueueName::parse(text_in(&self.arguments, DEAD_LETTER_KEY)?).ok()?;
            return Some(BindingTarget::Queue(queue));
        }
        exchange_in(&self.arguments, DEAD_LETTER_EXCHANGE)
    }
}

fn exchange_in(arguments: &FieldTable, name: &str) -> Option<BindingTarget> {
    let exchange = ExchangeName::from_path(text_in(arguments, name)?).ok()?;
    Some(BindingTarget::Exchange(exchange))
}

fn text_in<'a>(arguments: &'a FieldTable, name: &str) -> Option<&'a str> {
    match arguments.get(name) {
        Some(FieldValue::Text(text)) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::ShortText;
    use crate::domain::topology::document::tests::queue;
    use crate::domain::topology::exchange::Binding;

    fn binding(source: &str, target: BindingTarget) -> Binding {
        Binding {
            source: ExchangeName::from_path(source).expect("a name"),
            target,
            routing_key: ShortText::default(),
            arguments: FieldTable::default(),
        }
    }

    #[test]
    fn references_are_the_ends_of_bindings_that_the_document_does_not_declare() {
        let target = |name: &str| BindingTarget::Queue(QueueName::parse(name).expect("a name"));
        let document = TopologyDocument {
            queues: vec![queue("mine", Some(("mine.dlx", "mine.dlq")))],
            bindings: vec![
                binding("mine.dlx", target("mine")),
                binding("theirs", target("mine")),
                binding("theirs", target("other")),
            ],
            ..TopologyDocument::default()
        };
        let theirs = BindingTarget::Exchange(ExchangeName::from_path("theirs").expect("a name"));
        assert_eq!(
            document.references(),
            [(Place::Binding(1), theirs), (Place::Binding(2), target("other"))]
        );
    }

    #[test]
    fn references_are_also_alternate_exchanges_and_the_targets_of_dead_letters() {
        let named = |arguments: &[(&str, &str)]| {
            let arguments: Vec<_> =
                arguments.iter().map(|(name, text)| (*name, FieldValue::from(*text))).collect();
            FieldTable::of(&arguments)
        };
        let with = |name: &str, arguments: &[(&str, &str)]| QueueDeclaration {
            arguments: named(arguments),
            ..queue(name, None)
        };
        let mut exchange =
            queue("x", Some(("e", "e.q"))).dead_letter_pair.expect("a pair").exchange_declaration();
        exchange.arguments = named(&[(ALTERNATE_EXCHANGE, "unrouted")]);
        let document = TopologyDocument {
            exchanges: vec![exchange],
            queues: vec![
                with("a", &[(DEAD_LETTER_EXCHANGE, "dead")]),
                with("b", &[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "work")]),
                with("c", &[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "a")]),
                with("d", &[(DEAD_LETTER_EXCHANGE, "e")]),
            ],
            ..TopologyDocument::default()
        };
        let exchange = |name: &str| BindingTarget::Exchange(ExchangeName::from_path(name).expect("a name"));
        let work = BindingTarget::Queue(QueueName::parse("work").expect("a name"));
        assert_eq!(
            document.references(),
            [
                (Place::Exchange(0), exchange("unrouted")),
                (Place::Queue(0), exchange("dead")),
                (Place::Queue(1), work)
            ]
        );
    }
}
