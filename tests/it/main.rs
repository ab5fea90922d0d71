//! The whole gateway against a real RabbitMQ.

mod envelope;
mod health;
mod publish;
mod queues;
mod serve;
mod support;
mod support_works;
