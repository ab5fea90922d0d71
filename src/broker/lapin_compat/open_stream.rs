//! Gives lapin the stream of the router instead of a socket.
//!
//! When lapin (4.12) fails to connect by itself, it leaves two tasks running for ever, and its dial has no deadline. So
//! the gateway gives lapin a loopback address and plain AMQP, and lapin's runtime kit returns a stream that is already
//! open. deadpool-lapin (0.14) takes a URI only, and its `Debug` prints it, so the login takes another way, see
//! [`login`](crate::broker::connection).

use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_util::{AsyncRead, AsyncWrite, Stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::broker::Settings;

/// The URI for lapin: it contains the virtual host and the tuning. Its address and login are not used.
pub(in crate::broker) fn placeholder_uri(frame_max: usize, settings: &Settings) -> String {
    let vhost = utf8_percent_encode(&settings.vhost, NON_ALPHANUMERIC);
    format!("amqp://127.0.0.1/{vhost}?heartbeat={}&frame_max={frame_max}", settings.heartbeat)
}

/// lapin's stream, in the type that its runtime abstraction requires.
type LapinStream = Compat<DuplexStream>;

/// The runtime kit of one connection: tokio, and the open stream of that connection.
#[derive(Clone)]
pub(in crate::broker) struct SocketKit {
    tokio: async_rs::Tokio,
    open: Arc<Mutex<Option<LapinStream>>>,
}

impl SocketKit {
    /// The runtime kit for the connection on this stream.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(in crate::broker) fn new(stream: DuplexStream) -> Self {
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

    /// Returns the open stream, and ignores the address.
    fn tcp_connect_addr(
        &self,
        _placeholder: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let stream = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        ready(stream.ok_or_else(|| io::Error::other("its only stream has been used")))
    }
}
