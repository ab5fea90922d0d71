//! The route table. Each line is an operation: its handler, which also writes the contract, and its traits.

mod operation;
mod table;
mod traits;

use utoipa_axum::routes;

pub(super) use self::operation::Operation;
pub use self::table::{Direct, Route, RouteTable};
pub use self::traits::{Admission, Traits};
use self::traits::{
    CALL, CHANGE, PAGE, PROBE, PUBLISH, PUBLISH_BATCH, PUBLISH_STREAM, PULL, SERVED_WHEN_FULL, SETTLE,
    SETTLE_ITEMS, TOPOLOGY,
};
use super::endpoints::{
    bindings, exchanges, health, leases, messages, metrics, publish, queues, rpc, topology, whoami,
};
use super::{docs, problem};
use crate::domain::permission::Permission::{
    Any, Authenticated, Bind, Call, Configure, Document, Monitoring, Read, Write,
};

/// The operations of the contract.
pub(super) fn operations() -> Vec<Operation> {
    let operation = Operation::new;
    vec![
        operation(routes!(publish::publish_message), PUBLISH.needs(Write))
            .called_directly(publish::publish_message),
        operation(routes!(publish::batch::publish_batch), PUBLISH_BATCH.needs(Write)),
        operation(routes!(publish::stream::publish_stream), PUBLISH_STREAM.needs(Write)),
        operation(routes!(queues::inspect_queue), TOPOLOGY.needs(Any)),
        operation(routes!(queues::declare_queue), CHANGE.needs(Configure)),
        operation(routes!(queues::delete_queue), CHANGE.needs(Configure)),
        operation(routes!(queues::purge_queue), CHANGE.needs(Read)),
        operation(routes!(messages::pull::pull_messages), PULL.needs(Read))
            .called_directly(messages::pull::pull_messages),
        operation(routes!(messages::next::take_next_message), PULL.needs(Read))
            .called_directly(messages::next::take_next_message),
        operation(routes!(messages::settle::settle_messages), SETTLE_ITEMS.needs(Read)),
        operation(routes!(leases::ack_lease), SETTLE.needs(Read)),
        operation(routes!(leases::ack_lease_by_post), SETTLE.needs(Read)),
        operation(routes!(leases::release_lease), SETTLE.needs(Read)),
        operation(routes!(leases::reject_lease), SETTLE.needs(Read)),
        operation(routes!(leases::extend_lease), SETTLE.needs(Read)),
        operation(routes!(leases::copies::retry_lease), SETTLE.needs(Read)),
        operation(routes!(leases::copies::dead_letter_lease), SETTLE.needs(Read)),
        operation(routes!(leases::reply::reply_to_lease), SETTLE.needs(Read)),
        operation(routes!(rpc::call_queue), CALL.needs(Call)).called_directly(rpc::call_queue),
        operation(routes!(exchanges::declare_exchange), CHANGE.needs(Configure)),
        operation(routes!(exchanges::inspect_exchange), TOPOLOGY.needs(Any)),
        operation(routes!(exchanges::delete_exchange), CHANGE.needs(Configure)),
        operation(routes!(bindings::bind_queue), CHANGE.needs(Bind)),
        operation(routes!(bindings::unbind_queue), CHANGE.needs(Bind)),
        operation(routes!(bindings::bind_exchange), CHANGE.needs(Bind)),
        operation(routes!(bindings::unbind_exchange), CHANGE.needs(Bind)),
        operation(routes!(topology::apply_topology), CHANGE.needs(Document)),
        operation(routes!(whoami::show_caller), SERVED_WHEN_FULL.needs(Authenticated)),
        operation(routes!(health::check_liveness), PROBE),
        operation(routes!(health::check_readiness), PROBE),
        operation(routes!(health::check_rabbitmq), PROBE.needs(Monitoring)),
        operation(routes!(metrics::read_metrics), SERVED_WHEN_FULL.needs(Monitoring)),
    ]
}

/// The paths of the pages, which are not part of the contract.
pub(super) fn pages() -> impl Iterator<Item = (&'static str, Traits)> {
    let paths = docs::PATHS.iter().chain(&problem::page::PATHS).chain(&["/openapi.json"]);
    paths.map(|path| (*path, PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::permission::Permission;

    #[test]
    fn every_operation_but_the_probes_needs_a_permission() {
        let open: Vec<_> = operations()
            .iter()
            .filter(|it| it.traits().permission == Permission::Open)
            .flat_map(|it| it.requests().map(|(path, _)| path.to_owned()).collect::<Vec<_>>())
            .collect();
        assert_eq!(open, ["/health/live", "/health/ready"]);
    }

    /// A new operation has to be written here too.
    #[test]
    fn each_operation_needs_the_permission_that_its_names_ask_for() {
        let mut needed: Vec<_> = operations()
            .iter()
            .filter(|it| it.traits().permission != Permission::Open)
            .flat_map(|it| {
                it.requests()
                    .map(|(path, method)| (format!("{method} {path}"), it.traits().permission))
                    .collect::<Vec<_>>()
            })
            .collect();
        needed.sort_by(|(left, _), (right, _)| left.cmp(right));
        let expected = [
            ("DELETE /exchanges/{name}", Configure),
            ("DELETE /exchanges/{name}/bindings/{source}", Bind),
            ("DELETE /queues/{name}", Configure),
            ("DELETE /queues/{name}/bindings/{exchange}", Bind),
            ("DELETE /queues/{name}/leases/{lease_id}", Read),
            ("DELETE /queues/{name}/messages", Read),
            ("GET /exchanges/{name}", Any),
            ("GET /health/rabbitmq", Monitoring),
            ("GET /metrics", Monitoring),
            ("GET /queues/{name}", Any),
            ("GET /whoami", Authenticated),
            ("POST /publish/{exchange}", Write),
            ("POST /publish/{exchange}/batch", Write),
            ("POST /publish/{exchange}/stream", Write),
            ("POST /queues/{name}/leases/{lease_id}/ack", Read),
            ("POST /queues/{name}/leases/{lease_id}/dead-letter", Read),
            ("POST /queues/{name}/leases/{lease_id}/extend", Read),
            ("POST /queues/{name}/leases/{lease_id}/reject", Read),
            ("POST /queues/{name}/leases/{lease_id}/release", Read),
            ("POST /queues/{name}/leases/{lease_id}/reply", Read),
            ("POST /queues/{name}/leases/{lease_id}/retry", Read),
            ("POST /queues/{name}/messages/next", Read),
            ("POST /queues/{name}/messages/pull", Read),
            ("POST /queues/{name}/messages/settle", Read),
            ("POST /rpc/{queue}", Call),
            ("PUT /exchanges/{name}", Configure),
            ("PUT /exchanges/{name}/bindings/{source}", Bind),
            ("PUT /queues/{name}", Configure),
            ("PUT /queues/{name}/bindings/{exchange}", Bind),
            ("PUT /topology", Document),
        ];
        assert_eq!(needed, expected.map(|(operation, permission)| (operation.to_owned(), permission)));
    }
}
