//! The gateway's permissions compared with RabbitMQ's plugin for OAuth 2: random grants are the scopes of a token for RabbitMQ and the
//! permissions of a principal for the gateway, and both decide about the same random operations.
//!
//! Every difference must follow from a [`Rule`] of the gateway, and a permission that RabbitMQ does not give from one of the three wider ones.

#![expect(clippy::print_stdout, reason = "the figures of the long form")]

mod broker_side;
mod gateway_side;
mod grant;
mod operation;
mod over_http;
mod places;
mod random;
mod rules;
mod token;

use std::{collections::BTreeMap, time::Instant};

use rabbitmq_gateway::domain::access::ApiKey;

use self::{
    broker_side::Tester,
    grant::Grant,
    operation::Operation,
    random::{Random, seed_of_this_run},
    rules::{Decision, Rule, Rules},
};
use crate::support::{
    broker::{Broker, Vhost},
    gateway::TestGateway,
    observer::Observer,
};

/// Operations with one token.
const OPERATIONS: usize = 25;
/// The first of them, for which the token has grants.
const FAVOURED: usize = 6;
/// Fewer grants than this have nothing to do with them.
const OTHER_GRANTS: usize = 4;
/// Of the short form.
const TOKENS: usize = 16;
/// Principals of the form over HTTP.
const PRINCIPALS: usize = 12;
/// Of the long form.
const DECISIONS: usize = 10_000;

/// Results of the comparison.
#[derive(Default)]
struct Report {
    decisions: usize,
    /// Permitted by both sides.
    permitted: usize,
    /// How often each rule made a difference.
    by_rule: BTreeMap<Rule, usize>,
    /// Differences in which the gateway permits.
    wider: usize,
    /// Differences in which the gateway refuses.
    stricter: usize,
}

/// Decides about random operations with random grants.
struct Comparison<'a> {
    seed: u64,
    random: Random,
    vhost: Vhost<'a>,
    admin: Observer,
    /// The first one has the rules of RabbitMQ.
    every_set: Vec<Rules>,
    report: Report,
}

impl Comparison<'_> {
    async fn begin(name: &str, seed: u64) -> Self {
        let broker = Broker::shared().await;
        broker_side::accept_tokens(broker).await;
        let vhost = broker.vhost(name).await;
        let admin = Observer::connect(&vhost.url).await;
        broker_side::declare_all(&admin).await;
        let every_set = Rules::every_with(Rules::of_rabbitmq(broker.major_version().await));
        let random = Random::new(seed);
        Self { seed, random, vhost, admin, every_set, report: Report::default() }
    }

    async fn compare(&mut self) {
        let (grants, operations) = draw(&mut self.random);
        let mut scopes: Vec<_> = grants.iter().map(|grant| grant.scope(&self.vhost.name)).collect();
        // RabbitMQ admits no token without a scope for the virtual host.
        scopes.push(format!("read:{}/none", self.vhost.name));
        let permissions = gateway_side::permissions(&grants);
        let mut tester = Tester::login(&self.vhost, &token::with_scopes(&scopes)).await;
        for operation in &operations {
            let broker = tester.is_permitted(operation).await;
            broker_side::undo(&self.admin, operation, broker).await;
            let gateway = gateway_side::permits(&permissions, operation);
            let rules = explain(&self.every_set, &grants, operation, (broker, gateway));
            let rules = rules.unwrap_or_else(|why| {
                let decisions = format!("RabbitMQ {}, the gateway {}", word(broker), word(gateway));
                panic!("seed {}: {operation:?} with {scopes:?}: {decisions}; {why}", self.seed)
            });
            let beyond = rules.iter().filter(|rule| !self.every_set[0].has(*rule));
            self.report.note((broker, gateway), beyond);
        }
    }
}

/// Operations, and grants for one token: most of those that some of the operations need, and a few others.
fn draw(random: &mut Random) -> (Vec<Grant>, Vec<Operation>) {
    let operations: Vec<_> = (0..OPERATIONS).map(|_| Operation::any(random)).collect();
    let mut grants = Vec::new();
    for operation in &operations[..FAVOURED] {
        for touched in operation.touches() {
            if random.percent(85) {
                grants.push(Grant::near(touched, random));
            }
        }
    }
    grants.extend((0..random.below(OTHER_GRANTS)).map(|_| Grant::any(random)));
    (grants, operations)
}

/// The smallest set of rules that leads to the decision of the gateway; the rules of RabbitMQ where both decide the same.
fn explain(
    every_set: &[Rules],
    grants: &[Grant],
    operation: &Operation,
    (broker, gateway): (bool, bool),
) -> Result<Rules, String> {
    let under = |rules| Decision { rules, grants }.permits(operation);
    for (side, decision, rules) in [("RabbitMQ", broker, every_set[0]), ("the gateway", gateway, Rules::ALL)]
    {
        if decision != under(rules) {
            return Err(format!("the decision of {side} does not follow from its rules"));
        }
    }
    let smallest = every_set.iter().find(|rules| under(**rules) == gateway);
    let rules = *smallest.expect("the set of all rules is one");
    let is_sound = broker || !gateway || rules.iter().any(Rule::is_wider);
    if is_sound { Ok(rules) } else { Err("no wider rule explains it".to_owned()) }
}

fn word(decision: bool) -> &'static str {
    if decision { "permits" } else { "refuses" }
}

impl Report {
    fn note(&mut self, decisions: (bool, bool), rules: impl Iterator<Item = Rule>) {
        self.decisions += 1;
        match decisions {
            (true, true) => self.permitted += 1,
            (false, true) => self.wider += 1,
            (true, false) => self.stricter += 1,
            (false, false) => {}
        }
        rules.for_each(|rule| *self.by_rule.entry(rule).or_default() += 1);
    }
}

/// A few hundred decisions, always the same ones.
#[tokio::test]
async fn permissions_differ_from_scopes_of_rabbitmq_by_named_rules_only() {
    let mut comparison = Comparison::begin("oauth_short", 1).await;
    for _ in 0..TOKENS {
        comparison.compare().await;
    }
    let Report { decisions, permitted, stricter, wider, .. } = comparison.report;
    assert_eq!(decisions, TOKENS * OPERATIONS);
    let figures = format!("{permitted} permitted, {stricter} by RabbitMQ only, {wider} by the gateway only");
    assert!(permitted > 100 && stricter > 20 && wider > 10, "{figures}");
}

#[tokio::test]
#[ignore = "a minute: make test-oauth2"]
async fn ten_thousand_decisions_differ_from_those_of_rabbitmq_by_named_rules_only() {
    let seed = seed_of_this_run();
    println!("figure: GATEWAY_TEST_SEED={seed}");
    let begin = Instant::now();
    let mut comparison = Comparison::begin("oauth_long", seed).await;
    while comparison.report.decisions < DECISIONS {
        comparison.compare().await;
    }
    let Comparison { report, every_set, .. } = comparison;
    let Report { decisions, permitted, by_rule, wider, stricter } = report;
    println!("figure: {decisions} decisions in {:.1?}, {permitted} permitted by both sides", begin.elapsed());
    println!("figure: {stricter} refused by the gateway only, {wider} permitted by the gateway only");
    for rule in Rule::ALL.into_iter().filter(|rule| !every_set[0].has(*rule)) {
        let count = by_rule.get(&rule).copied().unwrap_or_default();
        println!("figure: {count:5} {rule:?}");
        assert!(count > 0, "seed {seed}: no decision reached the rule {rule:?}");
    }
}

#[tokio::test]
async fn a_gateway_decides_over_http_as_its_permissions_do() {
    let vhost = Broker::shared().await.vhost("oauth_http").await;
    let admin = Observer::connect(&vhost.url).await;
    broker_side::declare_all(&admin).await;
    let mut random = Random::new(1);
    let principals: Vec<_> = (0..PRINCIPALS).map(|_| (ApiKey::generate(), draw(&mut random))).collect();
    let file: String = principals
        .iter()
        .enumerate()
        .map(|(number, (key, (grants, _)))| over_http::principal(&format!("p{number}"), key, grants))
        .collect();
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url), ("GATEWAY_PRINCIPALS", &file)]).await;
    let (mut permitted, mut refused) = (0, 0);
    for (key, (grants, operations)) in &principals {
        let permissions = gateway_side::permissions(grants);
        for operation in operations {
            let Some(decision) = over_http::is_permitted(&gateway, key, operation).await else { continue };
            let expected = gateway_side::permits(&permissions, operation);
            assert_eq!(decision, expected, "{operation:?} with {grants:?}");
            *(if decision { &mut permitted } else { &mut refused }) += 1;
            broker_side::undo(&admin, operation, decision).await;
        }
    }
    assert!(permitted > 30 && refused > 30, "{permitted} permitted, {refused} refused");
}
