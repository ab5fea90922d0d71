//! The messages: published in parts while the workers work, and drained at the end.

use std::collections::HashSet;

use lapin::{BasicProperties, types::AMQPValue};

use super::workers::QUEUES;
use crate::support::{broker::Broker, observer::Observer};

/// The number of messages, and how many of them are published.
pub struct Queues {
    messages: usize,
    /// The size of the parts in which they are published.
    part: usize,
    published: usize,
}

impl Queues {
    pub async fn declare(observer: &Observer, messages: usize, parts: usize) -> Self {
        for queue in QUEUES {
            let kind = [("x-queue-type", AMQPValue::LongString(queue.into()))];
            observer.declare_queue_with(queue, &kind).await;
        }
        observer.declare_queue("dead").await;
        Self { messages, part: messages.div_ceil(parts), published: 0 }
    }

    /// Publishes the messages up to this share of the time, in thousandths, and the next part.
    pub async fn publish(&mut self, broker: &Broker, share: usize) {
        let due = (self.messages * share / 1000 + self.part).min(self.messages);
        if due < self.published + self.part && due < self.messages || due == self.published {
            return;
        }
        let observer = Observer::connect(&broker.url()).await;
        for (first, queue) in QUEUES.into_iter().enumerate() {
            let ids = (self.published..due).filter(|n| n % 2 == first).map(|n| n.to_string());
            let message = |id: String| {
                let properties = BasicProperties::default().with_message_id(id.as_str().into());
                (id.into_bytes(), properties.with_delivery_mode(2))
            };
            observer.publish_all("", queue, ids.map(message)).await;
        }
        self.published = due;
    }
}

/// The ids in the queues that workers take from, and those of the dead letters.
pub async fn drain(observer: &Observer) -> (HashSet<String>, HashSet<String>) {
    let mut left = HashSet::new();
    for queue in QUEUES {
        for name in [queue.to_owned(), format!("{queue}.retry.1s")] {
            if observer.count(&name).await.is_some() {
                left.extend(observer.take_ids(&name).await);
            }
        }
    }
    (left, observer.take_ids("dead").await.into_iter().collect())
}
