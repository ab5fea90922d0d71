//! The task of one connection, and the handle to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex, split};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::connection_state::ConnectionState;
use super::greeting::Server;
use super::inbound::Inbound;
use super::lapin_stream::{LAPIN_STREAM, LapinFrames};
use super::outbound::Outbound;
use super::outlet::Outlet;
use super::owner::{End, Owner};

/// How long writing the last bytes of lapin may take after lapin has closed its end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// How long reading goes on after a write to the socket has failed.
const LAST_READ: Duration = Duration::from_millis(100);

/// The handle of one connection's router. Dropping it ends the connection.
pub(in crate::broker) struct Router(Arc<ConnectionState>);

/// Starts the router of a connection on this socket. Frames may have `frame_limit` bytes until lapin and RabbitMQ agree
/// another size. Also returns lapin's end of the stream. Needs a tokio runtime.
pub(in crate::broker) fn start<S>(socket: S, frame_limit: usize) -> (Router, DuplexStream)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (router_end, lapin_end) = duplex(LAPIN_STREAM);
    let state = Arc::new(ConnectionState::new(frame_limit));
    tokio::spawn(run(socket, router_end, Arc::clone(&state)));
    (Router(state), lapin_end)
}

async fn run<S: AsyncRead + AsyncWrite>(socket: S, lapin: DuplexStream, state: Arc<ConnectionState>) {
    // Dropped last, after the socket and lapin's stream are closed.
    let _guard = EndGuard(Arc::clone(&state));
    let (from_socket, to_socket) = split(socket);
    let (from_lapin, to_lapin) = split(lapin);
    let lapin_frames = Arc::new(LapinFrames::default());
    let inbound = Inbound::new(from_socket, to_lapin, Arc::clone(&state));
    let outbound = Outbound::new(to_socket, Arc::clone(&state), Arc::clone(&lapin_frames));
    // The reason is set before lapin's stream ends, so that it is known when lapin returns an error.
    let inbound_end = async { state.note_reason(inbound.run().await) };
    let lapin_writes = async {
        lapin_frames.read(from_lapin, &state).await;
        sleep(LAST_WRITE).await;
    };
    let outbound_end = async {
        if let Err(error) = outbound.run().await {
            // RabbitMQ may have sent the reason in bytes that have arrived and are not read yet.
            sleep(LAST_READ).await;
            state.note_reason(error.to_string());
        }
    };
    tokio::select! {
        biased;
        () = state.killed.cancelled() => {}
        () = inbound_end => {}
        () = lapin_writes => {}
        () = outbound_end => {}
    }
}

/// Tells the owners that the connection is gone, for every end of the task.
struct EndGuard(Arc<ConnectionState>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Router {
    /// Ends the connection at once, without waiting for a write, a flush or a TLS close.
    pub(in crate::broker) fn kill(&self) {
        self.0.killed.cancel();
    }

    /// Makes `owner` the owner of a channel. Between the channel's opening and this call no frame of class `basic` may be
    /// sent on the channel. If the connection has ended already, the router tells the owner at once.
    pub(in crate::broker) fn register(&self, channel: u16, owner: Arc<dyn Owner>) {
        if let Err(owner) = self.0.insert_owner(channel, owner) {
            owner.closed(&End::ConnectionLost);
        }
    }

    /// The handle of a channel's owner to this router.
    pub(in crate::broker) fn outlet(&self, channel: u16) -> Outlet {
        Outlet::new(Arc::clone(&self.0), channel)
    }

    /// RabbitMQ's reason while it blocks the connection. Keeps its last value when the connection is lost.
    pub(in crate::broker) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.0.blocked.subscribe()
    }

    /// Whether RabbitMQ blocks the connection.
    pub(in crate::broker) fn is_blocked(&self) -> bool {
        self.0.is_blocked()
    }

    /// Cancelled when the connection ends, before the router tells the owners.
    pub(in crate::broker) fn end(&self) -> CancellationToken {
        self.0.ended.clone()
    }

    /// Product and version of the server; known after the login.
    pub(in crate::broker) fn server(&self) -> Server {
        self.0.server.get().cloned().unwrap_or_default()
    }

    /// Why the connection ended: RabbitMQ's text, or the router's text if the router ended it.
    pub(in crate::broker) fn end_reason(&self) -> Option<&str> {
        self.0.reason.get().map(String::as_str)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.kill();
    }
}
