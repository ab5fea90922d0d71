//! A node of RabbitMQ, and the sockets to it, TCP or TLS. TCP keepalive and `TCP_USER_TIMEOUT` detect a dead peer.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::login::tls_connector;
use crate::broker::{Address, Settings, SettingsError};

/// Idle time before the kernel probes a silent peer, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long written bytes may stay unacknowledged before the kernel closes the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// A node of RabbitMQ: its address, and TLS if the settings ask for it.
#[derive(Clone)]
pub(super) struct Node {
    /// Its address.
    pub(super) address: Address,
    /// Set if the node speaks TLS.
    pub(super) tls: Option<TlsConnector>,
}

/// A socket to a node.
pub(super) type NodeSocket = Either<TcpStream, TlsStream<TcpStream>>;

impl Node {
    /// Every node of the settings.
    ///
    /// # Errors
    /// A certificate or key that cannot be used.
    pub(super) fn all(settings: &Settings) -> Result<Vec<Self>, SettingsError> {
        let tls = settings.tls.as_ref().map(tls_connector).transpose()?;
        let node = |address: &Address| Self { address: address.clone(), tls: tls.clone() };
        Ok(settings.addresses.iter().map(node).collect())
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// Name look-up, TCP or TLS.
    pub(super) async fn open(&self) -> io::Result<NodeSocket> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        prepare(&stream)?;
        let Some(tls) = &self.tls else { return Ok(Either::Left(stream)) };
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Either::Right(tls.connect(name, stream).await?))
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}
