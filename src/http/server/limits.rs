//! The bounds of the accept loop and of each connection.

use std::time::Duration;

/// Bounds of the accept loop.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Open connections; the gateway answers further ones with 503 and closes them.
    pub max_connections: usize,
    /// From accept to the first byte of the first request.
    pub first_byte_timeout: Duration,
    /// From the first byte of a request to the end of its header.
    pub header_timeout: Duration,
    /// Idle time between two requests on one connection.
    pub keep_alive_timeout: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_timeout: Duration,
    /// Bytes of one body; the gateway refuses a larger chunk before its bytes arrive.
    pub max_body_bytes: usize,
}
