//! HTTP gateway to RabbitMQ.

pub mod broker;
pub mod domain;
pub mod http;
