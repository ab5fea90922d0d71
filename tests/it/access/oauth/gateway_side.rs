//! The decision of the gateway, by the code that its handlers call.

use std::time::Duration;

use rabbitmq_gateway::{
    broker,
    domain::{
        access::{Key, Need, Needed, Permissions},
        field::{FieldTable, FieldValue},
        message::{Destination, Message, MessageId, Properties},
        names::{ExchangeName, QueueName, ShortText},
        topology::{
            DeadLetterPair, QueueDeclaration,
            exchange::{self, BindingTarget, ExchangeDeclaration},
        },
    },
};
use tokio::time::Instant;

use super::{
    grant::Grant,
    operation::{Binding, Operation, Publish, Target},
    places::Pair,
};

/// The permissions of a principal with these grants.
pub fn permissions(grants: &[Grant]) -> Permissions {
    let mut permissions = Permissions::default();
    for grant in grants {
        let pattern = grant.pattern();
        let granted = permissions.grant(grant.verb, &pattern, "tester");
        granted.unwrap_or_else(|error| panic!("{pattern:?} {error}"));
    }
    permissions
}

pub fn permits(permissions: &Permissions, operation: &Operation) -> bool {
    let has = |needed: Vec<Needed>| permissions.missing(needed).is_empty();
    match *operation {
        Operation::Publish(publish) => has(published(publish).needs().collect()),
        Operation::Call { queue } => has(vec![Need::call_or_write(queue)]),
        Operation::Take { queue } | Operation::Purge { queue } => {
            has(vec![Need::read(queue, Key::Every).into()])
        }
        Operation::LookAtQueue { queue: name } | Operation::LookAtExchange { exchange: name } => {
            permissions.allow_look(name)
        }
        Operation::DeclareQueue { queue, dead_letters, .. } => {
            has(declared_queue(queue, dead_letters).needs())
        }
        Operation::DeclareWithPair(pair) => has(declared_with_pair(pair).needs()),
        Operation::DeclareExchange { exchange, alternate, .. } => {
            has(declared_exchange(exchange, alternate).needs())
        }
        Operation::DeleteQueue { queue: name } | Operation::DeleteExchange { exchange: name } => {
            has(vec![Need::configure(name).into()])
        }
        Operation::Bind(binding) | Operation::Unbind(binding) => has(bound(binding).needs()),
    }
}

fn published(Publish { exchange, key, copy, reply_to }: Publish) -> broker::Publish {
    let mut headers = FieldTable::default();
    if let Some((header, key)) = copy {
        headers.insert(text(header), FieldValue::Array(vec![FieldValue::from(key)]));
    }
    let message = Message {
        id: MessageId::generate(),
        properties: Properties { reply_to: reply_to.map(text), ..Properties::default() },
        headers,
        body: bytes::Bytes::new(),
    };
    let destination =
        Destination { exchange: exchange_name(exchange.name), routing_key: text(key), mandatory: true };
    broker::Publish::new(message, destination, Instant::now() + Duration::from_secs(1), true)
}

fn declared_queue(queue: &str, dead_letters: Option<(&str, Option<&str>)>) -> QueueDeclaration {
    let mut arguments = FieldTable::default();
    if let Some((exchange, key)) = dead_letters {
        insert(&mut arguments, "x-dead-letter-exchange", exchange_name(exchange).as_str());
        if let Some(key) = key {
            insert(&mut arguments, "x-dead-letter-routing-key", key);
        }
    }
    QueueDeclaration {
        name: QueueName::parse(queue).expect("a name"),
        durable: true,
        auto_delete: false,
        arguments,
        has_unknown_arguments: false,
        dead_letter_pair: None,
    }
}

fn declared_with_pair(Pair { queue, exchange, dead_letters }: Pair) -> QueueDeclaration {
    let mut declaration = declared_queue(queue, Some((exchange, None)));
    declaration.dead_letter_pair = Some(DeadLetterPair {
        exchange: exchange_name(exchange),
        queue: QueueName::parse(dead_letters).expect("a name"),
        arguments: FieldTable::default(),
    });
    declaration
}

fn declared_exchange(exchange: &str, alternate: Option<&str>) -> ExchangeDeclaration {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        insert(&mut arguments, "alternate-exchange", alternate);
    }
    ExchangeDeclaration {
        name: exchange_name(exchange),
        kind: text("topic"),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    }
}

fn bound(Binding { target, source, key, has_arguments }: Binding) -> exchange::Binding {
    let mut arguments = FieldTable::default();
    if has_arguments {
        insert(&mut arguments, "x-match", "any");
    }
    let target = match target {
        Target::Queue(name) => BindingTarget::Queue(QueueName::parse(name).expect("a name")),
        Target::Exchange(name) => BindingTarget::Exchange(exchange_name(name)),
    };
    exchange::Binding { source: exchange_name(source.name), target, routing_key: text(key), arguments }
}

fn insert(arguments: &mut FieldTable, name: &str, value: &str) {
    arguments.insert(text(name), FieldValue::from(value));
}

fn exchange_name(name: &str) -> ExchangeName {
    ExchangeName::from_path(name).expect("a name")
}

fn text(given: &str) -> ShortText {
    ShortText::parse(given).expect("a short text")
}
