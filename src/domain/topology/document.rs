//! A whole topology: exchanges, queues and bindings that belong together.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::exchange::{Binding, BindingTarget, ExchangeDeclaration};
use super::{DeadLetterPair, QueueDeclaration};
use crate::domain::field::FieldTable;
use crate::domain::names::ShortText;

const ONCE: &str = "declare it once";
/// For the objects that `dead_letter` declares.
const ONCE_FOR_DEAD_LETTERS: &str =
    "declare it once; dead_letter with an exchange and without a queue declares neither of them";

/// Exchanges, queues and bindings, in the order of the document.
#[derive(Debug, Clone, Default)]
pub struct TopologyDocument {
    /// The exchanges.
    pub exchanges: Vec<ExchangeDeclaration>,
    /// The queues.
    pub queues: Vec<QueueDeclaration>,
    /// The bindings.
    pub bindings: Vec<Binding>,
}

/// An item of a document, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The exchange with this index.
    Exchange(usize),
    /// The queue with this index.
    Queue(usize),
    /// The binding with this index.
    Binding(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(index) => write!(f, "exchanges[{index}]"),
            Self::Queue(index) => write!(f, "queues[{index}]"),
            Self::Binding(index) => write!(f, "bindings[{index}]"),
        }
    }
}

/// The result of an item. In a dry run the queues and exchanges exist or are absent, and bindings are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemResult {
    /// It is there, as the document asks.
    Exists,
    /// It is not there, or for a queue an object for its dead letters is not there.
    Absent,
    /// It was made, or for a queue an object for its dead letters.
    Created,
    /// The binding exists now. AMQP does not tell whether it existed before.
    Bound,
    /// RabbitMQ refused it, or the gateway could not ask.
    Failed,
    /// Whether it was made is unknown.
    Unknown,
    /// The gateway did not come to it.
    NotDone,
}

impl ItemResult {
    /// Whether the gateway certainly made nothing for an item that is not a queue. A queue that failed may have left objects for
    /// its dead letters.
    #[must_use]
    pub fn made_nothing(self) -> bool {
        matches!(self, Self::Exists | Self::Absent | Self::Failed | Self::NotDone)
    }
}

/// Two items of a document declare the same object. Completes a sentence that begins with the item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("declares {object}, which another item of the document declares too: {advice}")]
pub struct DeclaredTwice {
    /// The second item.
    pub place: Place,
    /// The object, such as `queue "orders"`.
    pub object: String,
    /// The way out.
    advice: &'static str,
}

impl TopologyDocument {
    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchanges.len() + self.queues.len() + self.bindings.len()
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The places of all items.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let exchanges = (0..self.exchanges.len()).map(Place::Exchange);
        let queues = (0..self.queues.len()).map(Place::Queue);
        exchanges.chain(queues).chain((0..self.bindings.len()).map(Place::Binding))
    }

    /// The name of an item: of the exchange or queue, or of the two ends of the binding. Empty for an item that does not exist.
    #[must_use]
    pub fn name_of(&self, place: Place) -> String {
        let name = match place {
            Place::Exchange(n) => self.exchanges.get(n).map(|it| it.name.in_path().to_owned()),
            Place::Queue(n) => self.queues.get(n).map(|it| it.name.to_string()),
            Place::Binding(n) => self.bindings.get(n).map(ToString::to_string),
        };
        name.unwrap_or_default()
    }

    /// Checks that no exchange and no queue is declared twice, those for dead letters included.
    ///
    /// # Errors
    /// The second declaration.
    pub fn check(&self) -> Result<(), DeclaredTwice> {
        let pairs = self.queues.iter().enumerate();
        let pairs = pairs.filter_map(|(n, queue)| Some((Place::Queue(n), queue.dead_letter_pair.as_ref()?)));
        let exchanges = self.exchanges.iter().enumerate();
        let exchanges = exchanges.map(|(n, it)| (Place::Exchange(n), &it.name, ONCE));
        let of_pairs = pairs.clone().map(|(place, pair)| (place, &pair.exchange, ONCE_FOR_DEAD_LETTERS));
        let exchanges = exchanges.chain(of_pairs);
        let queues = self.queues.iter().enumerate().map(|(n, it)| (Place::Queue(n), &it.name, ONCE));
        let queues = queues.chain(pairs.map(|(place, pair)| (place, &pair.queue, ONCE_FOR_DEAD_LETTERS)));
        refuse_second(exchanges, "exchange")?;
        refuse_second(queues, "queue")
    }
}

fn refuse_second<'a, N: Ord + fmt::Display + 'a>(
    names: impl Iterator<Item = (Place, &'a N, &'static str)>,
    kind: &str,
) -> Result<(), DeclaredTwice> {
    let mut known = BTreeSet::new();
    for (place, name, advice) in names {
        if !known.insert(name) {
            return Err(DeclaredTwice { place, object: format!("{kind} \"{name}\""), advice });
        }
    }
    Ok(())
}

impl DeadLetterPair {
    /// The exchange of the pair.
    #[must_use]
    pub fn exchange_declaration(&self) -> ExchangeDeclaration {
        ExchangeDeclaration {
            name: self.exchange.clone(),
            kind: ShortText::parse("fanout").unwrap_or_default(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
        }
    }

    /// The queue of the pair.
    #[must_use]
    pub fn queue_declaration(&self) -> QueueDeclaration {
        QueueDeclaration {
            name: self.queue.clone(),
            durable: true,
            auto_delete: false,
            arguments: self.arguments.clone(),
            has_unknown_arguments: false,
            dead_letter_pair: None,
        }
    }

    /// The binding between the two.
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding {
            source: self.exchange.clone(),
            target: BindingTarget::Queue(self.queue.clone()),
            routing_key: ShortText::default(),
            arguments: FieldTable::default(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::names::{ExchangeName, QueueName};

    /// A queue, and the exchange and queue for its dead letters.
    pub(in crate::domain::topology) fn queue(name: &str, pair: Option<(&str, &str)>) -> QueueDeclaration {
        QueueDeclaration {
            name: QueueName::parse(name).expect("a name"),
            durable: true,
            auto_delete: false,
            arguments: FieldTable::default(),
            has_unknown_arguments: false,
            dead_letter_pair: pair.map(|(exchange, queue)| DeadLetterPair {
                exchange: ExchangeName::from_path(exchange).expect("a name"),
                queue: QueueName::parse(queue).expect("a name"),
                arguments: FieldTable::default(),
            }),
        }
    }

    #[test]
    fn an_object_that_is_declared_twice_is_named_with_the_second_item() {
        let queues = vec![queue("a", Some(("a.dlx", "a.dlq"))), queue("b", None), queue("a.dlq", None)];
        let document = TopologyDocument { queues, ..TopologyDocument::default() };
        let error = document.check().expect_err("twice");
        assert_eq!((error.place, error.object.as_str()), (Place::Queue(0), "queue \"a.dlq\""));
        assert!(TopologyDocument::default().check().is_ok());
    }

    #[test]
    fn a_queue_and_an_exchange_may_have_one_name() {
        let queues = vec![queue("a", None)];
        let exchanges =
            vec![queue("x", Some(("a", "q"))).dead_letter_pair.expect("a pair").exchange_declaration()];
        assert!(TopologyDocument { queues, exchanges, bindings: Vec::new() }.check().is_ok());
    }
}
