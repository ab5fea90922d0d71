//! `Link`: a wire between the gateway and its broker that can be cut, half closed, slowed, silenced and mended.
//!
//! A mode is how the wire treats bytes and new connections from now on; a cut happens once, to what is open.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{broadcast, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// How the wire behaves; may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As a good wire.
    Pass,
    /// Bytes are taken and lost.
    BlackHole(Way),
    /// Bytes are not taken, so the sender's buffers fill; they flow when the mode changes.
    Stall(Way),
    /// Every piece is held for this long.
    Delay(Duration),
    /// Every byte travels in a packet of its own.
    Slice,
    /// The receiving end sees the end of the stream; the other direction flows.
    HalfClose(Way),
    /// New connections are refused; open ones pass.
    Refuse,
    /// New connections are accepted and never answered, until they are cut or leave; open ones pass.
    Silence,
}

/// A direction on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToBroker,
    ToClient,
    Both,
}

impl Way {
    fn covers(self, one: Self) -> bool {
        self == Self::Both || self == one
    }
}

/// A TCP proxy on loopback; its connections end when it is dropped.
pub struct Link {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    wire: Wire,
    listening: JoinHandle<()>,
}

/// What each connection needs.
#[derive(Clone)]
struct Wire {
    target: SocketAddr,
    mode: watch::Receiver<Mode>,
    cut: broadcast::Sender<()>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Link {
    /// A passing wire to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (mode, seen) = watch::channel(Mode::Pass);
        let wire = Wire {
            target,
            mode: seen,
            cut: broadcast::Sender::new(1),
            accepted: Arc::default(),
            open: Arc::default(),
        };
        let listening = tokio::spawn(listen(listener, address, wire.clone()));
        Self { address, mode, wire, listening }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Back to passing.
    pub fn mend(&self) {
        self.set(Mode::Pass);
    }

    /// Resets (RST) both sides of every open connection; new ones are treated as the mode says.
    pub fn cut(&self) {
        // Nobody listens when nothing is open: then there is nothing to cut.
        let _ = self.wire.cut.send(());
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.wire.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.wire.open.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Accepts for ever; while the mode is [`Mode::Refuse`] there is no listener.
async fn listen(mut listener: TcpListener, address: SocketAddr, wire: Wire) {
    let mut mode = wire.mode.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = becomes(&mut mode, |mode| mode == Mode::Refuse) => {
                drop(listener);
                becomes(&mut mode, |mode| mode != Mode::Refuse).await;
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

async fn connection(mut client: TcpStream, wire: Wire, mut cut: broadcast::Receiver<()>) {
    let _open = Counted::new(&wire.open);
    if *wire.mode.borrow() == Mode::Silence {
        tokio::select! {
            _ = cut.recv() => drop(client.set_zero_linger()),
            () = swallow(&mut client) => {}
        }
        return;
    }
    let Ok(mut broker) = TcpStream::connect(wire.target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    tokio::select! {
        biased;
        _ = cut.recv() => {
            let _ = (client.set_zero_linger(), broker.set_zero_linger());
        }
        _ = exchange(&mut client, &mut broker, &wire.mode) => {}
    }
}

/// Reads until the client leaves.
async fn swallow(client: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = client.read(&mut buffer).await {}
}

/// Both directions, until both have ended or one has failed.
async fn exchange(
    client: &mut TcpStream,
    broker: &mut TcpStream,
    mode: &watch::Receiver<Mode>,
) -> io::Result<()> {
    let (from_client, to_client) = client.split();
    let (from_broker, to_broker) = broker.split();
    let there = Pump { from: from_client, to: to_broker, way: Way::ToBroker, mode: mode.clone() };
    let back = Pump { from: from_broker, to: to_client, way: Way::ToClient, mode: mode.clone() };
    tokio::try_join!(there.run(), back.run()).map(|_| ())
}

/// One direction of one connection.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    way: Way,
    mode: watch::Receiver<Mode>,
}

impl Pump<'_> {
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mode = *self.mode.borrow_and_update();
            match mode {
                Mode::HalfClose(way) if way.covers(self.way) => break,
                Mode::Stall(way) if way.covers(self.way) => changed(&mut self.mode).await,
                _ => tokio::select! {
                    biased;
                    () = changed(&mut self.mode) => {}
                    read = self.from.read(&mut buffer) => match read? {
                        0 => break,
                        count => self.forward(&buffer[..count], mode).await?,
                    },
                },
            }
        }
        self.to.shutdown().await
    }

    async fn forward(&mut self, bytes: &[u8], mode: Mode) -> io::Result<()> {
        match mode {
            Mode::BlackHole(way) if way.covers(self.way) => return Ok(()),
            // Ends early when the wire is mended.
            Mode::Delay(delay) => drop(timeout(delay, changed(&mut self.mode)).await),
            Mode::Slice => return self.slice(bytes).await,
            _ => {}
        }
        self.to.write_all(bytes).await
    }

    async fn slice(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.to.write_all(&[*byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Never ends once the link is dropped.
async fn becomes(mode: &mut watch::Receiver<Mode>, wanted: fn(Mode) -> bool) {
    if mode.wait_for(|mode| wanted(*mode)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Never ends once the link is dropped.
async fn changed(mode: &mut watch::Receiver<Mode>) {
    if mode.changed().await.is_err() {
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
