//! The decision of RabbitMQ: the operation over AMQP, on a connection whose password is a token.

#![expect(clippy::disallowed_types, reason = "independent of broker/convert.rs; names go through try_new")]

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, ExchangeKind,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    operation::{Binding, Operation, Publish, Target},
    places::{DEFAULT, EXCHANGES, EXISTING_QUEUES, Exchange, Kind, Pair, QUEUES},
    token,
};
use crate::support::{
    broker::{Broker, Vhost, binary},
    observer::Observer,
    poll::within,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Enables the plugin in the node of the test run, for logins that RabbitMQ's own users fail, and gives it the key of the tokens.
pub async fn accept_tokens(broker: &Broker) {
    let [plugin, name] = ["rabbitmq_auth_backend_oauth2"; 2];
    let secret = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token::SECRET);
    let [kty, oct, k, secret] = ["kty", "oct", "k", &secret].map(binary);
    let [key, audience] = [token::KEY_NAME, token::AUDIENCE].map(binary);
    let keys = format!("#{{{key} => {{map, #{{{kty} => {oct}, {k} => {secret}}}}}}}");
    let script = format!(
        "rabbit:await_startup(), File = rabbit_plugins:enabled_plugins_file(), {{ok, [Before]}} = file:consult(File), \
         ok = file:write_file(File, io_lib:format(\"~p.\", [lists:usort([{plugin} | Before])])), \
         {{ok, _, _}} = rabbit_plugins:ensure(File), \
         ok = application:set_env({name}, resource_server_id, {audience}), \
         ok = application:set_env({name}, key_config, [{{signing_keys, {keys}}}]), \
         application:set_env(rabbit, auth_backends, [rabbit_auth_backend_internal, rabbit_auth_backend_oauth2])"
    );
    assert_eq!(broker.eval(&script).await, "ok");
}

/// Declares the exchanges and queues of the test.
pub async fn declare_all(observer: &Observer) {
    for exchange in EXCHANGES.iter().filter(|it| !it.name.starts_with("amq.")) {
        observer.declare_exchange(exchange.name, type_of(exchange.kind)).await;
    }
    for queue in &QUEUES[..EXISTING_QUEUES] {
        observer.declare_queue(queue).await;
    }
}

/// Removes the objects that an operation may have made, so that the next one finds the objects of [`declare_all`] again.
pub async fn undo(observer: &Observer, operation: &Operation, is_permitted: bool) {
    match *operation {
        // RabbitMQ may have permitted a part of it.
        Operation::DeclareWithPair(Pair { queue, exchange, dead_letters }) => {
            observer.delete_queue(queue).await;
            observer.delete_queue(dead_letters).await;
            observer.delete_exchange(exchange).await;
        }
        _ if !is_permitted => {}
        Operation::DeclareQueue { queue, exists: false, .. } => observer.delete_queue(queue).await,
        Operation::DeclareExchange { exchange, kind: Kind::Absent, .. } => {
            observer.delete_exchange(exchange).await;
        }
        _ => {}
    }
}

/// A client with a token, and the channel that it uses until RabbitMQ closes the channel.
pub struct Tester {
    observer: Observer,
    channel: Channel,
}

impl Tester {
    pub async fn login(vhost: &Vhost<'_>, token: &str) -> Self {
        let observer = Observer::connect(&vhost.url_as("tester", token)).await;
        let channel = confirm_channel(&observer).await;
        Self { observer, channel }
    }

    /// Does the operation; false if RabbitMQ refuses it for want of a permission.
    pub async fn is_permitted(&mut self, operation: &Operation) -> bool {
        let done = within(DEADLINE, "an answer of RabbitMQ", run(&self.channel, operation)).await;
        let Err(error) = done else { return true };
        let error = error.to_string();
        let is_refused = error.contains("ACCESS_REFUSED");
        let is_other = ["NOT_FOUND", "PRECONDITION_FAILED"].iter().any(|it| error.contains(it));
        assert!(is_refused || is_other, "{operation:?}: {error}");
        self.channel = confirm_channel(&self.observer).await;
        !is_refused
    }
}

async fn confirm_channel(observer: &Observer) -> Channel {
    let channel = observer.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("RabbitMQ confirms");
    channel
}

async fn run(channel: &Channel, operation: &Operation) -> lapin::Result<()> {
    match *operation {
        Operation::Publish(given) => publish(channel, given).await,
        Operation::Call { queue } => {
            let call = Publish { exchange: DEFAULT, key: queue, copy: None, reply_to: None };
            publish(channel, call).await
        }
        Operation::Take { queue } => {
            channel.basic_get(short(queue), BasicGetOptions { no_ack: true }).await.map(drop)
        }
        Operation::Purge { queue } => {
            channel.queue_purge(short(queue), QueuePurgeOptions::default()).await.map(drop)
        }
        Operation::LookAtQueue { queue } => {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(short(queue), options, FieldTable::default()).await.map(drop)
        }
        Operation::LookAtExchange { exchange } => {
            let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            declare_exchange(channel, exchange, Kind::Absent, options, None).await
        }
        Operation::DeclareQueue { queue, dead_letters, .. } => {
            declare_queue(channel, queue, dead_letters).await
        }
        Operation::DeclareWithPair(pair) => declare_with_pair(channel, pair).await,
        Operation::DeclareExchange { exchange, kind, alternate } => {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            declare_exchange(channel, exchange, kind, options, alternate).await
        }
        Operation::DeleteQueue { queue } => {
            channel.queue_delete(short(queue), QueueDeleteOptions::default()).await.map(drop)
        }
        Operation::DeleteExchange { exchange } => {
            channel.exchange_delete(short(exchange), ExchangeDeleteOptions::default()).await
        }
        Operation::Bind(binding) => bind(channel, binding).await,
        Operation::Unbind(binding) => unbind(channel, binding).await,
    }
}

async fn publish(channel: &Channel, publish: Publish) -> lapin::Result<()> {
    let Publish { exchange, key, copy, reply_to } = publish;
    let exchange = if exchange.name == DEFAULT.name { "" } else { exchange.name };
    let mut properties = BasicProperties::default();
    if let Some(queue) = reply_to {
        properties = properties.with_reply_to(short(queue));
    }
    if let Some((header, key)) = copy {
        let mut headers = FieldTable::default();
        headers.insert(short(header), AMQPValue::FieldArray(vec![long(key)].into()));
        properties = properties.with_headers(headers);
    }
    let options = BasicPublishOptions::default();
    channel.basic_publish(short(exchange), short(key), options, b"", properties).await?.await.map(drop)
}

async fn declare_queue(
    channel: &Channel,
    queue: &str,
    dead_letters: Option<(&str, Option<&str>)>,
) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    if let Some((exchange, key)) = dead_letters {
        let exchange = if exchange == DEFAULT.name { "" } else { exchange };
        arguments.insert(short("x-dead-letter-exchange"), long(exchange));
        if let Some(key) = key {
            arguments.insert(short("x-dead-letter-routing-key"), long(key));
        }
    }
    channel.queue_declare(short(queue), QueueDeclareOptions::durable(), arguments).await.map(drop)
}

async fn declare_with_pair(channel: &Channel, pair: Pair) -> lapin::Result<()> {
    let Pair { queue, exchange, dead_letters } = pair;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    declare_exchange(channel, exchange, Kind::Fanout, options, None).await?;
    declare_queue(channel, dead_letters, None).await?;
    let source = Exchange { name: exchange, kind: Kind::Fanout };
    let target = Target::Queue(dead_letters);
    bind(channel, Binding { target, source, key: "", has_arguments: false }).await?;
    declare_queue(channel, queue, Some((exchange, None))).await
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &str,
    kind: Kind,
    options: ExchangeDeclareOptions,
    alternate: Option<&str>,
) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert(short("alternate-exchange"), long(alternate));
    }
    channel.exchange_declare(short(exchange), type_of(kind), options, arguments).await
}

async fn bind(channel: &Channel, binding: Binding) -> lapin::Result<()> {
    let Binding { target, source, key, .. } = binding;
    let (source, key, arguments) = (short(source.name), short(key), arguments_of(binding));
    match target {
        Target::Queue(queue) => {
            channel.queue_bind(short(queue), source, key, QueueBindOptions::default(), arguments).await
        }
        Target::Exchange(target) => {
            let options = ExchangeBindOptions::default();
            channel.exchange_bind(short(target), source, key, options, arguments).await
        }
    }
}

async fn unbind(channel: &Channel, binding: Binding) -> lapin::Result<()> {
    let Binding { target, source, key, .. } = binding;
    let (source, key, arguments) = (short(source.name), short(key), arguments_of(binding));
    match target {
        Target::Queue(queue) => channel.queue_unbind(short(queue), source, key, arguments).await,
        Target::Exchange(target) => {
            let options = ExchangeUnbindOptions::default();
            channel.exchange_unbind(short(target), source, key, options, arguments).await
        }
    }
}

fn arguments_of(binding: Binding) -> FieldTable {
    let mut arguments = FieldTable::default();
    if binding.has_arguments {
        arguments.insert(short("x-match"), long("any"));
    }
    arguments
}

fn type_of(kind: Kind) -> ExchangeKind {
    match kind {
        Kind::Topic | Kind::Absent => ExchangeKind::Topic,
        Kind::Direct => ExchangeKind::Direct,
        Kind::Fanout => ExchangeKind::Fanout,
        Kind::Headers => ExchangeKind::Headers,
    }
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).expect("a name of at most 255 bytes")
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
