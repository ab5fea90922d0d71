//! The line of a file that a refusal proposes gives exactly the permission that was missing, and the scope has the form of RabbitMQ's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rabbitmq_gateway::config::principals::read;
use rabbitmq_gateway::domain::access::{ApiKey, Key, Need};

fuzz_target!(|input: (u8, &str, Option<&str>, &str)| {
    let (verb, name, key, vhost) = input;
    let key = key.map_or(Key::Every, Key::One);
    let need = match verb % 4 {
        0 => Need::write(name, key),
        1 => Need::read(name, key),
        2 => Need::configure(name),
        _ => Need::call(name),
    };
    let scope = need.scope(vhost);
    let (_, rest) = scope.split_once(':').expect("a verb");
    assert!(rest.split('/').count() <= 3, "{scope}");
    assert!(!rest.contains('*'), "{scope}");
    let Ok(principals) = read(&format!("[principals.p]\n{}\n", need.in_file()), 10) else {
        // A pattern has no control characters, an empty name is no name, and no text of the file has the beginning of a key.
        let is_text = |text: &str| !text.chars().any(char::is_control);
        let has_key = if let Key::One(key) = key { is_text(key) } else { true };
        let is_name = is_text(name) && !name.is_empty() && !ApiKey::is_like(&need.in_file());
        assert!(!is_name || !has_key, "{}", need.in_file());
        return;
    };
    let principal = principals.named("p").expect("the principal");
    assert!(principal.permissions.allow(&need), "{}", need.in_file());
});
