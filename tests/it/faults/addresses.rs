//! Several addresses in `AMQP_URL`: the connections of all roles are spread over them, and an address that does not answer does
//! not delay the next one.

use std::time::Instant;

use reqwest::Client;

use super::{NOTICED, SECOND, SOON};
use crate::support::{
    broker::{Broker, Vhost},
    gateway::TestGateway,
    link::{Link, Mode},
    load::publish,
    observer::Observer,
    poll::eventually,
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

#[tokio::test]
async fn connections_of_all_roles_are_spread_over_the_addresses() {
    let vhost = Broker::shared().await.vhost("spread").await;
    for count in [2, 3] {
        let (links, url) = wires(count, &vhost).await;
        let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;
        let are_there = || async { names(&links).concat().len() == CONNECTIONS };
        eventually(SOON, "all connections are open", are_there).await;
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

#[tokio::test]
async fn a_dial_without_an_answer_does_not_delay_the_next_address() {
    let vhost = Broker::shared().await.vhost("hanging-dial").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    for hangs in [0, 1] {
        let (links, url) = wires(2, &vhost).await;
        links[hangs].set(Mode::Silence);
        let start = Instant::now();
        let gateway = TestGateway::start_unready(&[("AMQP_URL", &url)]).await;
        eventually(SOON, "the gateway is ready", || gateway.is_ready()).await;
        let ready = start.elapsed();
        let answer = publish(&gateway, "amq.default?routing_key=q&timeout=10s", &hangs.to_string()).await;
        answer.assert_confirmed();
        println!("ready after {ready:?}, the first confirm took {:?}", answer.took());
        assert!(answer.at - start <= NOTICED, "ready after {ready:?}, {answer:?}");
        let well = &links[1 - hangs];
        let are_there = || async { well.names().len() == CONNECTIONS };
        eventually(SECOND * 2, "all connections are open", are_there).await;
        gateway.stop().await;
    }
    assert_eq!(observer.drain_ids("q").await, ["0", "1"]);
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
