//! The whole gateway against a real RabbitMQ.

mod support;
mod support_works;
