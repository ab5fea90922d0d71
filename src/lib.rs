//! HTTP gateway to RabbitMQ. This page is the map.
//!
//! Directions: `app -> {config, http, broker}`, `http -> broker -> domain`; `metrics` is a leaf, and
//! nothing points back (`tests/it/layers.rs`). `broker` names no status, `http` no lapin, `domain` neither.
//!
//! One publish, as the data goes: `http/serve` takes the connection; `http/routes` has the traits of the request's
//! route; `http/middleware` gives it an id and a place, and finishes it when its caller leaves;
//! `http/endpoints/publish` reads it by `http/extract` and `http/message` into a [`domain::message::Message`]; [`broker::Broker::publish`] asks
//! `broker/publish/destinations` which way it goes (with others on a shared lane, alone on an isolated one, or on the
//! connection of a slow destination), reserves a permit on a lane, and hands the message to the lane's confirm channel
//! (`broker/channels`). The connection's router (`broker/wire`) writes it, and gives RabbitMQ's return, confirm or nack
//! to the channel, which tells the caller; `http/error` says a failure as a problem, and the middleware writes that
//! out, counts and logs it, once.
//!
//! Always true: no caller hears `confirmed` of a message that RabbitMQ does not hold; a channel has one publisher
//! and never two messages with one id in flight; one with an unanswered confirm is never handed out again; every wait
//! has a deadline.

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod lifecycle;
pub mod metrics;
pub mod signals;
pub mod telemetry;
