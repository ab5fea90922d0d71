//! The bounds of a plan without runs on a machine.

use super::*;
use crate::machine::Machine;
use crate::plan::Plan;
use crate::recorder::Latency;
use crate::results::{Repeated, Run};
use crate::sample::Waiting;

/// Every contestant of the plan answers the same number of requests a second at the same cost, except for those that are
/// slower.
fn results(plan: Plan, slower: &[Contestant]) -> Results {
    let mut runs = Vec::new();
    for workload in &plan.workloads {
        for contestant in &workload.contestants {
            let requests = if slower.contains(contestant) { 250 } else { 1_000 };
            let latency = Latency { p50: 100_000 / requests, ..Latency::default() };
            let (contestant_cpu, broker_cpu) = (0.009, 0.06);
            let sample =
                Sample { requests, seconds: 1.0, latency, contestant_cpu, broker_cpu, ..Sample::default() };
            let workload = workload.name.clone();
            runs.push(Run { round: 0, workload, contestant: *contestant, sample });
        }
    }
    Results { machine: Machine::default(), plan, repeated: Repeated::default(), minutes: 0.0, runs }
}

fn missed(results: &Results) -> Vec<String> {
    goals(results).into_iter().filter(|goal| !goal.is_met).map(|goal| goal.what).collect()
}

#[test]
fn the_quick_plan_measures_every_bound_of_speed_and_cost() {
    let missed = missed(&results(Plan::quick(), &[Contestant::Gateway]));
    for title in [
        "Publish, 64 callers: requests a second",
        "Publish, 256 callers: requests a second",
        "Publish, 64 callers, quorum queue: requests a second",
        "Publish, 64 callers, transient: requests a second",
        "RPC, 64 callers: requests a second",
        "Batches of 100, 4 clients: messages a second",
        "Batches of 100, 4 clients, quorum queue: messages a second",
        "Batches of 100, 4 clients, transient: messages a second",
        "Batches of 100, 4 clients: the gateway's CPU",
        "Publish streams, 4 clients: messages a second",
        "Publish streams, 4 clients, quorum queue: messages a second",
        "Publish streams, 4 clients, transient: messages a second",
        "Publish streams, 4 clients: the gateway's CPU",
        "Publish, 64 callers: the gateway's CPU",
        "Publish, 1 caller: p50",
        "Pull 100 and ack, 16 workers: messages a second",
        "Pull 100 and ack, 16 workers, quorum queue: messages a second",
        "Pull 1 and ack, 64 workers: messages a second",
        "Pull 1 and ack, 64 workers, quorum queue: messages a second",
        "Pull 100 and ack, 16 workers: RabbitMQ's CPU",
        "Pull 100 and ack, 16 workers, quorum queue: RabbitMQ's CPU",
        "Pull 1 and ack, 64 workers: RabbitMQ's CPU",
        "Pull 1 and ack, 64 workers, quorum queue: RabbitMQ's CPU",
    ] {
        assert!(missed.iter().any(|what| what.starts_with(title)), "{title} is not in {missed:?}");
    }
    let contestants = Plan::quick().workloads.into_iter().flat_map(|workload| workload.contestants);
    let peers: Vec<_> = contestants.filter(|contestant| contestant.is_peer()).collect();
    assert_eq!(self::missed(&results(Plan::quick(), &peers)), Vec::<String>::new());
}

#[test]
fn a_bound_without_its_contestants_is_left_out() {
    let mut plan = Plan::full();
    for workload in &mut plan.workloads {
        workload.contestants.retain(|it| *it == Contestant::Floor);
    }
    assert!(goals(&results(plan, &[])).is_empty());
}

#[test]
fn the_memory_of_a_long_stream_may_grow_by_8_megabytes() {
    let growth_is_met = |memory| {
        let mut plan = Plan::full();
        plan.workloads.retain(|workload| workload.name == "stream-long");
        let mut results = results(plan, &[]);
        results.runs[0].sample.stream_memory = memory;
        let goals = goals(&results);
        assert_eq!(goals.len(), 1);
        goals[0].is_met
    };
    assert!(growth_is_met(Some([20_000_000, 28_000_000])));
    assert!(growth_is_met(Some([20_000_000, 19_000_000])));
    assert!(!growth_is_met(Some([20_000_000, 28_000_001])));
    assert!(!growth_is_met(None));
}

/// Whether the bounds of these workloads are met, after a change of the results.
fn met(names: &[&str], change: impl Fn(&str, Contestant, &mut Sample)) -> Vec<bool> {
    let mut plan = Plan::full();
    plan.workloads.retain(|workload| names.contains(&workload.name.as_str()));
    let mut results = results(plan, &[]);
    for run in &mut results.runs {
        change(&run.workload, run.contestant, &mut run.sample);
    }
    goals(&results).into_iter().map(|goal| goal.is_met).collect()
}

#[test]
fn a_message_may_take_the_gateway_some_hundred_microseconds_longer() {
    for (name, bound) in [("one-worker", 400), ("long-poll", 300)] {
        let longer = |by: u64| {
            met(&[name], |_, contestant, sample| {
                sample.latency.p50 = if contestant.is_direct() { 70 } else { 70 + by };
            })
        };
        assert_eq!([longer(bound), longer(bound + 1)], [[true], [false]], "{name}");
    }
}

#[test]
fn an_ack_at_another_replica_may_take_one_round_trip_longer() {
    let names = ["settle-own", "settle-elsewhere", "rpc-1"];
    let latencies = |own, elsewhere| {
        met(&names, |workload, _, sample| {
            sample.latency.p50 = match workload {
                "settle-own" => own,
                "settle-elsewhere" => elsewhere,
                _ => 150,
            };
        })
    };
    assert_eq!([latencies(200, 350), latencies(200, 351)], [[true], [false]]);
    assert!(met(&names[..2], |_, _, _| {}).is_empty());
}

#[test]
fn callers_who_wait_may_cost_16_kibibytes_each_and_no_cpu() {
    let met = |memory, cpu| met(&["waiting"], |_, _, sample| sample.waiting = Some(Waiting { memory, cpu }));
    assert_eq!(met(16_384.0, 0.01), [true, true]);
    assert_eq!(met(16_385.0, 0.011), [false, false]);
    assert_eq!(self::met(&["waiting"], |_, _, _| {}), [false, false]);
}

#[test]
fn api_keys_may_cost_a_fiftieth_of_the_rate() {
    let is_met = |with_keys| {
        let mut plan = Plan::quick();
        plan.workloads.retain(|workload| workload.name == "keys");
        let mut results = results(plan, &[]);
        let of_keys = |run: &&mut Run| run.contestant == Contestant::GatewayWithKeys;
        for run in results.runs.iter_mut().filter(of_keys) {
            run.sample.requests = with_keys;
        }
        goals(&results).iter().map(|goal| goal.is_met).collect::<Vec<_>>()
    };
    // At the same CPU time, fewer requests cost more CPU each: 9 and 10.6 µs.
    assert_eq!(
        [1_000, 980, 979, 849].map(is_met),
        [[true, true], [true, true], [false, true], [false, false]]
    );
}
