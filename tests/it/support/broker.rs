//! `Broker`: a private RabbitMQ, with the operations of an operator.
//!
//! One node serves the whole test run, with a vhost for each test. A test that breaks RabbitMQ has a node of its own, which it
//! gives back for the next such test when the node is as it was.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::{
    certificates::Certificates,
    node::{Node, free_port},
    poll::eventually,
    stuck::StuckQueue,
};

const EFFECT_DEADLINE: Duration = Duration::from_secs(30);

/// A node takes 140 MB, and its start uses a whole core.
const NODES_OF_THEIR_OWN: usize = 2;

/// Nodes that tests have given back. They end with the test process.
static RETURNED: Mutex<Vec<Node>> = Mutex::new(Vec::new());

/// A running RabbitMQ with user `guest`, password `guest`.
pub struct Broker {
    node: Node,
}

impl Broker {
    /// The node of the test run, started by the first test that needs it. It ends with the test process.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Broker> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self { node: Node::launch().await } }).await
    }

    /// A node that the test may break; it ends when dropped. Waits while two other tests have one.
    pub async fn own() -> OwnBroker {
        let place = Self::place().await;
        let returned = RETURNED.lock().expect("no test panics with it").pop();
        let node = match returned {
            Some(node) => node,
            None => Node::launch().await,
        };
        OwnBroker { broker: Self { node }, _place: place }
    }

    /// The same, with a TLS listener at the second address of the result. It accepts client certificates as a login (SASL
    /// EXTERNAL).
    pub async fn own_with_tls(certificates: &Certificates) -> (OwnBroker, SocketAddr) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let place = Self::place().await;
        let node = Node::launch_with(&certificates.config(address), "rabbitmq_auth_mechanism_ssl").await;
        (OwnBroker { broker: Self { node }, _place: place }, address)
    }

    async fn place() -> SemaphorePermit<'static> {
        static PLACES: Semaphore = Semaphore::const_new(NODES_OF_THEIR_OWN);
        PLACES.acquire().await.expect("never closed")
    }

    /// The address for AMQP, on loopback.
    pub fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// The default vhost as guest, with a slash at the end.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/", self.address())
    }

    /// A new vhost, named after `name`, in which guest has all permissions.
    pub async fn vhost(&self, name: &str) -> Vhost<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let vhost = Vhost { url: format!("{}{name}", self.url()), name, broker: self };
        vhost.create().await;
        vhost
    }

    /// A user without permissions.
    pub async fn add_user(&self, name: &str, password: &str) {
        let (name, password) = (binary(name), binary(password));
        self.eval(&format!("ok = rabbit_auth_backend_internal:add_user({name}, {password}, {GUEST})")).await;
    }

    pub async fn set_password(&self, name: &str, password: &str) {
        let (name, password) = (binary(name), binary(password));
        let call = format!("rabbit_auth_backend_internal:change_password({name}, {password}, {GUEST})");
        self.eval(&format!("ok = {call}")).await;
    }

    pub async fn delete_user(&self, name: &str) {
        let name = binary(name);
        self.eval(&format!("ok = rabbit_auth_backend_internal:delete_user({name}, {GUEST})")).await;
    }

    /// Limits how many connections or channels a user may open: `max-connections` or `max-channels`.
    pub async fn limit_user(&self, name: &str, what: &str, limit: usize) {
        let (name, limits) = (binary(name), format!("#{{{} => {limit}}}", binary(what)));
        self.eval(&format!("ok = rabbit_auth_backend_internal:set_user_limits({name}, {limits}, {GUEST})"))
            .await;
    }

    /// Evaluates Erlang inside the node, in some 10 ms.
    pub async fn eval(&self, expression: &str) -> String {
        self.node.eval(expression).await
    }

    /// The same for `drop`: blocks the thread, and returns an error instead of a panic.
    pub fn eval_blocking(&self, expression: &str) -> Result<String, String> {
        self.node.eval_blocking(expression)
    }

    /// 3 or 4, for tests of behaviour that differs.
    pub async fn major_version(&self) -> u32 {
        let version = self.eval("rabbit_misc:version()").await;
        let major = version.trim_matches('"').split('.').next().and_then(|major| major.parse().ok());
        major.unwrap_or_else(|| panic!("{version:?} begins with a number"))
    }

    /// How many channels are in confirm mode in the default vhost.
    pub async fn confirm_channel_count(&self) -> usize {
        self.confirm_channel_count_in("/").await
    }

    async fn confirm_channel_count_in(&self, vhost: &str) -> usize {
        let mine = format!("[{{vhost, {}}}, {{confirm, true}}]", binary(vhost));
        let channels = "C <- rabbit_channel:list()";
        let count =
            format!("length([C || {channels}, (catch rabbit_channel:info(C, [vhost, confirm])) =:= {mine}])");
        self.eval(&count).await.parse().expect("a length is a number")
    }

    /// Runs rabbitmqctl, which takes a second or more; gives its output.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        self.node.ctl(arguments).await
    }
}

/// A node that its test may break.
pub struct OwnBroker {
    broker: Broker,
    _place: SemaphorePermit<'static>,
}

impl Deref for OwnBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

impl OwnBroker {
    /// Empties the default vhost and keeps the node for the next test. Not for a node with other settings, users or vhosts than at
    /// the start. A test that panics does not come here, so its node ends.
    pub async fn give_back(self) {
        assert_eq!(self.eval("rabbit_alarm:get_alarms()").await, "[]", "an alarm is left");
        let vhost = Vhost { url: self.url(), name: "/".to_owned(), broker: &self.broker };
        vhost.delete().await;
        vhost.create().await;
        let are_closed = || async { self.eval("length(rabbit_networking:local_connections())").await == "0" };
        eventually(EFFECT_DEADLINE, "every connection is closed", are_closed).await;
        RETURNED.lock().expect("no test panics with it").push(self.broker.node);
    }

    /// Writes queues, exchanges and bindings to disk. Call it between the last declare and a kill: RabbitMQ 3.10 answers
    /// declare-ok before it writes, and a new durable queue is then lost with its confirmed messages. A new quorum queue is there
    /// after the kill, but its members are not, and it answers no publish.
    pub async fn sync_topology(&self) {
        self.eval("ok = mnesia:sync_log(), [ok = dets:sync(Table) || Table <- dets:all()]").await;
    }

    /// kill -9; returns when the process has ended. See [`Self::sync_topology`].
    pub async fn kill(&self) {
        self.node.end("KILL").await;
    }

    /// Starts the node after [`Self::kill`], on the same port with the same data; returns when it speaks AMQP.
    pub async fn start(&self) {
        self.node.start().await;
    }

    /// Stops the node in order (SIGTERM) and starts it.
    pub async fn restart(&self) {
        self.node.end("TERM").await;
        self.start().await;
    }

    /// SIGSTOP: connections stay open, and RabbitMQ answers nothing.
    pub async fn pause(&self) {
        self.node.signal("STOP").await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.node.signal("CONT").await;
    }

    /// `rabbitmqctl stop_app`: the node runs, its listener is closed.
    pub async fn stop_app(&self) {
        self.eval("rabbit:stop()").await;
    }

    /// `rabbitmqctl start_app`; returns when it speaks AMQP.
    pub async fn start_app(&self) {
        // The command does nothing while the node is still starting.
        let started = || async {
            self.eval("rabbit:start()").await;
            self.node.speaks_amqp().await
        };
        eventually(EFFECT_DEADLINE, "RabbitMQ speaks AMQP", started).await;
    }

    /// Sets the memory alarm: RabbitMQ blocks connections that publish.
    pub async fn alarm_on(&self) {
        self.set_memory_watermark("0.0001").await;
        self.await_alarms(true).await;
    }

    pub async fn alarm_off(&self) {
        self.set_memory_watermark("{absolute, \"2GB\"}").await;
        self.await_alarms(false).await;
    }

    /// `rabbitmqctl close_all_connections`: each one gets 320 `CONNECTION_FORCED` with the reason `why`.
    pub async fn close_all_connections(&self, why: &str) {
        let why = binary(why);
        let close = format!("rabbit_networking:close_connection(C, {why})");
        self.eval(&format!("[{close} || C <- rabbit_networking:local_connections()]")).await;
    }

    async fn set_memory_watermark(&self, mark: &str) {
        self.eval(&format!("vm_memory_monitor:set_vm_memory_high_watermark({mark})")).await;
    }

    async fn await_alarms(&self, wanted: bool) {
        eventually(EFFECT_DEADLINE, "the alarm changes", || async {
            let alarms = self.eval("rabbit_alarm:get_alarms()").await;
            (alarms != "[]") == wanted
        })
        .await;
    }
}

/// A virtual host that belongs to one test.
pub struct Vhost<'a> {
    pub url: String,
    pub name: String,
    broker: &'a Broker,
}

impl Vhost<'_> {
    /// The same vhost through a [`super::link::Link`].
    pub fn url_by(&self, link: SocketAddr) -> String {
        self.url.replace(&self.broker.address().to_string(), &link.to_string())
    }

    /// The same vhost as another user; neither name nor password may need escaping.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url.replace("guest:guest", &format!("{user}:{password}"))
    }

    /// Sets a user's permissions here, as regular expressions over names.
    pub async fn permit(&self, user: &str, configure: &str, write: &str, read: &str) {
        self.broker.eval(&self.permission(user, configure, write, read)).await;
    }

    fn permission(&self, user: &str, configure: &str, write: &str, read: &str) -> String {
        let [user, vhost, configure, write, read] = [user, &self.name, configure, write, read].map(binary);
        let arguments = format!("{user}, {vhost}, {configure}, {write}, {read}, {GUEST}");
        format!("ok = rabbit_auth_backend_internal:set_permissions({arguments})")
    }

    /// Limits how many connections or queues this vhost may have: `max-connections` or `max-queues`.
    pub async fn limit(&self, what: &str, limit: usize) {
        let (name, limits) = (binary(&self.name), format!("[{{{}, {limit}}}]", binary(what)));
        self.broker.eval(&format!("ok = rabbit_vhost_limit:set({name}, {limits}, {GUEST})")).await;
    }

    /// Permits a user to publish to an exchange with some routing keys only, given as a regular expression.
    pub async fn permit_topic(&self, user: &str, exchange: &str, write: &str) {
        let [user, vhost, exchange, write, read] = [user, &self.name, exchange, write, ".*"].map(binary);
        let arguments = format!("{user}, {vhost}, {exchange}, {write}, {read}, {GUEST}");
        self.broker
            .eval(&format!("ok = rabbit_auth_backend_internal:set_topic_permissions({arguments})"))
            .await;
    }

    /// RabbitMQ's description of an exchange, as the text of an Erlang term without spaces.
    pub async fn exchange(&self, exchange: &str) -> String {
        let resource = format!("rabbit_misc:r({}, exchange, {})", binary(&self.name), binary(exchange));
        let items = "[type, durable, auto_delete, internal, arguments]";
        self.described(&format!(
            "rabbit_exchange:info(element(2, rabbit_exchange:lookup({resource})), {items})"
        ))
        .await
    }

    /// RabbitMQ's description of a queue, in the same form.
    pub async fn queue(&self, queue: &str) -> String {
        let resource = format!("rabbit_misc:r({}, queue, {})", binary(&self.name), binary(queue));
        self.described(&format!("amqqueue:get_arguments(element(2, rabbit_amqqueue:lookup({resource})))"))
            .await
    }

    /// RabbitMQ's description of all bindings of an exchange, in the same form.
    pub async fn bindings(&self, source: &str) -> String {
        let resource = format!("rabbit_misc:r({}, exchange, {})", binary(&self.name), binary(source));
        let items = "[destination_name, destination_kind, routing_key, arguments]";
        let all = format!("rabbit_binding:list_for_source({resource})");
        self.described(&format!("[rabbit_binding:info(B, {items}) || B <- {all}]")).await
    }

    /// RabbitMQ's description of every queue, exchange and binding, in the same form and in a fixed order. Without exclusive queues,
    /// such as the gateway's reply queue, and without the bindings that each queue has to the default exchange.
    pub async fn definitions(&self) -> String {
        let vhost = binary(&self.name);
        let queue = "element(4, amqqueue:get_name(Q)), amqqueue:get_type(Q), amqqueue:is_durable(Q), \
                     amqqueue:is_auto_delete(Q), lists:sort(amqqueue:get_arguments(Q))";
        let is_shared = "amqqueue:get_exclusive_owner(Q) =:= none";
        let queues = format!("[{{{queue}}} || Q <- rabbit_amqqueue:list({vhost}), {is_shared}]");
        let items = "[name, type, durable, auto_delete, internal, arguments]";
        let exchanges = format!("[rabbit_exchange:info(X, {items}) || X <- rabbit_exchange:list({vhost})]");
        let items = "[source_name, destination_name, destination_kind, routing_key, arguments]";
        let infos = format!("[rabbit_binding:info(B, {items}) || B <- rabbit_binding:list({vhost})]");
        let bindings = format!("[I || I <- {infos}, hd(I) =/= {{source_name, <<>>}}]");
        self.described(&format!("[lists:sort(L) || L <- [{queues}, {exchanges}, {bindings}]]")).await
    }

    async fn described(&self, expression: &str) -> String {
        let text = format!("lists:flatten(io_lib:format(\"~0p\", [{expression}]))");
        self.broker.eval(&text).await.replace([' ', '\n', '\\'], "").trim_matches('"').to_owned()
    }

    /// Closes every connection to this vhost with 320 `CONNECTION_FORCED`.
    pub async fn close_connections(&self) {
        let mine = self.connections_of("C");
        let close = "rabbit_networking:close_connection(C, <<\"closed by a test\">>)";
        self.broker.eval(&format!("[{close} || {mine}]")).await;
    }

    /// Deletes every queue whose name RabbitMQ generated, with any owner; gives the number of queues.
    pub async fn delete_generated_queues(&self) -> usize {
        let (name, vhost) = ("element(4, amqqueue:get_name(Q))", binary(&self.name));
        let mine =
            format!("Q <- rabbit_amqqueue:list({vhost}), binary:match({name}, <<\"amq.gen-\">>) =/= nomatch");
        let delete = format!("rabbit_amqqueue:delete(Q, false, false, {GUEST})");
        let count = self.broker.eval(&format!("length([{delete} || {mine}])")).await;
        count.parse().expect("a length is a number")
    }

    /// Suspends the process of a classic queue, or the leader of a quorum queue, until the result is resumed or dropped.
    pub async fn suspend_queue(&self, queue: &str) -> StuckQueue<'_> {
        StuckQueue::suspend(self.broker, &binary(&self.name), &binary(queue)).await
    }

    /// The number of messages of a quorum queue that consumers have and have not answered.
    pub async fn unacked(&self, queue: &str) -> usize {
        let count = format!(
            "begin {{ok, Q}} = rabbit_amqqueue:lookup({{resource, {}, queue, {}}}), \
             {{ok, {{_, N}}, _}} = ra:local_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_checked_out/1), \
             N end",
            binary(&self.name),
            binary(queue)
        );
        self.broker.eval(&count).await.parse().expect("a count is a number")
    }

    /// The number of connections of this vhost.
    pub async fn connection_count(&self) -> usize {
        let count = self.broker.eval(&format!("length([C || {}])", self.connections_of("C"))).await;
        count.parse().expect("a length is a number")
    }

    /// The number of channels in confirm mode in this vhost.
    pub async fn confirm_channel_count(&self) -> usize {
        self.broker.confirm_channel_count_in(&self.name).await
    }

    /// Deletes the vhost with its contents; RabbitMQ closes its connections.
    pub async fn delete(&self) {
        let name = binary(&self.name);
        self.broker.eval(&format!("rabbit_vhost:delete({name}, {GUEST})")).await;
    }

    /// Makes the vhost, empty, with all permissions for guest: also after [`Self::delete`]. One call does both, since RabbitMQ
    /// refuses guest in between.
    pub async fn create(&self) {
        let (name, permission) = (binary(&self.name), self.permission("guest", ".*", ".*", ".*"));
        self.broker.eval(&format!("ok = rabbit_vhost:add({name}, {GUEST}), {permission}")).await;
    }

    fn connections_of(&self, variable: &str) -> String {
        let vhost = binary(&self.name);
        format!(
            "{variable} <- rabbit_networking:local_connections(), \
             (catch rabbit_networking:connection_info({variable}, [vhost])) =:= [{{vhost, {vhost}}}]"
        )
    }
}

/// The acting user, for RabbitMQ's events.
const GUEST: &str = "<<\"guest\">>";

/// An Erlang binary that holds the text.
pub fn binary(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}
