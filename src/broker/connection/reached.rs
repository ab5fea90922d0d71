//! The server that accepted a login, for logs and `check-config --connect`.

use std::fmt;

use crate::broker::Address;
use crate::broker::wire::Server;

/// A server that accepted the gateway's login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The address that it listens on.
    pub address: Address,
    /// Product and version.
    pub server: Server,
    /// The gateway's user; `None` if its client certificate is the login.
    pub user: Option<String>,
    /// The virtual host that the gateway opened.
    pub vhost: String,
}

impl Reached {
    /// The name of the user, or a text that names the client certificate.
    #[must_use]
    pub fn user_text(&self) -> &str {
        self.user.as_deref().unwrap_or("(that of the client certificate)")
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, server, vhost, .. } = self;
        write!(f, "{} {} at {address}", server.product, server.version)?;
        write!(f, ", user {:?}, virtual host {vhost:?}", self.user_text())
    }
}
