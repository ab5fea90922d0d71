//! The settings of the layers.

use std::net::SocketAddr;

use crate::http::settings::{Access, AuditLevel, Limits};

/// The settings of the layers.
#[derive(Debug, Clone)]
pub struct LayerSettings {
    /// The address that the gateway is bound to. When it is a loopback address, the `Host` must be loopback too.
    pub listen: SocketAddr,
    /// Pages, hosts and proxies that may use the gateway.
    pub access: Access,
    /// The events that the audit log has.
    pub audit: AuditLevel,
    /// Bytes of one request's header.
    pub max_header_bytes: usize,
    /// Bytes of one body.
    pub max_body_bytes: usize,
}

impl LayerSettings {
    /// The settings for a gateway that listens on `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr, access: &Access, limits: &Limits, audit: AuditLevel) -> Self {
        Self {
            listen,
            access: access.clone(),
            audit,
            max_header_bytes: limits.max_header_bytes,
            max_body_bytes: limits.max_body_bytes,
        }
    }
}
