//! The composition root: it builds the parts in order, runs them until shutdown, and stops them in reverse order.

pub mod check;
mod principals;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::broker::Broker;
use crate::config::Config;
use crate::domain::listen::{dialled, is_loopback};
use crate::http::admission::AdmissionControl;
use crate::http::server::serve;
use crate::http::{self, Authentication, Routers};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::signals::Signal;
use crate::telemetry::DroppedLines;

/// Time for the last answers, and then for the HTTP connections to notice that the gateway drops them.
const ABORT: Duration = Duration::from_secs(1);

/// A gateway that serves requests.
pub struct Gateway {
    /// The address that it listens on; the real port if the settings ask for port 0.
    pub address: SocketAddr,
    /// The address for administration, if there is one.
    pub admin_address: Option<SocketAddr>,
    broker: Broker,
    lifecycle: Lifecycle,
    server: JoinHandle<()>,
    shutdown_timeout: Duration,
}

/// Runs the gateway until `end` resolves.
///
/// # Errors
/// The reason why the gateway cannot start; see [`Gateway::start`].
pub async fn run(
    config: Config,
    dropped_log_lines: DroppedLines,
    end: impl Future<Output = Signal>,
) -> anyhow::Result<()> {
    let drain_delay = config.drain_delay;
    let gateway = Gateway::start(config, Some(dropped_log_lines)).await?;
    match end.await {
        Signal::Terminate => gateway.stop(drain_delay).await,
        Signal::Interrupt => {
            gateway.give_leases_back().await;
            gateway.stop(Duration::ZERO).await;
        }
    }
    Ok(())
}

/// Logs one line when RabbitMQ is connected and a required topology file is applied, with the address of the Swagger UI.
async fn say_ready(broker: Broker, address: SocketAddr) {
    let Some(reached) = broker.first_reached().await else { return };
    broker.has_required_topology().await;
    let gateway = format!("http://{}", dialled(address));
    info!(
        %gateway,
        docs = %format_args!("{gateway}{}", http::SWAGGER_UI),
        broker = %reached.address,
        broker_product = reached.server.product,
        broker_version = reached.server.version,
        user = reached.user_text(),
        vhost = reached.vhost,
        "ready"
    );
}

/// Listens on this address. Returns the bound address too.
async fn bind(listen: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr().context("cannot tell the address listened on")?;
    Ok((listener, address))
}

/// Resolves when no message is leased. Until then the gateway accepts connections, so that callers can settle their leases.
async fn until_no_leases(broker: Broker) {
    broker.consuming().until_no_leases().await;
}

impl Gateway {
    /// Starts to dial RabbitMQ and to listen. The gateway also starts when RabbitMQ is absent.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate or an address in use.
    pub async fn start(config: Config, dropped_log_lines: Option<DroppedLines>) -> anyhow::Result<Self> {
        for warning in &config.warnings {
            warn!(setting = warning.name, "{}", warning.text);
        }
        let (metrics, lifecycle) = (Metrics::default(), Lifecycle::default());
        let broker = Broker::start(&config.broker, &metrics, &lifecycle)?;
        let (listener, address) = bind(config.http.listen).await?;
        let admission = AdmissionControl::new(&config.http.limits, &lifecycle);
        let principals = config
            .principals
            .map(|file| principals::keep_up_to_date(file, config.http.audit, &metrics, &lifecycle));
        let has_authentication = principals.is_some();
        let authentication = Authentication::new(principals, &config.broker.vhost);
        let routers = Routers::new(
            broker.clone(),
            authentication,
            &config.http,
            &metrics,
            admission,
            dropped_log_lines,
        );
        let serve_on = |listener, router| {
            let unfinished = until_no_leases(broker.clone());
            let limits = config.http.connections.clone();
            tokio::spawn(serve(listener, router, limits, lifecycle.clone(), unfinished))
        };
        let mut admin_address = None;
        if let Some(listen) = config.http.admin_listen {
            let (listener, address) = bind(listen).await?;
            // It ends with the other listener.
            drop(serve_on(listener, routers.for_admin(address)));
            info!(%address, "serving health checks and metrics");
            admin_address = Some(address);
        }
        let server = serve_on(listener, routers.for_callers(address, admin_address.is_some()));
        info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        if !has_authentication && !is_loopback(address.ip()) {
            warn!(%address, "every client that reaches this address may use RabbitMQ, since GATEWAY_AUTH is none");
        }
        tokio::spawn(say_ready(broker.clone(), address));
        let shutdown_timeout = config.shutdown_timeout;
        Ok(Self { address, admin_address, broker, lifecycle, server, shutdown_timeout })
    }

    /// Gives every leased message back to its queue, so that [`Self::stop`] does not wait for their callers.
    async fn give_leases_back(&self) {
        self.broker.consuming().give_back(Instant::now() + ABORT).await;
    }

    /// Stops the gateway in order. First it reports not ready and still serves for `drain_delay`, so that load balancers
    /// notice. Then it accepts no new connections, unless messages are leased, and finishes the requests in flight within the
    /// shutdown timeout.
    pub async fn stop(mut self, drain_delay: Duration) {
        info!(?drain_delay, "stopping");
        self.lifecycle.close();
        sleep(drain_delay).await;
        let deadline = Instant::now() + self.shutdown_timeout;
        self.lifecycle.drain();
        if timeout_at(deadline, &mut self.server).await.is_err() {
            self.cut_short().await;
        }
        self.broker.close(deadline).await;
        info!("stopped");
    }

    /// Answers every request at once with its outcome so far, and drops the connections of clients that do not read their
    /// answers.
    async fn cut_short(&mut self) {
        warn!(
            "the shutdown timeout is over: the gateway answers the remaining requests before they are finished"
        );
        self.lifecycle.abort();
        // The connections that still exist after that end with the process.
        let _dropped = timeout(ABORT, &mut self.server).await;
    }
}
