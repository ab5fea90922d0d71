//! The whole gateway against a real RabbitMQ.

#![expect(clippy::unwrap_used, reason = "all of this is tests, and a test ends by panicking")]

mod layers;
mod process;
mod serve;
mod support;
mod support_works;
