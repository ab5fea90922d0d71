//! Every caller gets the answer about its own message, with many messages in flight on one channel.
//!
//! A scripted server gives answers that a real RabbitMQ gives only now and then. Under load the tests use a real RabbitMQ.

mod alone;
mod burst;
mod full;
mod mixed;
mod same_id;
mod schedule;
mod schedules;
