//! One connection of a link, from the accept to its end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::broadcast::{self, error::RecvError},
};

use super::{
    Wire,
    modes::{Mode, matches},
    names::Name,
    pump::exchange,
};

/// The open connections that an end concerns.
#[derive(Debug, Clone)]
pub(super) enum Who {
    All,
    /// The connections that have sent such a name.
    Named(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Reset on both sides.
    Cut,
    /// The link drops all bytes, until a side closes the connection or it is reset.
    Lost,
}

pub(super) async fn connection(mut client: TcpStream, wire: Wire, mut ends: broadcast::Receiver<(Who, End)>) {
    let _open = Counted::new(&wire.open);
    let name = Name::unknown(&wire.names);
    if wire.modes.borrow().general == Mode::Silence {
        tokio::select! {
            () = is_cut(&mut ends, &name) => drop(client.set_zero_linger()),
            () = swallow(&mut client) => {}
        }
        return;
    }
    let Ok(mut broker) = TcpStream::connect(wire.target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let end = tokio::select! {
        biased;
        end = ended(&mut ends, &name) => Some(end),
        // The link resets a connection whose name is refused.
        passed = exchange(&mut client, &mut broker, &wire, &name) =>
            passed.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused).then_some(End::Cut),
    };
    let is_cut = match end {
        Some(End::Lost) => tokio::select! {
            () = is_cut(&mut ends, &name) => true,
            () = swallow(&mut client) => false,
            () = swallow(&mut broker) => false,
        },
        Some(End::Cut) => true,
        None => false,
    };
    if is_cut {
        let _ = (client.set_zero_linger(), broker.set_zero_linger());
    }
}

async fn is_cut(ends: &mut broadcast::Receiver<(Who, End)>, name: &Name) {
    while ended(ends, name).await != End::Cut {}
}

/// Waits for an end that concerns this connection; never ends once the link is dropped.
async fn ended(ends: &mut broadcast::Receiver<(Who, End)>, name: &Name) -> End {
    loop {
        match ends.recv().await {
            Ok((Who::All, end)) => return end,
            Ok((Who::Named(pattern), end)) if name.get().is_some_and(|name| matches(&pattern, name)) => {
                return end;
            }
            Ok((Who::Named(_), _)) => {}
            Err(RecvError::Lagged(count)) => panic!("{count} ends passed at once"),
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Reads until the other side closes the connection.
async fn swallow(side: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = side.read(&mut buffer).await {}
}

/// Counts itself as long as it lives.
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
