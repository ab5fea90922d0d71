//! The task of one connection, and the state that its users share with it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex, split};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::greeting::Server;
use super::inbound::Inbound;
use super::lapin_stream::LapinFrames;
use super::outbound::Outbound;
use super::owner::{Close, End, Outlet, Owner};

/// Bytes that the in-memory stream to lapin holds in each direction.
pub(super) const LAPIN_STREAM: usize = 256 * 1024;
/// How long writing the last bytes of lapin may take after lapin has closed its end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// How long reading goes on after a write to the socket has failed.
const LAST_READ: Duration = Duration::from_millis(100);

/// lapin's end of the stream.
pub(in crate::broker) type LapinEnd = DuplexStream;

/// The handle of one connection's router. Dropping it ends the connection.
pub(in crate::broker) struct Router(Arc<Shared>);

/// Starts the router of a connection on this socket. Frames may have `frame_limit` bytes until lapin and RabbitMQ agree
/// another size. Needs a tokio runtime.
pub(in crate::broker) fn start<S>(socket: S, frame_limit: usize) -> (Router, LapinEnd)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (router_end, lapin_end) = duplex(LAPIN_STREAM);
    let shared = Arc::new(Shared::new(frame_limit));
    tokio::spawn(run(socket, router_end, Arc::clone(&shared)));
    (Router(shared), lapin_end)
}

async fn run<S: AsyncRead + AsyncWrite>(socket: S, lapin: DuplexStream, shared: Arc<Shared>) {
    // Dropped last, after the socket and lapin's stream are closed.
    let _guard = EndGuard(Arc::clone(&shared));
    let (from_socket, to_socket) = split(socket);
    let (from_lapin, to_lapin) = split(lapin);
    let lapin_frames = Arc::new(LapinFrames::default());
    let inbound = Inbound::new(from_socket, to_lapin, Arc::clone(&shared));
    let outbound = Outbound::new(to_socket, Arc::clone(&shared), Arc::clone(&lapin_frames));
    // The reason is set before lapin's stream ends, so that it is known when lapin returns an error.
    let inbound_end = async { shared.note_reason(inbound.run().await) };
    let lapin_writes = async {
        lapin_frames.read(from_lapin, &shared).await;
        sleep(LAST_WRITE).await;
    };
    let outbound_end = async {
        if let Err(error) = outbound.run().await {
            // RabbitMQ may have sent the reason in bytes that have arrived and are not read yet.
            sleep(LAST_READ).await;
            shared.note_reason(error.to_string());
        }
    };
    tokio::select! {
        biased;
        () = shared.killed.cancelled() => {}
        () = inbound_end => {}
        () = lapin_writes => {}
        () = outbound_end => {}
    }
}

/// Tells the owners that the connection is gone, for every end of the task.
struct EndGuard(Arc<Shared>);

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
        if let Err(late) = self.0.insert_owner(channel, owner) {
            late.closed(&End::ConnectionLost);
        }
    }

    /// The handle of a channel's owner to this router.
    pub(in crate::broker) fn outlet(&self, channel: u16) -> Outlet {
        Outlet { shared: Arc::clone(&self.0), channel }
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

/// A channel whose owner has frames to write.
pub(super) struct Turn {
    pub(super) channel: u16,
    pub(super) owner: Arc<dyn Owner>,
}

/// State that the task shares with the connection's users.
pub(super) struct Shared {
    owners: Mutex<Owners>,
    turns: Mutex<VecDeque<Turn>>,
    /// Notified when there are bytes to write.
    pub(super) work: Notify,
    frame_max: AtomicUsize,
    is_blocked: AtomicBool,
    blocked: watch::Sender<Option<String>>,
    killed: CancellationToken,
    ended: CancellationToken,
    reason: OnceLock<String>,
    server: OnceLock<Server>,
}

#[derive(Default)]
struct Owners {
    by_channel: HashMap<u16, Arc<dyn Owner>>,
    /// Why RabbitMQ closed the connection.
    close: Option<Close>,
    has_ended: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(frame_limit: usize) -> Self {
        Self {
            owners: Mutex::default(),
            turns: Mutex::default(),
            work: Notify::new(),
            frame_max: AtomicUsize::new(frame_limit),
            is_blocked: AtomicBool::new(false),
            blocked: watch::Sender::new(None),
            killed: CancellationToken::new(),
            ended: CancellationToken::new(),
            reason: OnceLock::new(),
            server: OnceLock::new(),
        }
    }

    pub(super) fn frame_max(&self) -> usize {
        self.frame_max.load(Ordering::Relaxed)
    }

    pub(super) fn set_frame_max(&self, bytes: usize) {
        self.frame_max.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Acquire)
    }

    /// Records whether RabbitMQ blocks the connection, and tells the owners of a block.
    pub(super) fn set_blocked(&self, reason: Option<String>) {
        let is_blocked = reason.is_some();
        self.is_blocked.store(is_blocked, Ordering::Release);
        self.blocked.send_replace(reason);
        if is_blocked {
            let owners: Vec<_> = lock(&self.owners).by_channel.values().cloned().collect();
            for owner in owners {
                owner.blocked();
            }
        } else {
            self.work.notify_one();
        }
    }

    /// Sets the owner of a channel. Returns the owner if the connection has ended.
    fn insert_owner(&self, channel: u16, owner: Arc<dyn Owner>) -> Result<(), Arc<dyn Owner>> {
        let mut owners = lock(&self.owners);
        if owners.has_ended {
            return Err(owner);
        }
        owners.by_channel.insert(channel, owner);
        Ok(())
    }

    pub(super) fn owner(&self, channel: u16) -> Option<Arc<dyn Owner>> {
        lock(&self.owners).by_channel.get(&channel).cloned()
    }

    /// Removes the owner of a channel, and tells it the end.
    pub(super) fn release(&self, channel: u16, end: &End) {
        let owner = lock(&self.owners).by_channel.remove(&channel);
        if let Some(owner) = owner {
            owner.closed(end);
        }
    }

    /// Records why RabbitMQ closes the connection.
    pub(super) fn note_close(&self, close: Close) {
        self.note_reason(close.text.clone());
        lock(&self.owners).close = Some(close);
    }

    /// Records product and version of the server.
    pub(super) fn note_server(&self, server: Server) {
        // The server sends them only once.
        let _again = self.server.set(server);
    }

    fn note_reason(&self, reason: String) {
        // Only the first reason is kept.
        let _later = self.reason.set(reason);
    }

    pub(super) fn queue(&self, channel: u16, owner: Arc<dyn Owner>) {
        self.requeue(Turn { channel, owner });
        self.work.notify_one();
    }

    pub(super) fn requeue(&self, turn: Turn) {
        lock(&self.turns).push_back(turn);
    }

    pub(super) fn next_turn(&self) -> Option<Turn> {
        lock(&self.turns).pop_front()
    }

    fn end(&self) {
        self.ended.cancel();
        let (owners, close) = {
            let mut owners = lock(&self.owners);
            owners.has_ended = true;
            (std::mem::take(&mut owners.by_channel), owners.close.take())
        };
        let end = close.map_or(End::ConnectionLost, End::ConnectionClosed);
        for owner in owners.into_values() {
            owner.closed(&end);
        }
        lock(&self.turns).clear();
    }
}
