//! AMQP spoken directly, with lapin: the limit of the speed that any service in front of RabbitMQ can reach.
//!
//! One connection and one confirm channel for all callers, because this costs RabbitMQ least; [`crate::bulk`] gives each client its
//! own. Messages have the same properties as the gateway's: a message id, a content type, a delivery mode.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use async_rs::Runtime;
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::dialect::{body, first_stamp, routing_key, stamp};
use crate::load::Caller;
use crate::recorder::Answer;
use crate::spec::{Ask, ECHO, MISSING_EXCHANGE, Traffic};

/// Connects to RabbitMQ at an address as the private broker writes it.
///
/// # Errors
/// When RabbitMQ does not answer.
pub async fn connect(url: &str) -> anyhow::Result<Connection> {
    // lapin takes a lone slash as the virtual host named "", other clients as the default one.
    let url = url.strip_suffix('/').unwrap_or(url);
    let properties = ConnectionProperties::default();
    let connect = Connection::connect_with_runtime(url, properties, Runtime::tokio_current());
    connect.await.with_context(|| format!("connecting to {url}"))
}

/// The properties of each message.
fn properties(traffic: &Traffic) -> BasicProperties {
    let mode = if traffic.persistent { 2 } else { 1 };
    BasicProperties::default().with_delivery_mode(mode).with_content_type("application/octet-stream".into())
}

/// A caller that publishes, on a channel that it may share with other callers.
#[derive(Clone)]
pub struct Publisher {
    channel: Channel,
    traffic: Traffic,
    body: Arc<[u8]>,
    properties: BasicProperties,
}

impl Publisher {
    /// A caller with a channel of its own.
    ///
    /// # Errors
    /// When RabbitMQ refuses the channel.
    pub async fn alone(connection: &Connection, traffic: &Traffic) -> anyhow::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (body, properties) = (body(traffic.size).into(), properties(traffic));
        Ok(Self { channel, traffic: traffic.clone(), body, properties })
    }

    /// All callers of one run, on one channel.
    ///
    /// # Errors
    /// When RabbitMQ refuses the channel.
    pub async fn all(connection: &Connection, traffic: &Traffic) -> anyhow::Result<Vec<Self>> {
        Ok(vec![Self::alone(connection, traffic).await?; traffic.callers])
    }

    /// Publishes without waiting for the confirm.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn send(&self, ask: Ask) -> lapin::Result<PublisherConfirm> {
        self.publish(ask, &self.body).await
    }

    /// As [`Self::send`], a message with this number at the beginning of its body.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn send_numbered(&self, number: u64) -> lapin::Result<PublisherConfirm> {
        let mut body = self.body.to_vec();
        stamp(&mut body, number);
        self.publish(Ask::Routed, &body).await
    }

    /// Closes the channel.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn close(self) -> lapin::Result<()> {
        self.channel.close(200, "done".into()).await
    }

    async fn publish(&self, ask: Ask, body: &[u8]) -> lapin::Result<PublisherConfirm> {
        let exchange = if ask == Ask::MissingExchange { MISSING_EXCHANGE } else { "" };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let id = Uuid::now_v7().to_string();
        let properties = self.properties.clone().with_message_id(id.into());
        let key = routing_key(&self.traffic, ask).into();
        self.channel.basic_publish(exchange.into(), key, options, body, properties).await
    }
}

/// The meaning of a confirm.
#[must_use]
pub fn answer(confirm: lapin::Result<Confirmation>) -> Answer {
    match confirm {
        Ok(Confirmation::Ack(None)) => Answer::Confirmed,
        Ok(Confirmation::Ack(Some(_))) => Answer::Unroutable,
        Ok(Confirmation::Nack(_)) => Answer::Rejected,
        Ok(Confirmation::NotRequested) => Answer::Failed("confirms are off".to_owned()),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

impl Caller for Publisher {
    async fn ask(&mut self, ask: Ask) -> Answer {
        match self.send(ask).await {
            Ok(confirm) => answer(confirm.await),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Vec<u8>>>>>;

/// A caller of the echo server; all callers share a channel and a reply queue.
pub struct Calling {
    channel: Channel,
    waiting: Waiting,
    body: Vec<u8>,
    properties: BasicProperties,
    stamp: u64,
}

impl Calling {
    /// All callers of one run, with an exclusive reply queue.
    ///
    /// # Errors
    /// When RabbitMQ refuses the queue.
    pub async fn all(connection: &Connection, traffic: &Traffic) -> anyhow::Result<Vec<Self>> {
        let channel = connection.create_channel().await?;
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let replies =
            channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer =
            channel.basic_consume(replies.clone(), "".into(), no_ack, FieldTable::default()).await?;
        let waiting = Waiting::default();
        tokio::spawn(hand_out(consumer, Arc::clone(&waiting)));
        let one = |number| Self {
            channel: channel.clone(),
            waiting: Arc::clone(&waiting),
            body: body(traffic.size),
            properties: properties(traffic).with_reply_to(replies.clone()),
            stamp: first_stamp(number),
        };
        Ok((0..traffic.callers).map(one).collect())
    }

    async fn call(&mut self) -> anyhow::Result<Answer> {
        self.stamp += 1;
        stamp(&mut self.body, self.stamp);
        let id = format!("{:x}", self.stamp);
        let (reply, replied) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), reply);
        let properties = self.properties.clone().with_correlation_id(id.into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        self.channel.basic_publish("".into(), ECHO.into(), options, &self.body, properties).await?;
        let right = replied.await? == self.body;
        Ok(if right { Answer::Confirmed } else { Answer::WrongReply })
    }
}

impl Caller for Calling {
    async fn ask(&mut self, _: Ask) -> Answer {
        self.call().await.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))
    }
}

async fn hand_out(mut replies: Consumer, waiting: Waiting) {
    while let Some(Ok(reply)) = replies.next().await {
        let id = reply.properties.correlation_id().as_ref().map_or("", |id| id.as_str());
        let caller = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        // A caller that has given up waits no more.
        let _ = caller.map(|caller| caller.send(reply.data));
    }
}
