//! The whole gateway against a real RabbitMQ.
