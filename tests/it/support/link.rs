//! `Link`: a wire between the gateway and its broker that can be cut, half closed, slowed, silenced and mended.
//!
//! A mode is how the wire treats bytes and new connections from now on; a cut happens once, to what is open. Both are
//! for all connections, or for those with some name.

mod modes;
mod names;
mod pump;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::{JoinHandle, JoinSet},
};

pub use self::modes::{Mode, Way};
use self::{
    modes::{Modes, matches},
    names::{Name, Names},
    pump::exchange,
};

/// A TCP proxy on loopback; its connections end when it is dropped.
pub struct Link {
    address: SocketAddr,
    modes: watch::Sender<Modes>,
    wire: Wire,
    listening: JoinHandle<()>,
}

/// What each connection needs.
#[derive(Clone)]
struct Wire {
    target: SocketAddr,
    modes: watch::Receiver<Modes>,
    cut: broadcast::Sender<Cut>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    names: Arc<Names>,
}

/// All connections, or those that have told such a name.
#[derive(Debug, Clone)]
enum Cut {
    All,
    Named(String),
}

impl Link {
    /// A passing wire to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (modes, seen) = watch::channel(Modes::passing());
        let wire = Wire {
            target,
            modes: seen,
            cut: broadcast::Sender::new(16),
            accepted: Arc::default(),
            open: Arc::default(),
            names: Arc::default(),
        };
        let listening = tokio::spawn(listen(listener, address, wire.clone()));
        Self { address, modes, wire, listening }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// For all connections without a mode of their own.
    pub fn set(&self, mode: Mode) {
        self.modes.send_modify(|modes| modes.general = mode);
    }

    /// For the connections whose name ends with this word, as `publish-0`, or begins its last word so, as `slow-*`:
    /// those of now and those to come, from the moment when they tell their name.
    pub fn set_named(&self, name: &str, mode: Mode) {
        self.modes.send_modify(|modes| modes.set_named(name, mode));
    }

    /// Back to passing.
    pub fn mend(&self) {
        self.modes.send_replace(Modes::passing());
    }

    /// Undoes [`Self::set_named`] of the same name.
    pub fn mend_named(&self, name: &str) {
        self.modes.send_modify(|modes| modes.mend_named(name));
    }

    /// Resets (RST) both sides of every open connection; new ones are treated as the mode says.
    pub fn cut(&self) {
        // The only error: none is open, so there is nothing to cut.
        let _ = self.wire.cut.send(Cut::All);
    }

    /// Resets the open connections of a name, as [`Self::set_named`] takes it.
    pub fn cut_named(&self, name: &str) {
        let _ = self.wire.cut.send(Cut::Named(name.to_owned()));
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.wire.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.wire.open.load(Ordering::SeqCst)
    }

    /// The last words of the names of all that are open now and have told it, sorted.
    pub fn names(&self) -> Vec<String> {
        self.wire.names.open()
    }

    /// How many open connections have a name as [`Self::set_named`] takes it.
    pub fn open_named(&self, name: &str) -> usize {
        self.names().iter().filter(|open| matches(name, open)).count()
    }

    /// How many connections since the start have told a name as [`Self::set_named`] takes it.
    pub fn accepted_named(&self, name: &str) -> usize {
        self.wire.names.count_seen(name)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Accepts for ever; while the mode is [`Mode::Refuse`] there is no listener.
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
                connections.spawn(connection(client, wire.clone(), wire.cut.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut client: TcpStream, wire: Wire, mut cut: broadcast::Receiver<Cut>) {
    let _open = Counted::new(&wire.open);
    let name = Name::unknown(&wire.names);
    if wire.modes.borrow().general == Mode::Silence {
        tokio::select! {
            () = is_cut(&mut cut, &name) => drop(client.set_zero_linger()),
            () = swallow(&mut client) => {}
        }
        return;
    }
    let Ok(mut broker) = TcpStream::connect(wire.target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let is_reset = tokio::select! {
        biased;
        () = is_cut(&mut cut, &name) => true,
        ended = exchange(&mut client, &mut broker, &wire.modes, &name) =>
            ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused),
    };
    if is_reset {
        let _ = (client.set_zero_linger(), broker.set_zero_linger());
    }
}

/// Ends when this connection is cut; never ends once the link is dropped.
async fn is_cut(cut: &mut broadcast::Receiver<Cut>, name: &Name) {
    loop {
        match cut.recv().await {
            Ok(Cut::All) => return,
            Ok(Cut::Named(pattern)) if name.get().is_some_and(|name| matches(&pattern, name)) => return,
            Ok(Cut::Named(_)) => {}
            Err(broadcast::error::RecvError::Lagged(count)) => panic!("{count} cuts passed at once"),
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Reads until the client leaves.
async fn swallow(client: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = client.read(&mut buffer).await {}
}

/// Never ends once the link is dropped.
async fn becomes(modes: &mut watch::Receiver<Modes>, wanted: fn(Mode) -> bool) {
    if modes.wait_for(|modes| wanted(modes.general)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Never ends once the link is dropped.
async fn changed(modes: &mut watch::Receiver<Modes>) {
    if modes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Counts itself for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
