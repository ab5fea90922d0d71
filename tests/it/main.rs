//! The whole gateway against a real RabbitMQ.

mod serve;
