//! The names of the gateway's connections in RabbitMQ's own tools.

use std::{fs, time::Duration};

use crate::support::{broker::Broker, gateway::TestGateway, poll::eventually};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn operators_see_the_gateway_and_the_role_of_each_connection() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("names").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    let all = || async { vhost.connection_count().await == 7 };
    eventually(SOON, "all connections are open", all).await;

    let listed = broker.ctl(&["list_connections", "vhost", "client_properties"]).await;
    let mine: Vec<_> = listed.lines().filter(|line| line.starts_with(&vhost.name)).collect();
    assert_eq!(mine.len(), 7, "{listed}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for role in ["publish-0", "publish-1", "isolated-0", "isolated-1", "topology-0", "reply-0", "probe-0"] {
        let name = format!("rabbitmq-gateway@{} {role}", host.trim());
        let is_it = |line: &&&str| line.contains(&format!("{{\"connection_name\",\"{name}\"}}"));
        let line = mine.iter().find(is_it).unwrap_or_else(|| panic!("{name} among {mine:#?}"));
        for (key, value) in [("product", "rabbitmq-gateway"), ("version", env!("CARGO_PKG_VERSION"))] {
            assert!(line.contains(&format!("{{\"{key}\",\"{value}\"}}")), "{key} {value} in {line}");
        }
    }
    gateway.stop().await;
    eventually(SOON, "no connection is left", || async { vhost.connection_count().await == 0 }).await;
}
