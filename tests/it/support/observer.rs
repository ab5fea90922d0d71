//! `Observer`: a second AMQP client that declares topologies and reads the contents of the queues.
//!
//! Uses lapin only, none of the gateway's code. Each call has a channel of its own, so an error of one call does not affect the
//! next.

#![expect(clippy::disallowed_types, reason = "independent of broker/convert.rs; names go through try_new")]

use std::time::Duration;

use async_rs::Runtime;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
    message::Delivery,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};

use super::poll::{eventually, within};

const DEADLINE: Duration = Duration::from_secs(30);

pub struct Observer {
    connection: Connection,
}

impl Observer {
    /// lapin takes a lone slash as the vhost named "", although users mean the default vhost.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.unwrap_or_else(|error| panic!("the observer connects to {url}: {error}"))
    }

    /// The same when RabbitMQ may be away.
    pub async fn try_connect(url: &str) -> lapin::Result<Self> {
        let url = &url.strip_suffix('/').map_or_else(|| url.to_owned(), |rest| format!("{rest}/%2f"));
        let properties =
            ConnectionProperties::default().with_connection_name(lapin::types::LongString::from("observer"));
        let connect = Connection::connect_with_runtime(url, properties, Runtime::tokio_current());
        let connection = within(DEADLINE, "the observer connects", connect).await;
        connection.map(|connection| Self { connection })
    }

    /// Declares a durable queue.
    pub async fn declare_queue(&self, queue: &str) {
        self.declare_queue_with(queue, &[]).await;
    }

    /// Declares a quorum queue whose leader is the node of this connection.
    pub async fn declare_quorum_queue(&self, queue: &str) {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let arguments = [("x-queue-type", text("quorum")), ("x-queue-leader-locator", text("client-local"))];
        self.declare_queue_with(queue, &arguments).await;
    }

    /// Declares a durable queue with arguments.
    pub async fn declare_queue_with(&self, queue: &str, arguments: &[(&str, AMQPValue)]) {
        let channel = self.channel().await;
        let declare = channel.queue_declare(short(queue), QueueDeclareOptions::durable(), table(arguments));
        done(&format!("declare queue {queue}"), declare).await;
    }

    pub async fn delete_queue(&self, queue: &str) {
        let channel = self.channel().await;
        let delete = channel.queue_delete(short(queue), QueueDeleteOptions::default());
        done(&format!("delete queue {queue}"), delete).await;
    }

    /// Declares a durable exchange.
    pub async fn declare_exchange(&self, exchange: &str, kind: ExchangeKind) {
        let channel = self.channel().await;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declare = channel.exchange_declare(short(exchange), kind, options, FieldTable::default());
        done(&format!("declare exchange {exchange}"), declare).await;
    }

    pub async fn delete_exchange(&self, exchange: &str) {
        let channel = self.channel().await;
        let delete = channel.exchange_delete(short(exchange), ExchangeDeleteOptions::default());
        done(&format!("delete exchange {exchange}"), delete).await;
    }

    pub async fn bind(&self, queue: &str, exchange: &str, routing_key: &str) {
        self.bind_with(queue, exchange, routing_key, &[]).await;
    }

    /// Binds with arguments, as a headers exchange needs.
    pub async fn bind_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &[(&str, AMQPValue)],
    ) {
        let channel = self.channel().await;
        let options = QueueBindOptions::default();
        let bind =
            channel.queue_bind(short(queue), short(exchange), short(routing_key), options, table(arguments));
        done(&format!("bind {queue} to {exchange}"), bind).await;
    }

    /// Publishes and waits for the confirm.
    pub async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8], properties: BasicProperties) {
        let channel = self.channel().await;
        done("select confirms", channel.confirm_select(ConfirmSelectOptions::default())).await;
        let options = BasicPublishOptions::default();
        let publish = channel.basic_publish(short(exchange), short(routing_key), options, body, properties);
        let confirm = done("publish", publish).await;
        let confirmation = done("confirm", confirm).await;
        assert_eq!(confirmation, Confirmation::Ack(None), "RabbitMQ confirms the observer's message");
    }

    /// Publishes many messages over one channel, and waits for their confirms.
    pub async fn publish_all(
        &self,
        exchange: &str,
        routing_key: &str,
        messages: impl Iterator<Item = (Vec<u8>, BasicProperties)>,
    ) {
        let channel = self.channel().await;
        done("select confirms", channel.confirm_select(ConfirmSelectOptions::default())).await;
        let mut confirms = Vec::new();
        for (body, properties) in messages {
            let options = BasicPublishOptions::default();
            let publish =
                channel.basic_publish(short(exchange), short(routing_key), options, &body, properties);
            confirms.push(done("publish", publish).await);
        }
        for confirm in confirms {
            let confirmation = done("confirm", confirm).await;
            assert_eq!(confirmation, Confirmation::Ack(None), "RabbitMQ confirms the observer's message");
        }
    }

    /// Publishes a persistent message over a fresh channel; gives whether RabbitMQ confirmed it or nacked it.
    pub async fn try_publish(&self, queue: &str, id: &str) -> lapin::Result<bool> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let properties = BasicProperties::default().with_message_id(short(id)).with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let publish =
            channel.basic_publish(short(""), short(queue), options, id.as_bytes(), properties).await?;
        let confirmation = publish.await?;
        channel.close(200, short("done")).await?;
        Ok(confirmation == Confirmation::Ack(None))
    }

    /// The number of ready messages of a queue; `None` when the queue does not exist.
    pub async fn count(&self, queue: &str) -> Option<u32> {
        let channel = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declare = channel.queue_declare(short(queue), options, FieldTable::default());
        match within(DEADLINE, "count", declare).await {
            Ok(queue) => Some(queue.message_count()),
            Err(error) if error.to_string().contains("NOT_FOUND - no queue") => None,
            Err(error) => panic!("count {queue}: {error}"),
        }
    }

    /// Takes all messages that are in the queue now.
    pub async fn drain(&self, queue: &str) -> Vec<Delivery> {
        let channel = self.channel().await;
        let mut deliveries = Vec::new();
        while let Some(delivery) = get(&channel, queue).await {
            deliveries.push(delivery);
        }
        deliveries
    }

    /// The `message_id`s of all messages that are in the queue now, for the [`super::book::Book`].
    pub async fn drain_ids(&self, queue: &str) -> Vec<String> {
        self.drain(queue).await.iter().map(message_id).collect()
    }

    /// The same with a consumer, for tens of thousands of messages; no message may arrive during the call.
    pub async fn take_ids(&self, queue: &str) -> Vec<String> {
        let count = self.count(queue).await.unwrap_or_else(|| panic!("there is a queue {queue}"));
        let channel = self.channel().await;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consume = channel.basic_consume(short(queue), short(""), options, FieldTable::default());
        let mut deliveries = done(&format!("consume {queue}"), consume).await;
        let mut ids = Vec::new();
        while ids.len() < usize::try_from(count).expect("it fits") {
            let delivery = within(DEADLINE, "the next message", deliveries.next()).await;
            ids.push(message_id(&delivery.expect("the consumer lives").expect("a delivery")));
        }
        // A consumer that was only dropped would take later messages.
        done("close a channel", channel.close(200, short("done"))).await;
        ids
    }

    /// Takes one message, and waits for it up to the deadline.
    pub async fn get_one(&self, queue: &str, deadline: Duration) -> Delivery {
        let channel = self.channel().await;
        eventually(deadline, &format!("a message in {queue}"), || get(&channel, queue)).await
    }

    /// A stream of deliveries that need no acknowledgement (`no_ack`).
    pub async fn consume(&self, queue: &str) -> Consumer {
        let channel = self.channel().await;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consume = channel.basic_consume(short(queue), short(""), options, FieldTable::default());
        done(&format!("consume {queue}"), consume).await
    }

    pub fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// A fresh channel, for operations that the observer does not have.
    pub async fn channel(&self) -> Channel {
        done("open a channel", self.connection.create_channel()).await
    }
}

/// The text of a delivery's `message_id`; empty when it is absent.
pub fn message_id(delivery: &Delivery) -> String {
    delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default()
}

async fn get(channel: &Channel, queue: &str) -> Option<Delivery> {
    let get = channel.basic_get(short(queue), BasicGetOptions { no_ack: true });
    done(&format!("get from {queue}"), get).await.map(|message| message.delivery)
}

async fn done<T>(what: &str, call: impl Future<Output = lapin::Result<T>>) -> T {
    within(DEADLINE, what, call).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).expect("a name of at most 255 bytes")
}

fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(short(name), value.clone());
    }
    table
}
