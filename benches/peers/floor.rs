//! The floor of `make bench`: a bare hyper service over the gateway's own `Broker`.
//!
//! It shows the cost of a publish without the gateway's HTTP layers. It takes the gateway's requests and answers as the
//! gateway does: 200 when RabbitMQ confirmed the message and a queue took it, 500 in every other case. It reads the same
//! settings (`AMQP_URL`, `GATEWAY_LISTEN`) and has the same number of threads. It validates only what `Broker` asks for.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rabbitmq_gateway::broker::{Broker, Publish};
use rabbitmq_gateway::config::Config;
use rabbitmq_gateway::domain::field::FieldTable;
use rabbitmq_gateway::domain::message::{DeliveryMode, Destination, Message, MessageId, Properties};
use rabbitmq_gateway::domain::names::{ExchangeName, ShortText};
use rabbitmq_gateway::lifecycle::Lifecycle;
use rabbitmq_gateway::metrics::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The gateway's default deadline of a publish.
const DEADLINE: Duration = Duration::from_secs(10);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let config = Config::from_lookup(|name| std::env::var(name).ok())
        .map_err(|mistakes| anyhow::anyhow!("reading the settings: {mistakes}"))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(config.worker_threads).enable_all().build()?.block_on(serve(&config))
}

/// Accepts connections until the process is stopped.
async fn serve(config: &Config) -> anyhow::Result<()> {
    let broker = Broker::start(&config.broker, &Metrics::default(), &Lifecycle::default())?;
    let listener = TcpListener::bind(config.http.listen).await.context("listening")?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve_connection(stream, broker.clone()));
    }
}

async fn serve_connection(stream: TcpStream, broker: Broker) {
    let service = service_fn(move |request| answer(broker.clone(), request));
    // A client that closes its connection is not an error here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(broker: Broker, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = if request.method() == Method::GET {
        let ready = broker.is_ready();
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, String::new())
    } else {
        match publish(broker, request).await {
            Ok(receipt) => (StatusCode::OK, receipt),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// `POST /publish/EXCHANGE?routing_key=KEY`. A task of its own publishes the message, as in the gateway.
async fn publish(broker: Broker, request: Request<Incoming>) -> anyhow::Result<String> {
    let (head, body) = request.into_parts();
    let exchange = head.uri.path().strip_prefix("/publish/").context("the path is not /publish/EXCHANGE")?;
    let key = head.uri.query().and_then(|query| query.strip_prefix("routing_key=")).unwrap_or_default();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let id = MessageId::generate();
    let properties = Properties {
        content_type: header("content-type").map(ShortText::parse).transpose()?,
        delivery_mode: Some(delivery_mode(header("x-amqp-delivery-mode"))),
        ..Properties::default()
    };
    let message = Message {
        id: id.clone(),
        properties,
        headers: FieldTable::default(),
        body: body.collect().await?.to_bytes(),
    };
    let destination = Destination {
        exchange: ExchangeName::from_path(exchange)?,
        routing_key: ShortText::parse(key)?,
        mandatory: true,
    };
    let publish = Publish::new(message, destination, Instant::now() + DEADLINE, true);
    tokio::spawn(async move { broker.publish(&publish).await }).await??;
    Ok(format!(
        r#"{{"outcome":"confirmed","message_id":"{id}","exchange":"{exchange}","routing_key":"{key}","attempts":1,"duplicate_possible":false}}"#
    ))
}

fn delivery_mode(header: Option<&str>) -> DeliveryMode {
    if header == Some("transient") { DeliveryMode::Transient } else { DeliveryMode::Persistent }
}
