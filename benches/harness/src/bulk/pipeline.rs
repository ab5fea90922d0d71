//! AMQP directly, pipelined: each client has a connection and a confirm channel of its own, and publishes the next message as soon
//! as the confirm of an earlier one has arrived.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::WINDOW;
use crate::amqp::{Publisher, answer, connect};
use crate::recorder::{Answer, Recorder};
use crate::spec::{Ask, Traffic};

/// Connects the clients of one run.
///
/// # Errors
/// When RabbitMQ refuses a connection or a channel.
pub async fn clients(
    url: &str,
    traffic: &Traffic,
    recorder: &Arc<Recorder>,
) -> anyhow::Result<Vec<impl Future<Output = ()> + Send + 'static>> {
    let mut clients = Vec::with_capacity(traffic.callers);
    for _ in 0..traffic.callers {
        let publisher = Publisher::alone(&connect(url).await?, traffic).await?;
        clients.push(run(publisher, Arc::clone(recorder)));
    }
    Ok(clients)
}

/// A missing confirm needs no deadline here: the worker does not wait for its callers without end.
async fn run(publisher: Publisher, recorder: Arc<Recorder>) {
    let mut unconfirmed = FuturesUnordered::new();
    loop {
        while unconfirmed.len() < WINDOW && recorder.wants_more() {
            let begun = Instant::now();
            match publisher.send(Ask::Routed).await {
                Ok(confirm) => unconfirmed.push(async move { (begun, confirm.await) }),
                Err(error) => {
                    return recorder.note(begun, Ask::Routed, &Answer::Failed(error.to_string()));
                }
            }
        }
        let Some((begun, confirm)) = unconfirmed.next().await else { return };
        recorder.note(begun, Ask::Routed, &answer(confirm));
    }
}
