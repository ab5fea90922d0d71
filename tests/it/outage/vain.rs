//! An outage of a day uses no more tasks than an outage of a minute.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
    runtime::Handle,
};

use super::{CONNECTIONS, SOON};
use crate::support::{
    broker::Broker,
    gateway::TestGateway,
    link::{Link, Mode},
    poll::eventually,
};

const DIALS: usize = 300;

/// The number of dials of all connections so far.
async fn dials(gateway: &TestGateway) -> usize {
    let metrics = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
    let dials = metrics.lines().filter(|line| line.starts_with("gateway_broker_dials_total"));
    dials.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

async fn wait_for_more_dials(gateway: &TestGateway) {
    let wanted = dials(gateway).await + DIALS;
    let there = || async { dials(gateway).await >= wanted };
    eventually(SOON * 3, "it dials", there).await;
}

/// The gateway's tasks run in the test's own runtime, so the test can count them.
async fn leaves_nothing_behind(url: &str, timeout: &str) {
    let settings = [
        ("AMQP_URL", url),
        ("RABBITMQ_RETRY_DELAY", "10ms"),
        ("RABBITMQ_REFUSED_DELAY", "10ms"),
        ("RABBITMQ_CONNECTION_TIMEOUT", timeout),
    ];
    let gateway = TestGateway::start_unready(&settings).await;
    wait_for_more_dials(&gateway).await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    wait_for_more_dials(&gateway).await;
    let more = Handle::current().metrics().num_alive_tasks().saturating_sub(tasks);
    assert!(more < 10 * CONNECTIONS, "{more} tasks more after {DIALS} dials more");
    gateway.stop().await;
}

/// A port that no other program gets while the socket is open.
fn nobody_listens() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn failed_dials_of_an_absent_rabbitmq_leak_no_task() {
    let (_reserved, address) = nobody_listens();
    leaves_nothing_behind(&format!("amqp://{address}"), "5s").await;
}

#[tokio::test]
async fn failed_dials_of_a_proxy_without_rabbitmq_leak_no_task() {
    let (_reserved, address) = nobody_listens();
    let link = Link::to(address).await;
    leaves_nothing_behind(&format!("amqp://{}", link.addr()), "5s").await;
    assert!(link.accepted() > DIALS, "the proxy accepted the dials and reset them");
}

#[tokio::test]
async fn failed_dials_of_a_rabbitmq_that_closes_connections_leak_no_task() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let hangs_up = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut header = [0; 8];
            // The server closes the connection in order, after it has read lapin's first bytes.
            let _gone = client.read_exact(&mut header).await;
        }
    });
    leaves_nothing_behind(&format!("amqp://{address}"), "5s").await;
    hangs_up.abort();
}

#[tokio::test]
async fn failed_dials_of_a_silent_rabbitmq_leak_no_task() {
    let link = Link::to(Broker::shared().await.address()).await;
    link.set(Mode::Silence);
    leaves_nothing_behind(&format!("amqp://{}", link.addr()), "50ms").await;
}

#[tokio::test]
async fn failed_dials_of_a_rabbitmq_without_tls_leak_no_task() {
    let broker = Broker::shared().await.address();
    leaves_nothing_behind(&format!("amqps://{broker}"), "5s").await;
}

#[tokio::test]
async fn failed_dials_of_a_rabbitmq_that_refuses_the_login_leak_no_task() {
    let broker = Broker::shared().await.address();
    leaves_nothing_behind(&format!("amqp://nobody:knows@{broker}"), "5s").await;
}

#[tokio::test]
async fn lost_connections_leak_no_task() {
    let link = Link::to(Broker::shared().await.address()).await;
    let url = format!("amqp://guest:guest@{}", link.addr());
    let gateway = TestGateway::start(&[
        ("AMQP_URL", &*url),
        ("RABBITMQ_RETRY_DELAY", "10ms"),
        ("RABBITMQ_HEARTBEAT", "1s"),
    ])
    .await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    eventually(SOON, "all roles are connected", || async { dials(&gateway).await >= CONNECTIONS }).await;
    let before = tasks();
    for _ in 0..25 {
        let wanted = dials(&gateway).await + CONNECTIONS;
        link.cut();
        let are_back = || async { dials(&gateway).await >= wanted && gateway.is_ready().await };
        eventually(SOON, "all connections are back", are_back).await;
    }
    // Each lost connection has a task that wakes at the time of its next heartbeat and then ends.
    eventually(SOON, "lost connections have no tasks left", || async { tasks() < before + 2 * CONNECTIONS })
        .await;
    gateway.stop().await;
}
