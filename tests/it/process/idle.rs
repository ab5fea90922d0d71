//! Clients that keep a connection open and send nothing on it.

use std::time::Duration;

use super::{SOON, Served};
use crate::support::{
    broker::Broker,
    poll::eventually,
    raw::{Raw, Response},
};

const CLIENTS: usize = 400;
/// The allocator keeps freed memory for ten seconds.
const GIVEN_BACK: Duration = Duration::from_mins(1);
const REQUEST: &str = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

async fn ask(client: &mut Raw) -> Response {
    client.send(REQUEST).await;
    client.response(SOON).await
}

#[tokio::test]
async fn idle_clients_use_little_memory_after_a_while_and_are_served_again() {
    let vhost = Broker::shared().await.vhost("idle").await;
    let served = Served::start_ready(&[("AMQP_URL", &vhost.url)]).await;
    let before = served.process.resident_kib();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Raw::connect(served.address).await;
        assert_eq!(ask(&mut client).await.status, 200);
        clients.push(client);
    }
    // hyper without our settings would hold 16 KiB for each.
    let are_small = || async {
        let other = ask(&mut Raw::connect(served.address).await).await;
        other.status == 200 && served.process.resident_kib().saturating_sub(before) < CLIENTS * 8
    };
    eventually(GIVEN_BACK, "idle clients use little memory", are_small).await;
    for client in &mut clients {
        assert_eq!(ask(client).await.status, 200);
    }
}
