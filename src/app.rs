//! The composition root: built in order, run until shutdown, stopped in reverse.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::broker::Broker;
use crate::config::Config;
use crate::http;
use crate::http::middleware::Gate;
use crate::http::serve::{Shutdown, serve};
use crate::metrics::Metrics;
use crate::shutdown::Signal;
use crate::telemetry::DroppedLines;

/// Time for the last answers, once the deadline has passed.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Time that connections get to notice that they are dropped, after that.
const ABORT: Duration = Duration::from_millis(500);

/// A gateway that serves.
pub struct Gateway {
    /// Where it listens; the real port where port 0 was asked for.
    pub address: SocketAddr,
    broker: Broker,
    gate: Gate,
    shutdown: Shutdown,
    server: JoinHandle<()>,
    shutdown_timeout: Duration,
}

/// Runs the gateway until `end` comes.
///
/// # Errors
/// What keeps it from starting; see [`Gateway::start`].
pub async fn run(
    config: Config,
    dropped_log_lines: DroppedLines,
    end: impl Future<Output = Signal>,
) -> anyhow::Result<()> {
    let drain_delay = config.drain_delay;
    let gateway = Gateway::start(config, Some(dropped_log_lines)).await?;
    let drain_delay = match end.await {
        Signal::Terminate => drain_delay,
        Signal::Interrupt => Duration::ZERO,
    };
    gateway.stop(drain_delay).await;
    Ok(())
}

impl Gateway {
    /// Starts to dial the broker and to listen. An absent broker does not stop the start.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate or an address in use.
    pub async fn start(config: Config, dropped_log_lines: Option<DroppedLines>) -> anyhow::Result<Self> {
        for setting in &config.without_effect {
            warn!(setting, "this setting has no effect any more and can be removed");
        }
        let metrics = Metrics::default();
        let broker = Broker::start(&config.broker, &metrics)?;
        let listen = config.http.listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr().context("cannot tell the address listened on")?;
        let shutdown = Shutdown::default();
        let gate = Gate::new(&config.http.limits);
        let layered =
            http::layered(broker.clone(), &config.http, address, &metrics, gate.clone(), dropped_log_lines);
        let server = tokio::spawn(serve(listener, layered, config.http.connections, shutdown.clone()));
        info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        if !address.ip().is_loopback() {
            warn!(%address, "everybody who reaches this address may use the broker: there is no authentication");
        }
        Ok(Self { address, broker, gate, shutdown, server, shutdown_timeout: config.shutdown_timeout })
    }

    /// Stops in order: not ready at once, still serving for `drain_delay` so that load balancers
    /// notice; then no new connections, and what is in flight is finished within the shutdown
    /// timeout.
    pub async fn stop(mut self, drain_delay: Duration) {
        info!(?drain_delay, "stopping");
        self.broker.begin_stopping();
        self.shutdown.close();
        sleep(drain_delay).await;
        let deadline = Instant::now() + self.shutdown_timeout;
        self.broker.give_up_waiting();
        self.shutdown.drain();
        if timeout_at(deadline, &mut self.server).await.is_err() {
            self.cut_short().await;
        }
        self.broker.close(deadline).await;
        info!("stopped");
    }

    /// Has every request answered at once with its outcome so far, and drops the connections of clients that do not take
    /// their answers.
    async fn cut_short(&mut self) {
        warn!("the requests that are left are answered before they are finished");
        self.gate.give_up();
        self.broker.give_up();
        if timeout(LAST_ANSWERS, &mut self.server).await.is_err() {
            self.shutdown.abort();
            // They are dropped with the process otherwise.
            let _dropped = timeout(ABORT, &mut self.server).await;
        }
    }
}
