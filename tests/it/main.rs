//! The whole gateway against a real RabbitMQ.

mod serve;
mod support;
mod support_works;
