//! `StuckQueue`: a queue whose process does not answer, until it is resumed.

use super::broker::Broker;

/// Resumes the queue when it is dropped, since a stuck queue would also block RabbitMQ's own operations on it.
pub struct StuckQueue<'a> {
    broker: &'a Broker,
    process: String,
}

impl<'a> StuckQueue<'a> {
    /// Suspends the process of a classic queue; see [`super::broker::Vhost::suspend_queue`].
    pub(super) async fn suspend(broker: &'a Broker, vhost: &str, queue: &str) -> Self {
        let process = format!(
            "begin {{ok, Q}} = rabbit_amqqueue:lookup({{resource, {vhost}, queue, {queue}}}), \
             amqqueue:get_pid(Q) end"
        );
        broker.eval(&format!("ok = sys:suspend({process}, infinity)")).await;
        Self { broker, process }
    }

    /// Lets the queue answer again.
    pub async fn resume(self) {
        self.broker.eval(&self.expression()).await;
    }

    fn expression(&self) -> String {
        format!("ok = sys:resume({}, infinity)", self.process)
    }
}

impl Drop for StuckQueue<'_> {
    fn drop(&mut self) {
        // A second resume does no harm. If RabbitMQ has ended, the queue is not stuck either.
        let _ = self.broker.eval_blocking(&self.expression());
    }
}
