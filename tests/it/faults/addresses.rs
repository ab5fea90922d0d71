//! Several addresses in `AMQP_URL`: the connections of all roles are spread over them, and an address that does not answer does
//! not delay the next one.

use std::time::{Duration, Instant};

use reqwest::Client;

use super::{NOTICED, SECOND, SOON};
use crate::support::{
    broker::{Broker, Vhost},
    gateway::TestGateway,
    link::{Link, Mode},
    load::publish,
    observer::Observer,
    poll::{eventually, within},
    process::Process,
};

/// Two for shared messages, two for isolated ones, and one each for topology, replies and probes.
const CONNECTIONS: usize = 7;

/// Several proxies to the same node, and the URL with all their addresses.
async fn wires(count: usize, vhost: &Vhost<'_>) -> (Vec<Link>, String) {
    let broker = Broker::shared().await.address();
    let mut links = Vec::new();
    for _ in 0..count {
        links.push(Link::to(broker).await);
    }
    let addresses: Vec<_> = links.iter().map(|link| link.addr().to_string()).collect();
    let url = vhost.url.replace(&broker.to_string(), &addresses.join(","));
    (links, url)
}

fn names(links: &[Link]) -> Vec<Vec<String>> {
    links.iter().map(Link::names).collect()
}

/// After this time without an answer the gateway dials the next address too.
const HEAD_START: Duration = Duration::from_millis(500);

/// A gateway that has all its connections, and its addresses. Starts another one when the machine was so busy that an address
/// lost its head start.
async fn started(count: usize, vhost: &Vhost<'_>) -> (Vec<Link>, TestGateway) {
    let attempt = async || {
        let (links, url) = wires(count, vhost).await;
        let start = Instant::now();
        let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;
        let are_there = || async { names(&links).concat().len() >= CONNECTIONS };
        eventually(SOON, "all connections are open", are_there).await;
        (start.elapsed(), links, gateway)
    };
    within(SOON * 3, "the gateway logs in before it dials a second address", async {
        loop {
            let (took, links, gateway) = attempt().await;
            let dials: usize = links.iter().map(Link::accepted).sum();
            if dials == CONNECTIONS || took < HEAD_START {
                return (links, gateway);
            }
            gateway.stop().await;
        }
    })
    .await
}

#[tokio::test]
async fn connections_of_all_roles_are_spread_over_the_addresses() {
    let vhost = Broker::shared().await.vhost("spread").await;
    for count in [2, 3] {
        let (links, gateway) = started(count, &vhost).await;
        let names = names(&links);
        println!("{names:?}");
        for (link, names) in links.iter().zip(&names) {
            assert!(names.len() >= CONNECTIONS / count, "{names:?}");
            assert_eq!(link.accepted(), names.len(), "one dial failed");
            for role in ["publish-", "isolated-"] {
                let of_role = names.iter().filter(|name| name.starts_with(role)).count();
                assert!(of_role <= 1, "both connections of a role have the same address: {names:?}");
            }
        }
        gateway.stop().await;
    }
}

/// From the start of a gateway to its first confirm.
async fn first_confirm(url: &str, id: &str) -> (TestGateway, Duration) {
    let start = Instant::now();
    let gateway = TestGateway::start_unready(&[("AMQP_URL", url)]).await;
    eventually(SOON, "the gateway is ready", || gateway.is_ready()).await;
    let answer = publish(&gateway, "amq.default?routing_key=q&timeout=10s", id).await;
    answer.assert_confirmed();
    (gateway, answer.at - start)
}

#[tokio::test]
async fn a_dial_without_an_answer_does_not_delay_the_next_address() {
    let vhost = Broker::shared().await.vhost("hanging-dial").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let (_links, url) = wires(2, &vhost).await;
    let (gateway, usual) = first_confirm(&url, "usual").await;
    gateway.stop().await;
    for hangs in [0, 1] {
        let (links, url) = wires(2, &vhost).await;
        links[hangs].set(Mode::Silence);
        let (gateway, first) = first_confirm(&url, &hangs.to_string()).await;
        println!("the first confirm came after {first:?}, and after {usual:?} without the fault");
        assert!(first <= NOTICED + usual, "the first confirm came after {first:?}, usually after {usual:?}");
        let well = &links[1 - hangs];
        let are_there = || async { well.names().len() == CONNECTIONS };
        eventually(SECOND * 2, "all connections are open", are_there).await;
        gateway.stop().await;
    }
    assert_eq!(observer.drain_ids("q").await, ["usual", "0", "1"]);
}

#[tokio::test]
async fn the_gateway_warns_of_the_setting_of_attempts_that_has_no_effect_any_more() {
    const SETTING: &str = "RABBITMQ_CONNECTION_ATTEMPTS";
    let vhost = Broker::shared().await.vhost("attempts").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    for value in [None, Some("3")] {
        let mut settings = vec![("AMQP_URL", vhost.url.as_str())];
        settings.extend(value.map(|value| (SETTING, value)));
        let process = Process::spawn(&settings);
        let url = format!("http://{}/publish/amq.default?routing_key=q&timeout=10s", process.address().await);
        let client = Client::builder().no_proxy().build().unwrap();
        let answer = client.post(url).body("x").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let log = process.stderr();
        let warned = log.lines().filter(|line| line.contains("WARN") && line.contains(SETTING)).count();
        assert_eq!(warned, usize::from(value.is_some()), "{log}");
    }
    assert_eq!(observer.count("q").await, Some(2));
}
