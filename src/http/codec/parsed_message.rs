//! A message as its caller gave it, by either kind of body.

use crate::domain::message::Message;
use crate::domain::names::ShortText;

/// A message, and the routing parameters that only the envelope can hold.
#[derive(Debug)]
pub(in crate::http) struct ParsedMessage {
    pub(in crate::http) message: Message,
    pub(in crate::http) routing_key: Option<ShortText>,
    pub(in crate::http) mandatory: Option<bool>,
}
