//! The tools of the tests: a private RabbitMQ, a proxy that can break connections, a second AMQP client, the gateway.
//!
//! The tools do not know how the gateway works inside. Every wait has a deadline and a name for the event that it waits for.

#![allow(dead_code, reason = "each tool is whole, whether or not a test of today needs every part")]

pub mod amqplib;
pub mod arrivals;
pub mod book;
pub mod broker;
pub mod caller;
pub mod certificates;
pub mod cluster;
pub mod contract;
pub mod direct;
pub mod echo;
pub mod fake_broker;
pub mod figures;
pub mod gateway;
pub mod leases;
pub mod link;
pub mod load;
mod node;
pub mod observer;
pub mod pages;
pub mod pika;
pub mod poll;
pub mod process;
pub mod program;
pub mod publish_stream;
pub mod python;
pub mod raw;
pub mod schema;
pub mod stage;
pub mod stuck;
pub mod tour;
pub mod worker;
