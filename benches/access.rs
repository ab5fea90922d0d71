//! The cost of an API key and of a permission, by `make bench-access`: at most 1 µs for a key, and 0.3 µs for a permission with ten
//! patterns. A request has one key, and one permission for each routing key of its message.

use std::sync::Arc;
use std::time::SystemTime;

use divan::{Bencher, black_box};
use rabbitmq_gateway::domain::access::{ApiKey, Key, Need, Permissions, Principal, Principals, Verb};

fn main() {
    divan::main();
}

/// A key, and a hundred principals of which one has it.
#[divan::bench]
fn api_key(bencher: Bencher<'_, '_>) {
    let mut principals = Principals::default();
    let keys: Vec<_> = (0..100).map(|_| ApiKey::generate()).collect();
    for (n, key) in keys.iter().enumerate() {
        let principal = Principal { name: format!("p{n}").into(), permissions: Permissions::default() };
        let principal = principals.add(principal).expect("a new name");
        principals.add_key(key.digest(), &principal, None);
    }
    let text = keys[50].reveal();
    bencher.bench(|| {
        let key: ApiKey = black_box(text).parse().expect("a key");
        principals.of_key(&key.digest(), SystemTime::now()).map(Arc::clone)
    });
}

/// Ten patterns, of which only the last one covers the name and the routing key.
#[divan::bench(args = ["literal", "with stars"])]
fn permission(bencher: Bencher<'_, '_>, patterns: &str) {
    let mut permissions = Permissions::default();
    for n in 0..10 {
        let pattern = match patterns {
            "literal" => format!("orders-{n}/eu.new"),
            _ => format!("or*-{n}/eu.*.n*w"),
        };
        permissions.grant(Verb::Write, &pattern, "shop").expect("a pattern");
    }
    let key = if patterns == "literal" { "eu.new" } else { "eu.west.paris.new" };
    bencher.bench(|| {
        let need = Need::write(black_box("orders-9"), Key::One(black_box(key)));
        let missing = permissions.missing([need.into()]);
        assert!(missing.is_empty());
    });
}
