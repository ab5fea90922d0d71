//! Opens the sockets, and hands each to lapin: TCP, TLS, and what neither lapin nor deadpool gives.
//!
//! Promises keepalive and `TCP_USER_TIMEOUT` on the socket, a [`KillSwitch`] for a connection that will
//! not end by itself, and a [`Tap`] that sees which messages come back. lapin is told a loopback address
//! and plain AMQP, and given a socket that is open already: where it fails to connect by itself, it keeps
//! two tasks for ever. The real node and its TLS are known here only.

use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_util::{AsyncRead, AsyncWrite, Stream};
use rustls::pki_types::ServerName;
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_util::either::Either;

use super::Address;
use super::pace::Crowd;
use super::tap::{Returns, Tap};

/// Idle time before the kernel probes a silent peer, and between its probes.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long written bytes may stay unacknowledged before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a broker listens.
pub(super) struct Node {
    /// Its address.
    pub(super) address: Address,
    /// Set where it speaks TLS.
    pub(super) tls: Option<TlsConnector>,
}

/// What is known of one connection beside lapin.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Ends it.
    pub(super) kill: KillSwitch,
    /// The messages that came back on it.
    pub(super) returns: Returns,
    /// How many wait for what it reads.
    pub(super) crowd: Crowd,
}

/// Shuts a socket down under the feet of whoever reads or writes it; they see the end of the stream. Does
/// so when it is dropped: lapin would keep an abandoned handshake, and its thread, until the peer answers.
#[derive(Debug, Default)]
pub(super) struct KillSwitch(Mutex<Option<Socket>>);

impl KillSwitch {
    fn arm(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream).try_clone()?;
        *lock(&self.0) = Some(socket);
        Ok(())
    }

    /// Ends the connection at once. Harmless when it has ended already.
    pub(super) fn kill(&self) {
        if let Some(socket) = lock(&self.0).take() {
            // An error means that the socket is gone already, which is what was wanted.
            let _gone = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for KillSwitch {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Plain = Either<TcpStream, TlsStream<TcpStream>>;
/// A socket as lapin sees it.
pub(super) type Tapped = Tap<Compat<Plain>>;

impl Node {
    /// Opens a socket.
    ///
    /// # Errors
    /// Name look-up, TCP or TLS.
    pub(super) async fn open(&self) -> io::Result<(Tapped, Wire)> {
        let wire = Wire::default();
        let stream = self.connect(&wire.kill).await?;
        Ok((Tap::new(stream, wire.returns.clone(), wire.crowd.clone()), wire))
    }

    async fn connect(&self, kill: &KillSwitch) -> io::Result<Compat<Plain>> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        prepare(&stream)?;
        kill.arm(&stream)?;
        let Some(tls) = &self.tls else { return Ok(Either::Left(stream).compat()) };
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Either::Right(tls.connect(name, stream).await?).compat())
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

/// The runtime kit of one connection: tokio, and the socket that is open for it.
#[derive(Clone)]
pub(super) struct SocketKit {
    tokio: async_rs::Tokio,
    open: Arc<Mutex<Option<Tapped>>>,
}

impl SocketKit {
    /// For the connection on this socket.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(socket: Tapped) -> Self {
        Self { tokio: async_rs::Tokio::current(), open: Arc::new(Mutex::new(Some(socket))) }
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
    type TcpStream = Tapped;
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

    /// Hands over the open socket, whatever address lapin was given.
    fn tcp_connect_addr(
        &self,
        _placeholder: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        ready(lock(&self.open).take().ok_or_else(|| io::Error::other("its only socket has been used")))
    }
}
