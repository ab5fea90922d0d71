//! The AMQP methods of one operation on an exchange, on its own channel.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
    QueueBindOptions,
};
use lapin::types::FieldTable as AmqpTable;
use lapin::{Channel, ExchangeKind};

use crate::broker::convert::{short_string, table};
use crate::broker::error::Error;
use crate::domain::names::ExchangeName;
use crate::domain::topology::exchange::{Binding, BindingTarget, ExchangeDeclaration};

/// Checks that the exchange exists.
pub(super) async fn look_at(channel: Channel, name: ExchangeName) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Fanout;
    Ok(channel.exchange_declare(short_string(name.as_str()), kind, options, AmqpTable::default()).await?)
}

pub(super) async fn declare(channel: Channel, exchange: ExchangeDeclaration) -> Result<(), Error> {
    let ExchangeDeclaration { name, kind, durable, auto_delete, internal, arguments } = exchange;
    let options =
        ExchangeDeclareOptions { durable, auto_delete, internal, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom(kind.as_str().to_owned());
    Ok(channel.exchange_declare(short_string(name.as_str()), kind, options, table(&arguments)).await?)
}

pub(super) async fn delete(channel: Channel, name: ExchangeName, if_unused: bool) -> Result<(), Error> {
    let options = ExchangeDeleteOptions { if_unused, nowait: false };
    Ok(channel.exchange_delete(short_string(name.as_str()), options).await?)
}

pub(super) async fn bind(channel: Channel, binding: Binding) -> Result<(), Error> {
    let Binding { source, target, routing_key, arguments } = binding;
    let (source, key) = (short_string(source.as_str()), short_string(routing_key.as_str()));
    match target {
        BindingTarget::Queue(queue) => {
            let options = QueueBindOptions::default();
            channel.queue_bind(short_string(queue.as_str()), source, key, options, table(&arguments)).await?;
        }
        BindingTarget::Exchange(exchange) => {
            let (options, target) = (ExchangeBindOptions::default(), short_string(exchange.as_str()));
            channel.exchange_bind(target, source, key, options, table(&arguments)).await?;
        }
    }
    Ok(())
}

pub(super) async fn unbind(channel: Channel, binding: Binding) -> Result<(), Error> {
    let Binding { source, target, routing_key, arguments } = binding;
    let (source, key) = (short_string(source.as_str()), short_string(routing_key.as_str()));
    match target {
        BindingTarget::Queue(queue) => {
            channel.queue_unbind(short_string(queue.as_str()), source, key, table(&arguments)).await?;
        }
        BindingTarget::Exchange(exchange) => {
            let (options, target) = (ExchangeUnbindOptions::default(), short_string(exchange.as_str()));
            channel.exchange_unbind(target, source, key, options, table(&arguments)).await?;
        }
    }
    Ok(())
}
