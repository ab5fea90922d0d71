//! The whole gateway against a real RabbitMQ.

#![expect(clippy::unwrap_used, reason = "all of this is tests, and a test ends by panicking")]

mod alarm;
mod arguments;
mod batch;
mod bindings;
mod bulk_faults;
mod clients;
mod cloudevents;
mod cluster;
mod connection_names;
mod deploy;
mod docs;
mod envelope;
mod exact;
mod exchanges;
mod faults;
mod health;
mod idempotency;
mod layers;
mod links;
mod messages;
mod metrics;
mod neighbours;
mod openapi;
mod outage;
mod pika_interop;
mod process;
mod proxies;
mod publish;
mod publish_stream;
mod queues;
mod queues_alone;
mod readme;
mod recipes;
mod refused;
mod rpc;
mod schemathesis;
mod serve;
mod support;
mod support_works;
mod tls;
mod topology;
mod topology_file;
mod topology_hostile;
mod tutorials;
