//! `Cluster`: three private nodes that know each other, and quorum queues with a member on each node.

use std::time::Duration;

use super::{
    broker::binary,
    node::{Identity, Node},
    poll::eventually,
};

pub const NODES: usize = 3;

const CONFIG: &str = "\
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = c1@localhost
cluster_partition_handling = pause_minority
";

/// Long, because three nodes start on few cores.
const WHOLE_DEADLINE: Duration = Duration::from_mins(2);
const LEADER_DEADLINE: Duration = Duration::from_secs(30);

/// Nodes have numbers, from 0. All operations concern the default vhost.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts the first node, then the others, which join it. All nodes end when the value is dropped.
    pub async fn start() -> Self {
        let first = Identity::first_of_cluster("c1@localhost");
        let others = ["c2@localhost", "c3@localhost"].map(|name| first.beside(name));
        let mut nodes = vec![Node::launch_as(first, CONFIG, "").await];
        let [second, third] = others.map(|identity| Node::launch_as(identity, CONFIG, ""));
        nodes.extend(<[Node; 2]>::from(tokio::join!(second, third)));
        let cluster = Self { nodes };
        cluster.wait_until_whole().await;
        cluster
    }

    /// The URL with the addresses of all nodes, in their order.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("amqp://guest:guest@{}/", addresses.join(","))
    }

    /// The URL of one node.
    pub fn url_of(&self, node: usize) -> String {
        format!("amqp://guest:guest@{}/", self.nodes[node].address())
    }

    /// Evaluates Erlang inside a node.
    pub async fn eval(&self, node: usize, expression: &str) -> String {
        self.nodes[node].eval(expression).await
    }

    /// kill -9; returns when the process has ended.
    pub async fn kill(&self, node: usize) {
        self.nodes[node].end("KILL").await;
    }

    /// SIGTERM; returns when the process has ended in order.
    pub async fn stop(&self, node: usize) {
        self.nodes[node].end("TERM").await;
    }

    /// Starts a node that ended; returns when all nodes see each other.
    pub async fn start_again(&self, node: usize) {
        self.nodes[node].start().await;
        self.wait_until_whole().await;
    }

    /// SIGSTOP: the node's connections stay open, and it answers nothing.
    pub async fn pause(&self, node: usize) {
        self.nodes[node].signal("STOP").await;
    }

    /// SIGCONT; returns when all nodes see each other.
    pub async fn resume(&self, node: usize) {
        self.nodes[node].signal("CONT").await;
        self.wait_until_whole().await;
    }

    async fn wait_until_whole(&self) {
        for node in 0..NODES {
            let sees_all = || async {
                self.nodes[node].speaks_amqp().await
                    && self.eval(node, "length(rabbit_mnesia:cluster_nodes(running))").await
                        == NODES.to_string()
            };
            eventually(WHOLE_DEADLINE, "the cluster is whole", sees_all).await;
        }
    }

    /// The last words of the names of a node's client connections.
    pub async fn connection_names(&self, node: usize) -> Vec<String> {
        // erl_call prints strings, but only the length of binaries.
        let names = "[binary_to_list(Name) || C <- rabbit_networking:local_connections(), \
                     [{client_properties, Table}] <- [catch rabbit_networking:connection_info(C, \
                     [client_properties])], is_list(Table), {<<\"connection_name\">>, _, Name} <- Table]";
        let answer = self.eval(node, names).await;
        let quoted = answer.split('"').skip(1).step_by(2);
        quoted.filter_map(|name| name.split_whitespace().next_back()).map(str::to_owned).collect()
    }

    /// The node that leads a quorum queue, as `seen_by` reports it; that node must run.
    pub async fn leader(&self, seen_by: usize, queue: &str) -> Option<usize> {
        let name = ra_name(queue);
        let leader =
            format!("case catch ra:members({{{name}, node()}}) of {{ok, _, {{_, L}}}} -> L; _ -> none end");
        let answer = self.eval(seen_by, &leader).await;
        self.nodes.iter().position(|node| answer.contains(&node.identity().name))
    }

    /// Waits until every node has a running member of the queue and they agree on its leader.
    pub async fn agreed_leader(&self, queue: &str) -> usize {
        eventually(LEADER_DEADLINE, &format!("a leader of {queue}"), || async {
            let mut leaders = Vec::new();
            for node in 0..NODES {
                leaders.push(self.leader(node, queue).await);
            }
            leaders[0].filter(|_| leaders.iter().all(|leader| *leader == leaders[0]))
        })
        .await
    }

    /// Makes another node the leader of the queue.
    pub async fn move_leader(&self, queue: &str, to: usize) {
        let name = ra_name(queue);
        eventually(LEADER_DEADLINE, &format!("{queue} is led by node {to}"), || async {
            let leader = self.agreed_leader(queue).await;
            let (from, wanted) = (self.atom(leader), self.atom(to));
            if leader != to {
                let call = format!("ra:transfer_leadership({{{name}, {from}}}, {{{name}, {wanted}}})");
                self.eval(to, &call).await;
            }
            leader == to
        })
        .await;
    }

    /// Stops the queue's member on a node, while the node runs.
    pub async fn stop_member(&self, queue: &str, node: usize) {
        let name = ra_name(queue);
        self.eval(node, &format!("ok = ra:stop_server(quorum_queues, {{{name}, node()}})")).await;
    }

    /// Starts the member again after [`Self::stop_member`].
    pub async fn start_member(&self, queue: &str, node: usize) {
        let name = ra_name(queue);
        self.eval(node, &format!("ok = ra:restart_server(quorum_queues, {{{name}, node()}})")).await;
    }

    fn atom(&self, node: usize) -> String {
        format!("'{}'", self.nodes[node].identity().name)
    }
}

/// An expression for the name of the queue's members among Erlang's processes.
fn ra_name(queue: &str) -> String {
    let (vhost, queue) = (binary("/"), binary(queue));
    format!(
        "(fun() -> {{ok, Q}} = rabbit_amqqueue:lookup({{resource, {vhost}, queue, {queue}}}), \
         element(1, amqqueue:get_pid(Q)) end)()"
    )
}
