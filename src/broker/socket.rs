//! Opens the sockets, TCP or TLS, and hands lapin the stream of its [`Wire`](super::wire::Wire) in place of a socket.
//!
//! Promises keepalive and `TCP_USER_TIMEOUT` on the socket. lapin is told a loopback address and plain AMQP, and given
//! a stream that is open already: where it fails to connect by itself, it keeps two tasks for ever. The real node and
//! its TLS are known here only.

use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_util::{AsyncRead, AsyncWrite, Stream};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_util::either::Either;

use super::Address;
use super::wire::LapinEnd;

/// Idle time before the kernel probes a silent peer, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long written bytes may stay unacknowledged before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a node of RabbitMQ listens.
#[derive(Clone)]
pub(super) struct Node {
    /// Its address.
    pub(super) address: Address,
    /// Set where it speaks TLS.
    pub(super) tls: Option<TlsConnector>,
}

/// A socket to a node.
pub(super) type NodeSocket = Either<TcpStream, TlsStream<TcpStream>>;

impl Node {
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

/// lapin's stream, as its runtime abstraction wants it.
type LapinStream = Compat<LapinEnd>;

/// The runtime kit of one connection: tokio, and the stream that is open for it.
#[derive(Clone)]
pub(super) struct SocketKit {
    tokio: async_rs::Tokio,
    open: Arc<Mutex<Option<LapinStream>>>,
}

impl SocketKit {
    /// For the connection on this stream.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(stream: LapinEnd) -> Self {
        Self { tokio: async_rs::Tokio::current(), open: Arc::new(Mutex::new(Some(stream.compat()))) }
    }
}

impl std::fmt::Debug for SocketKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketKit").finish_non_exhaustive()
    }
}

impl RuntimeKit for SocketKit {}

impl Executor for SocketKit {
    type Task<T: Send + 'static> = <async_rs::Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.tokio.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.tokio.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.tokio.spawn_blocking(work)
    }
}

impl Reactor for SocketKit {
    type TcpStream = LapinStream;
    type Sleep = <async_rs::Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    /// Hands over the open stream; the address that lapin was given is not used.
    fn tcp_connect_addr(
        &self,
        _placeholder: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let stream = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        ready(stream.ok_or_else(|| io::Error::other("its only stream has been used")))
    }
}
