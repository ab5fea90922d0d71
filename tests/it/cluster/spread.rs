//! The gateway's connections are spread over the nodes.

use super::{SECOND, gateway_of};
use crate::support::{
    cluster::{Cluster, NODES},
    poll::eventually,
};

const CONNECTIONS: usize = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes: make test-cluster"]
async fn connections_of_all_roles_are_spread_over_the_nodes() {
    let cluster = Cluster::start().await;
    let gateway = gateway_of(&cluster).await;
    let names = eventually(SECOND * 10, "all connections are open", || async {
        let mut names = Vec::new();
        for node in 0..NODES {
            names.push(cluster.connection_names(node).await);
        }
        (names.concat().len() == CONNECTIONS).then_some(names)
    })
    .await;
    println!("figure: connections of the nodes: {names:?}");
    for names in &names {
        assert!(names.len() >= CONNECTIONS / NODES, "{names:?}");
        for role in ["publish-", "isolated-"] {
            let of_role = names.iter().filter(|name| name.starts_with(role)).count();
            assert!(of_role <= 1, "both connections of a role are on one node: {names:?}");
        }
    }
    gateway.stop().await;
}
