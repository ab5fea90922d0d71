//! `Link`: a TCP proxy between the gateway and RabbitMQ that can reset, half close, slow down and silence connections, and undo
//! this.
//!
//! A mode says how the link treats bytes and new connections from now on. An end happens once, to the open connections. Both are
//! for all connections, or for those with a given name.

mod connection;
mod frames;
mod modes;
mod names;
mod pump;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::{JoinHandle, JoinSet},
};

pub use self::modes::{Mode, Way};
use self::{
    connection::{End, Who, connection},
    frames::Answers,
    modes::{Modes, matches},
    names::Names,
};
use super::poll::eventually;

/// How long the listener may take to be gone.
const SOON: Duration = Duration::from_secs(10);

/// A TCP proxy on loopback; its connections end when the value is dropped.
pub struct Link {
    address: SocketAddr,
    modes: watch::Sender<Modes>,
    wire: Wire,
    listening: JoinHandle<()>,
}

/// The shared state of all connections of a link.
#[derive(Clone)]
struct Wire {
    target: SocketAddr,
    modes: watch::Receiver<Modes>,
    ends: broadcast::Sender<(Who, End)>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    names: Arc<Names>,
    answers: Arc<Answers>,
}

impl Link {
    /// A link to `target` that forwards all bytes.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (modes, seen) = watch::channel(Modes::passing());
        let wire = Wire {
            target,
            modes: seen,
            ends: broadcast::Sender::new(16),
            accepted: Arc::default(),
            open: Arc::default(),
            names: Arc::default(),
            answers: Arc::default(),
        };
        let listening = tokio::spawn(listen(listener, address, wire.clone()));
        Self { address, modes, wire, listening }
    }

    /// The address to which clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Sets the mode of all connections without a mode of their own.
    pub fn set(&self, mode: Mode) {
        self.modes.send_modify(|modes| modes.general = mode);
    }

    /// From now on there is no listener: each dial gets the same error, "connection refused". A dial that the listener has still
    /// accepted would get another one.
    pub async fn refuse(&self) {
        self.set(Mode::Refuse);
        eventually(SOON, "the link refuses connections", || async {
            TcpStream::connect(self.address).await.is_err()
        })
        .await;
    }

    /// Sets the mode of the connections with this name. The name is the last word of a connection's name, as `publish-0`, or the
    /// beginning of that word, as `slow-*`. The mode holds for open and for later connections, from the moment when they send
    /// their name.
    pub fn set_named(&self, name: &str, mode: Mode) {
        self.modes.send_modify(|modes| modes.set_named(name, mode));
    }

    /// Forwards all bytes again.
    pub fn mend(&self) {
        self.modes.send_replace(Modes::passing());
    }

    /// Undoes [`Self::set_named`] of the same name.
    pub fn mend_named(&self, name: &str) {
        self.modes.send_modify(|modes| modes.mend_named(name));
    }

    /// Resets (RST) both sides of every open connection. The mode decides about new connections.
    pub fn cut(&self) {
        self.end(Who::All, End::Cut);
    }

    /// Resets the open connections with a name, as [`Self::set_named`] takes it.
    pub fn cut_named(&self, name: &str) {
        self.end(Who::Named(name.to_owned()), End::Cut);
    }

    /// Drops all bytes on the open connections with a name from now on; later connections with that name are not affected.
    pub fn lose_named(&self, name: &str) {
        self.end(Who::Named(name.to_owned()), End::Lost);
    }

    fn end(&self, who: Who, end: End) {
        // The only possible error is that no connection is open; then no connection has to end.
        let _ = self.wire.ends.send((who, end));
    }

    /// From now on, new connections keep the answers of clients to deliveries.
    pub fn keep_answers(&self) {
        self.wire.answers.keep();
    }

    /// The answers that clients have written: `ack`, `nack` and `reject`, the last two with `, requeue` or without.
    pub fn answers(&self) -> Vec<&'static str> {
        self.wire.answers.said()
    }

    /// The number of connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.wire.accepted.load(Ordering::SeqCst)
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.wire.open.load(Ordering::SeqCst)
    }

    /// The last words of the names of all open connections that have sent their name, sorted.
    pub fn names(&self) -> Vec<String> {
        self.wire.names.open()
    }

    /// The number of open connections with a name, as [`Self::set_named`] takes it.
    pub fn open_named(&self, name: &str) -> usize {
        self.names().iter().filter(|open| matches(name, open)).count()
    }

    /// The number of connections since the start with a name, as [`Self::set_named`] takes it.
    pub fn accepted_named(&self, name: &str) -> usize {
        self.wire.names.count_seen(name)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Accepts connections for ever; while the mode is [`Mode::Refuse`] there is no listener.
async fn listen(mut listener: TcpListener, address: SocketAddr, wire: Wire) {
    let mut modes = wire.modes.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = becomes(&mut modes, |mode| mode == Mode::Refuse) => {
                drop(listener);
                becomes(&mut modes, |mode| mode != Mode::Refuse).await;
                listener = TcpListener::bind(address).await.expect("the port is still free");
            }
            Ok((client, _)) = listener.accept() => {
                wire.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(client, wire.clone(), wire.ends.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Waits for a mode; never ends once the link is dropped.
async fn becomes(modes: &mut watch::Receiver<Modes>, wanted: fn(Mode) -> bool) {
    if modes.wait_for(|modes| wanted(modes.general)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a change of the modes; never ends once the link is dropped.
async fn changed(modes: &mut watch::Receiver<Modes>) {
    if modes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
