//! Batches and publish streams: clients that each have many messages without a result at a time. Each caller of the traffic is such
//! a client.
//!
//! AMQP directly is pipelined: it publishes the same messages with as many unconfirmed at a time.

mod batch;
mod item;
pub mod long_stream;
mod pipeline;
mod publish_stream;
mod stream;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::load::spawn;
use crate::recorder::Recorder;
use crate::spec::{Operation, Style, Target, Traffic};

/// The most messages of one client that have no result yet.
const WINDOW: usize = 250;

/// Starts the clients. They end when the recorder is closed and all their messages have results.
///
/// # Errors
/// When a client cannot connect.
pub async fn start(
    target: &Target,
    traffic: &Traffic,
    recorder: &Arc<Recorder>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    Ok(match target {
        Target::Amqp { url, style } => spawn(pipeline::clients(url, traffic, recorder).await?, *style),
        Target::Http { address, .. } if traffic.operation == Operation::Batch => {
            spawn(batch::clients(address, traffic, recorder), Style::Tasks)
        }
        Target::Http { address, .. } => spawn(stream::clients(address, traffic, recorder), Style::Tasks),
    })
}
