//! The whole gateway against a real RabbitMQ.

mod publish;
mod serve;
mod support;
mod support_works;
