//! A message as it is written, and the broker's verdict on it.

use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation};
use tokio::time::Instant;
use tracing::error;

use super::Publish;
use crate::broker::channels::ConfirmChannel;
use crate::broker::convert::{Short, properties, short};
use crate::broker::error::{Cause, Error, Refusal};

/// Everything that is written. In a box, for it is large and handed on.
pub(in crate::broker) struct Letter {
    /// By this a returned message is known; there are never two of it in flight on one channel.
    pub(super) message_id: Short,
    /// Until when the caller waits.
    pub(super) deadline: Instant,
    pub(super) exchange: Short,
    routing_key: Short,
    options: BasicPublishOptions,
    properties: BasicProperties,
    body: Bytes,
}

impl Letter {
    /// As it is to be written now.
    pub(super) fn new(publish: &Publish) -> Box<Self> {
        let Publish { message, destination, deadline, .. } = publish;
        let mut properties = properties(message);
        if publish.expires {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
            properties = properties.with_expiration(short(&left.to_string()));
        }
        Box::new(Self {
            properties,
            message_id: short(&message.id),
            deadline: *deadline,
            exchange: short(destination.exchange.as_str()),
            routing_key: short(destination.routing_key.as_str()),
            options: BasicPublishOptions { mandatory: destination.mandatory, ..Default::default() },
            body: message.body.clone(),
        })
    }

    /// Writes the message when polled first, whole, and then waits for the broker's verdict, for as
    /// long as that takes. Whoever polls first must be the channel's only publisher at that moment.
    ///
    /// # Errors
    /// [`Error::Unroutable`], [`Error::Rejected`], or how the channel or the connection ended.
    pub(super) async fn settle(self: Box<Self>, confirm: &ConfirmChannel) -> Result<(), Error> {
        let Self { message_id, exchange, routing_key, options, properties, body, .. } = *self;
        let channel = confirm.channel();
        let written = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
        drop(body);
        let verdict = match written {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        // Asked whatever the verdict, so that nothing is kept. What lapin attached may be another's.
        let returned = confirm.link().returns().take(channel.id(), message_id.as_str());
        match (verdict, returned) {
            (Ok(Confirmation::Ack(_)), None) => Ok(()),
            // It came back, whether or not the channel lived on until its ack.
            (Ok(Confirmation::Ack(_)) | Err(_), Some(reason)) => Err(Error::Unroutable { reason }),
            (Ok(Confirmation::Nack(_)), _) => Err(Error::Rejected),
            (Err(error), None) => Err(ended(error)),
            (Ok(Confirmation::NotRequested), _) => {
                error!("a channel of the pool is not in confirm mode: this is a defect of the gateway");
                Err(Error::Unknown(Cause::Lost { reason: "confirms are off".to_owned(), repeatable: false }))
            }
        }
    }
}

/// How the channel or the connection ended.
fn ended(error: lapin::Error) -> Error {
    match Error::from(error) {
        // Over this the broker ends a connection, which others publish on too.
        Error::Refused(Refusal::NotSupported { reason }) => {
            Error::Unknown(Cause::Lost { reason, repeatable: false })
        }
        other => other,
    }
}
