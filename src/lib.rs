#![doc = include_str!("../docs/architecture.md")]

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod domain;
pub mod fairness;
pub mod http;
pub mod lifecycle;
pub mod metrics;
pub mod signals;
pub mod telemetry;
