//! HTTP gateway to RabbitMQ.

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod shutdown;
pub mod telemetry;
