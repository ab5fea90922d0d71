//! A replica behind a link of its own: a process of the gateway, which faults end, freeze or replace.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use tokio::sync::RwLock;

use super::owner::Owner;
use crate::support::{
    broker::Broker,
    link::Link,
    poll::{eventually, pass},
    process::Process,
};

const SOON: Duration = Duration::from_mins(1);
/// The connection of the leases.
const LEASES: &str = "lease-0";

pub struct Replica {
    link: Link,
    url: String,
    /// How long each of its processes keeps its leases after SIGTERM, in turn.
    graces: &'static [Duration],
    starts: AtomicUsize,
    running: RwLock<Running>,
}

struct Running {
    process: Process,
    address: SocketAddr,
    owner: Arc<Owner>,
    grace: Duration,
}

impl Running {
    async fn start(url: &str, grace: Duration) -> Self {
        let timeout = format!("{}ms", grace.as_millis());
        let settings =
            [("AMQP_URL", url), ("GATEWAY_SHUTDOWN_TIMEOUT", &timeout), ("GATEWAY_DRAIN_DELAY", "0s")];
        let process = Process::spawn(&settings);
        let address = process.address().await;
        let client = Client::builder().no_proxy().build().expect("a client without TLS");
        let is_ready = || async {
            let answer = client.get(format!("http://{address}/health/ready")).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        eventually(SOON, "the gateway is ready", is_ready).await;
        Self { process, address, owner: Arc::new(Owner::new()), grace }
    }

    /// SIGTERM; returns when the process has ended.
    async fn stop(mut self) {
        // A margin, because the process counts from its own receipt of the signal.
        self.owner.stop(self.grace.mul_f32(0.9));
        self.process.terminate().await;
        let status = self.process.wait(SOON).await;
        self.owner.lose();
        assert!(status.success(), "{status} after {}", self.process.stderr());
    }
}

impl Replica {
    pub async fn start(broker: &Broker, graces: &'static [Duration]) -> Self {
        let link = Link::to(broker.address()).await;
        let url = broker.url().replace(&broker.address().to_string(), &link.addr().to_string());
        let running = RwLock::new(Running::start(&url, graces[0]).await);
        Self { link, url, graces, starts: AtomicUsize::new(1), running }
    }

    /// The address of its process, and the knowledge about this process.
    pub async fn current(&self) -> (SocketAddr, Arc<Owner>) {
        let running = self.running.read().await;
        (running.address, Arc::clone(&running.owner))
    }

    async fn next(&self) -> Running {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        Running::start(&self.url, self.graces[number % self.graces.len()]).await
    }

    /// Resets all its connections to RabbitMQ.
    pub async fn cut(&self) {
        self.cut_leases_by(Link::cut).await;
    }

    /// Resets the connection of its leases.
    pub async fn cut_leases(&self) {
        self.cut_leases_by(|link| link.cut_named(LEASES)).await;
    }

    async fn cut_leases_by(&self, cut: impl FnOnce(&Link)) {
        let (_, owner) = self.current().await;
        owner.lose();
        let open = self.link.accepted_named(LEASES);
        cut(&self.link);
        let have_ended = || async { self.link.accepted_named(LEASES) - self.link.open_named(LEASES) >= open };
        eventually(SOON, "the connections have ended", have_ended).await;
        owner.mend();
    }

    /// Resets the connections by which it publishes, and so asks other replicas.
    pub fn cut_publishes(&self) {
        self.link.cut_named("publish-*");
    }

    /// Starts a new process, and stops the old one in order.
    pub async fn replace(&self) {
        let next = self.next().await;
        let old = std::mem::replace(&mut *self.running.write().await, next);
        old.stop().await;
    }

    /// Ends the process by SIGKILL, and starts a new one.
    pub async fn kill(&self) {
        let mut running = self.running.write().await;
        running.owner.lose();
        running.process.signal("KILL").await;
        running.process.wait(SOON).await;
        *running = self.next().await;
    }

    /// Stops the process for a time by SIGSTOP.
    pub async fn freeze(&self, time: Duration) {
        let running = self.running.read().await;
        running.process.pause().await;
        running.owner.freeze();
        pass(time).await;
        running.owner.thaw();
        running.process.resume().await;
    }

    /// RabbitMQ ends, and with it every lease.
    pub async fn lose(&self) {
        self.current().await.1.lose();
    }

    /// RabbitMQ is there again.
    pub async fn mend(&self) {
        self.current().await.1.mend();
    }

    pub async fn stop(self) {
        self.running.into_inner().stop().await;
    }
}
