//! RPC servers in the test's own process, by lapin.

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};

use super::observer::Observer;

/// The replies of a server to one request, as correlation id and body.
pub type Script = fn(&Delivery) -> Vec<(Option<String>, Vec<u8>)>;

/// The request's correlation id.
pub fn id_of(request: &Delivery) -> Option<String> {
    request.properties.correlation_id().as_ref().map(ToString::to_string)
}

/// Sends the request's body back.
pub fn echo(request: &Delivery) -> Vec<(Option<String>, Vec<u8>)> {
    vec![(id_of(request), request.data.clone())]
}

/// Serves `queue` by the script as long as the test runs.
pub async fn serve(observer: &Observer, queue: &str, script: Script) {
    observer.declare_queue(queue).await;
    let mut requests = observer.consume(queue).await;
    let channel = observer.channel().await;
    tokio::spawn(async move {
        while let Some(Ok(request)) = requests.next().await {
            answer(&channel, &request, script).await;
        }
    });
}

/// Answers one request by the script.
pub async fn answer(channel: &Channel, request: &Delivery, script: Script) {
    for (id, body) in script(request) {
        reply(channel, request, id, &body).await;
    }
}

async fn reply(channel: &Channel, request: &Delivery, id: Option<String>, body: &[u8]) {
    let reply_to = request.properties.reply_to().clone().expect("a request says where its reply goes");
    let mut properties = BasicProperties::default().with_content_type("text/plain".into());
    if let Some(id) = id {
        properties = properties.with_correlation_id(id.into());
    }
    let mut headers = FieldTable::default();
    headers.insert("x-http-status".into(), AMQPValue::LongInt(202));
    headers.insert("list".into(), AMQPValue::FieldArray(vec![AMQPValue::LongInt(1)].into()));
    let properties = properties.with_headers(headers);
    let options = BasicPublishOptions::default();
    let _late = channel.basic_publish("".into(), reply_to, options, body, properties).await;
}
