//! Private RabbitMQ nodes on 127.0.0.1: each has ports, cookie, epmd, configuration and data of its own, so that it neither sees
//! nor disturbs another RabbitMQ of this machine. Several can run side by side.
//!
//! [`Setup`] is the folder, the ports and the environment of a node. The tests hold a [`HeldNode`], which ends with their process.
//! `make run` and the benchmark use a [`DetachedNode`], which runs until it is stopped. A [`Container`] replaces it where
//! RabbitMQ is not installed.

mod amqp;
mod container;
mod detached;
mod env_file;
mod held;
mod identity;
mod ports;
mod program;
mod setup;
mod wait;

pub use self::amqp::speaks_amqp;
pub use self::container::Container;
pub use self::detached::DetachedNode;
pub use self::held::HeldNode;
pub use self::identity::Identity;
pub use self::ports::{Ports, free_port};
pub use self::program::is_installed;
pub use self::setup::Setup;
pub use self::wait::START_DEADLINE;
