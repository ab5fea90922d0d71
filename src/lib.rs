//! HTTP gateway to RabbitMQ. This page is the map.
//!
//! Directions: `app -> {config, http, broker}`, `http -> broker -> domain`; `metrics` is a leaf, and
//! nothing points back (`tests/it/layers.rs`). `broker` names no status, `http` no lapin, `domain` neither.
//!
//! One publish, as the data goes: `http/serve` takes the connection and makes the request a task of its
//! own; `http/middleware` gives it an id and a place; `http/endpoints/publish` reads it by `http/extract`
//! and `http/message` into a [`domain::message::Message`]; [`broker::Broker::publish`] finds a
//! place on a lane, whose task writes on its channel, reads off the tap whether the message came back,
//! and hands back the verdict (or, not proven harmless, it goes alone through the quarantine); `http/error` says a failure as a problem, and the
//! middleware writes that out, counts and logs it, once.
//!
//! What must stay true: nobody hears `confirmed` of a message that the broker does not hold; a channel
//! has one publisher and never two messages with one id in flight; one with an unanswered confirm is never
//! closed or handed out again; every wait has a deadline.

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod shutdown;
pub mod telemetry;
