//! The accept loop: serves HTTP/1.1 and HTTP/2 without TLS on one listener, for any [`Application`].
//!
//! Guarantees that no client holds a connection for longer than its deadlines allow, that a connection over the limit gets an
//! answer and is closed, and that an accept error never ends the loop. Never inspects a request: the application does.

mod activity;
mod application;
mod body;
mod chunks;
mod connection;
mod framing;
mod header;
mod limits;
mod refusal;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use self::application::{Answering, Application};
pub use self::body::ChunkTooLarge;
use self::connection::Server;
pub use self::limits::ConnectionLimits;
use self::refusal::Refusals;
use crate::lifecycle::Lifecycle;

/// The shortest and the longest pause after accept errors that follow one another.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The most waiting connections that are accepted at the end: more than fit into a listener's queue.
const MOST_WAITING: usize = 8192;
/// After this time without an accept error, the gateway logs the next one again.
const QUIET: Duration = Duration::from_mins(1);

/// Serves until the process drains and `unfinished` has resolved, and returns when the last connection has ended. While the process
/// drains, each connection takes one more request.
pub async fn serve(
    listener: TcpListener,
    application: impl Application,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
    unfinished: impl Future<Output = ()>,
) {
    let open = Arc::new(Semaphore::new(limits.max_connections));
    let refusals = Refusals::default();
    let server = Arc::new(Server::new(application, limits, lifecycle.clone()));
    let tasks = TaskTracker::new();

    let take = |stream, peer| match open.clone().try_acquire_owned() {
        Ok(permit) => {
            let server = server.clone();
            tasks.spawn(async move {
                connection::run(&server, stream, peer).await;
                drop(permit);
            });
        }
        Err(_) => refusals.refuse(stream, &tasks, || server.application.too_many_connections()),
    };
    let until_finished = async {
        lifecycle.draining().await;
        tokio::select! {
            () = unfinished => {}
            () = lifecycle.aborting() => {}
        }
    };
    tokio::select! {
        never = accept(&listener, take) => match never {},
        () = until_finished => {}
    }
    take_waiting(listener, take);
    tasks.close();
    tasks.wait().await;
}

/// Passes every accepted connection to `take`, for ever. When the process has no file descriptors left, logs one line and waits.
async fn accept(listener: &TcpListener, take: impl Fn(TcpStream, SocketAddr)) -> Infallible {
    let mut pause = FIRST_PAUSE;
    let mut last_error: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                take(stream, peer);
            }
            // The client has left already, and the next one may be there.
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => {
                if last_error.is_none_or(|last| last.elapsed() > QUIET) {
                    tracing::error!(%error, "cannot accept connections, the gateway keeps trying");
                }
                last_error = Some(Instant::now());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// Passes the connections to `take` that the system has accepted already. Closing the listener would reset them.
fn take_waiting(listener: TcpListener, take: impl Fn(TcpStream, SocketAddr)) {
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..MOST_WAITING {
        let Ok((stream, peer)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            take(stream, peer);
        }
    }
}

fn is_about_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
