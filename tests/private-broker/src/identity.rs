//! The name of a node among Erlang's nodes, and the secret and the port that it shares with them.

use crate::ports::{free_port, random};

/// Nodes that have the cookie and the epmd in common can form a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// With its host, as Erlang writes it.
    pub name: String,
    /// The secret of Erlang's distribution.
    pub cookie: String,
    /// The port of Erlang's port mapper.
    pub epmd: u16,
    /// The first node of a cluster starts the epmd that all of them use.
    pub starts_epmd: bool,
}

impl Identity {
    /// A node that knows no other one.
    #[must_use]
    pub fn alone() -> Self {
        Self::first_of_cluster("private@localhost")
    }

    /// A node that others will join.
    #[must_use]
    pub fn first_of_cluster(name: &str) -> Self {
        let cookie = format!("{:016X}", random());
        Self { name: name.to_owned(), cookie, epmd: free_port(), starts_epmd: true }
    }

    /// Another node beside this one.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), cookie: self.cookie.clone(), epmd: self.epmd, starts_epmd: false }
    }
}
