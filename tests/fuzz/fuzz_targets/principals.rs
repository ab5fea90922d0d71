//! No file of principals makes its reader panic, and no message about a mistake has a key in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rabbitmq_gateway::config::principals::read;
use rabbitmq_gateway::domain::access::ApiKey;

const KEY: &str = "rgw_";

fuzz_target!(|content: &str| {
    // The marker stands for a key that an operator wrote into the file by mistake.
    let secret = ApiKey::generate();
    let content = content.replace(KEY, secret.reveal());
    if let Err(mistakes) = read(&content, 100) {
        assert!(!mistakes.is_empty());
        assert!(mistakes.iter().all(|mistake| !mistake.contains(secret.reveal())), "a message has a key");
    }
});
