//! Checks that a declaration fits a frame. RabbitMQ closes the connection over a larger one.

use crate::broker::error::{Error, Refusal};
use crate::domain::field::FieldTable;
use crate::domain::topology::QueueDeclaration;
use crate::domain::topology::exchange::{Binding, BindingTarget, ExchangeDeclaration};

/// Bytes of a method's frame besides its names and its arguments: the eight bytes of each frame, class, method, a reserved
/// number, the lengths of at most three names, and the flags.
const METHOD: usize = 18;

/// Checks that the declaration of a queue fits a frame of `limit` bytes.
pub(super) fn check_queue(queue: &QueueDeclaration, limit: usize) -> Result<(), Error> {
    check(&[queue.name.as_str()], &queue.arguments, limit)
}

/// Checks that the declaration of an exchange fits a frame of `limit` bytes.
pub(super) fn check_exchange(exchange: &ExchangeDeclaration, limit: usize) -> Result<(), Error> {
    check(&[exchange.name.as_str(), exchange.kind.as_str()], &exchange.arguments, limit)
}

/// Checks that a binding fits a frame of `limit` bytes.
pub(super) fn check_binding(binding: &Binding, limit: usize) -> Result<(), Error> {
    let target = match &binding.target {
        BindingTarget::Queue(name) => name.as_str(),
        BindingTarget::Exchange(name) => name.as_str(),
    };
    check(&[binding.source.as_str(), target, binding.routing_key.as_str()], &binding.arguments, limit)
}

fn check(names: &[&str], arguments: &FieldTable, limit: usize) -> Result<(), Error> {
    let bytes = METHOD + names.iter().map(|name| name.len()).sum::<usize>() + arguments.encoded_len();
    if bytes <= limit { Ok(()) } else { Err(Error::Refused(Refusal::HeadersTooLarge { bytes, limit })) }
}
