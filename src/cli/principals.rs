//! The principals of the file, as `check-config` prints them: who has how many keys, and may do what. Never a key or its hash.

use std::time::SystemTime;

use super::toml_text::{key_of_toml, list_of_toml};
use crate::domain::access::{ANONYMOUS, KeyState, Principal, Principals, Verb};

/// A block for each principal, in the form of the file. The permissions of its roles stand in it too.
pub(super) fn blocks(principals: &Principals, now: SystemTime) -> String {
    let keys = principals.keys_by_owner();
    let block = |principal: &Principal| {
        let mut keys: Vec<_> =
            keys.get(&*principal.name).into_iter().flatten().map(|(_, state)| *state).collect();
        keys.sort_unstable();
        block(principal, &keys, now)
    };
    principals.all().into_iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(principal: &Principal, keys: &[KeyState], now: SystemTime) -> String {
    let Principal { name, permissions } = principal;
    let keys =
        if &**name == ANONYMOUS { "requests without credentials".to_owned() } else { of_keys(keys, now) };
    let mut block = format!("[principals.{}]  # {keys}\n", key_of_toml(name));
    for verb in Verb::ALL {
        let patterns: Vec<_> = permissions.grants(verb).iter().map(ToString::to_string).collect();
        block += &list_of_toml(verb.word(), patterns.iter().map(String::as_str));
    }
    block + &list_of_toml("tags", permissions.may_monitor().then_some("monitoring").into_iter())
}

/// The number of keys, and the keys that expire or are revoked.
fn of_keys(keys: &[KeyState], now: SystemTime) -> String {
    let count = match keys.len() {
        0 => return "no key".to_owned(),
        1 => "1 key".to_owned(),
        more => format!("{more} keys"),
    };
    let special = keys.iter().filter_map(|key| match *key {
        KeyState::Revoked => Some("one is revoked".to_owned()),
        KeyState::Until(None) => None,
        KeyState::Until(Some(end)) if end <= now => Some(format!("one has expired at {}", shown(end))),
        KeyState::Until(Some(end)) => Some(format!("one until {}", shown(end))),
    });
    [count].into_iter().chain(special).collect::<Vec<_>>().join(", ")
}

fn shown(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "a far time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::principals::read;
    use crate::domain::access::ApiKey;

    #[test]
    fn a_block_has_the_permissions_in_the_form_of_the_file_and_no_hash() {
        let digests = [(); 5].map(|()| ApiKey::generate().digest().to_string());
        let [shop, acme, old, revoked, short] = &digests;
        let file = format!(
            r#"
            revoked = ["{revoked}"]
            [roles.tenant]
            write = ["{{principal}}.*"]
            [principals.shop]
            keys = ["{shop}"]
            write = ["orders", "amq.default/invoices"]
            tags = ["monitoring"]
            [principals."a.b"]
            keys = ["{acme}", {{ hash = "{old}", until = 1970-01-02 }}, "{revoked}", {{ hash = "{short}", until = 1970-01-03 }}]
            read = ["q"]
            roles = ["tenant"]
            [principals.anonymous]
            call = ["public.*"]
            [principals.nobody]
            "#
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(36);
        let printed = blocks(&read(&file, 10).expect("a file"), now);
        let expected = r#"[principals."a.b"]  # 4 keys, one has expired at 1970-01-02T00:00:00Z, one until 1970-01-03T00:00:00Z, one is revoked
write = ["a.b.*"]
read = ["q"]

[principals.anonymous]  # requests without credentials
call = ["public.*"]

[principals.nobody]  # no key

[principals.shop]  # 1 key
write = ["orders", "amq.default/invoices"]
tags = ["monitoring"]
"#;
        assert_eq!(printed, expected);
    }
}
