//! A broker that cannot be reached for a day costs no more than one that cannot be for a minute.

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

/// By all connections so far.
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

/// The gateway's tasks are the test's own.
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

/// A port that nobody else gets while the socket is there.
fn nobody_listens() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn dials_of_a_broker_that_is_away_leave_nothing_behind() {
    let (_reserved, address) = nobody_listens();
    leaves_nothing_behind(&format!("amqp://{address}"), "5s").await;
}

#[tokio::test]
async fn dials_of_a_proxy_whose_broker_is_away_leave_nothing_behind() {
    let (_reserved, address) = nobody_listens();
    let link = Link::to(address).await;
    leaves_nothing_behind(&format!("amqp://{}", link.addr()), "5s").await;
    assert!(link.accepted() > DIALS, "they were accepted, and reset");
}

#[tokio::test]
async fn dials_of_a_broker_that_hangs_up_leave_nothing_behind() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let hangs_up = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut header = [0; 8];
            // In order, having read what lapin says first.
            let _gone = client.read_exact(&mut header).await;
        }
    });
    leaves_nothing_behind(&format!("amqp://{address}"), "5s").await;
    hangs_up.abort();
}

#[tokio::test]
async fn dials_of_a_broker_that_is_silent_leave_nothing_behind() {
    let link = Link::to(Broker::shared().await.address()).await;
    link.set(Mode::Silence);
    leaves_nothing_behind(&format!("amqp://{}", link.addr()), "50ms").await;
}

#[tokio::test]
async fn dials_of_a_broker_that_speaks_no_tls_leave_nothing_behind() {
    let broker = Broker::shared().await.address();
    leaves_nothing_behind(&format!("amqps://{broker}"), "5s").await;
}

#[tokio::test]
async fn dials_of_a_broker_that_refuses_the_login_leave_nothing_behind() {
    let broker = Broker::shared().await.address();
    leaves_nothing_behind(&format!("amqp://nobody:knows@{broker}"), "5s").await;
}

#[tokio::test]
async fn connections_that_are_lost_leave_nothing_behind() {
    let link = Link::to(Broker::shared().await.address()).await;
    let url = format!("amqp://guest:guest@{}", link.addr());
    let gateway = TestGateway::start(&[
        ("AMQP_URL", &*url),
        ("RABBITMQ_RETRY_DELAY", "10ms"),
        ("RABBITMQ_HEARTBEAT", "1s"),
    ])
    .await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    eventually(SOON, "all are connected", || async { dials(&gateway).await >= CONNECTIONS }).await;
    let before = tasks();
    for _ in 0..25 {
        let wanted = dials(&gateway).await + CONNECTIONS;
        link.cut();
        let are_back = || async { dials(&gateway).await >= wanted && gateway.is_ready().await };
        eventually(SOON, "all connections are back", are_back).await;
    }
    // Each has a last look at the time of its next heartbeat.
    eventually(SOON, "they have no tasks left", || async { tasks() < before + 2 * CONNECTIONS }).await;
    gateway.stop().await;
}
