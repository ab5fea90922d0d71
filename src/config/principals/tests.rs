use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::domain::access::{ApiKey, Key, KeyDigest, Need};

const MOST: usize = 100;

fn mistakes(content: &str) -> Vec<String> {
    read(content, MOST).expect_err(content)
}

fn may_write(principals: &Principals, name: &str, exchange: &str, key: &str) -> bool {
    let principal = principals.named(name).expect(name);
    principal.permissions.allow(&Need::write(exchange, Key::One(key)))
}

fn of_key<'a>(principals: &'a Principals, digest: &KeyDigest, now: SystemTime) -> Option<&'a str> {
    principals.of_key(digest, now).map(|principal| &*principal.name)
}

#[test]
fn a_principal_has_its_own_permissions_and_those_of_its_roles() {
    let [shop, acme] = [(); 2].map(|()| ApiKey::generate().digest());
    let content = format!(
        r#"
        [principals.shop]
        keys = ["{shop}"]
        write = ["orders", "amq.default/invoices"]
        read = ["shop.*"]
        configure = ["shop.*"]
        call = ["pricing"]
        tags = ["monitoring"]
        [roles.tenant]
        write = ["{{principal}}.*"]
        [principals.acme]
        keys = ["{acme}"]
        roles = ["tenant"]
        [principals.anonymous]
        call = ["public.*"]
        "#
    );
    let principals = read(&content, MOST).expect("a file");
    assert_eq!((principals.len(), of_key(&principals, &shop, UNIX_EPOCH)), (3, Some("shop")));
    assert_eq!(of_key(&principals, &acme, UNIX_EPOCH), Some("acme"));
    for (name, exchange, key, expected) in [
        ("shop", "orders", "eu", true),
        ("shop", "amq.default", "invoices", true),
        ("shop", "amq.default", "other", false),
        ("acme", "acme.events", "", true),
        ("acme", "shop.events", "", false),
        ("anonymous", "orders", "", false),
    ] {
        assert_eq!(may_write(&principals, name, exchange, key), expected, "{name} {exchange} {key}");
    }
    let of = |name: &str| &principals.named(name).expect(name).permissions;
    assert!(of("shop").allow(&Need::call("pricing")) && of("anonymous").allow(&Need::call("public.a")));
    assert!(of("shop").may_monitor() && !of("acme").may_monitor());
    assert_eq!(principals.anonymous().map(|it| &*it.name), Some("anonymous"));
}

#[test]
fn an_empty_file_has_no_principals() {
    assert!(read("", MOST).expect("a file").is_empty());
}

#[test]
fn a_key_ends_when_its_day_begins_and_a_revoked_one_at_once() {
    let [day, time, revoked] = [(); 3].map(|()| ApiKey::generate().digest());
    let content = format!(
        r#"
        revoked = ["{revoked}"]
        [principals.a]
        keys = [{{ hash = "{day}", until = 1970-01-02 }}, {{ hash = "{time}", until = 1970-01-02T01:00:00+01:00 }}, "{revoked}"]
        "#
    );
    let principals = read(&content, MOST).expect("a file");
    let end = UNIX_EPOCH + Duration::from_hours(24);
    for digest in [&day, &time] {
        assert_eq!(of_key(&principals, digest, end - Duration::from_secs(1)), Some("a"));
        assert_eq!(of_key(&principals, digest, end), None);
    }
    assert_eq!(of_key(&principals, &revoked, UNIX_EPOCH), None);
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_place() {
    let digest = ApiKey::generate().digest();
    let content = format!(
        r#"
        colour = 1
        revoked = ["x", 5]
        [roles.bad]
        write = ["100%"]
        rights = []
        [principals.a]
        keys = ["{digest}", 5, {{ hash = "{digest}" }}, {{ hash = "{digest}", until = "soon" }}, {{ hash = "{digest}", until = 12:00:00 }}]
        write = "orders"
        call = ["q/key"]
        tags = ["admin"]
        roles = ["none"]
        rate = "200/s"
        [principals.b]
        read = [1]
        [principals.anonymous]
        keys = ["{digest}"]
        "#
    );
    let expected = [
        "colour is not a known member; known are principals, roles, revoked",
        "roles.bad.rights is not a known member; known are configure, write, read, call, tags",
        "roles.bad.write[0] has a % that is no escape: write %25 for a percent sign, %2A for a star, %2F for a slash, %2B for a plus sign and %7B for an opening brace",
        "principals.a.rate is not a known member; known are configure, write, read, call, tags, keys, roles",
        "principals.a.write must be an array",
        "principals.a.call[0] has a routing key, and a call has none: write %2F for a slash in the name of a queue",
        "principals.a.tags[0] must be \"monitoring\", the one tag",
        "principals.a.roles[0] names no role of this file: none",
        "principals.a.keys[1] must be the hash of a key, or a table with hash and until",
        "principals.a.keys[2] is a key of a already: give each principal its own",
        "principals.a.keys[3].until must be a date such as 2027-03-01, or a time with its offset",
        "principals.a.keys[4].until must be a date such as 2027-03-01, or a time with its offset",
        "principals.anonymous is the principal of requests without credentials, and has no keys",
        "principals.anonymous.keys[0] is a key of a already: give each principal its own",
        "principals.b.read[0] must be a string",
        "revoked[1] must be a string",
        "revoked[0] must be sha256: and 64 hexadecimal digits, as `rabbitmq-gateway key hash` prints it",
    ];
    let found = mistakes(&content);
    for sentence in expected {
        assert!(found.iter().any(|it| it == sentence), "{sentence}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_key_in_the_file_is_a_mistake_that_does_not_show_it() {
    let key = ApiKey::generate();
    let secret = key.reveal();
    for content in [
        format!("[principals.a]\nkeys = [\"{secret}\"]"),
        format!("[principals.a]\nkeys = [{{ hash = \"{secret}\" }}]"),
        format!("[principals.{secret}]\nkeys = 5"),
        format!("{secret} = 5"),
        format!("[principals.a]\nkeys = [\"{secret}"),
        format!("[principals.a]\nroles = [\"{secret}\"]"),
        format!("[principals.a]\nwrite = [\"{secret}\"]"),
        format!("revoked = [\"{secret}\"]"),
    ] {
        let found = mistakes(&content);
        assert!(!found.iter().any(|sentence| sentence.contains(&secret[5..20])), "{found:?}");
    }
    assert_eq!(mistakes("a = 1\nb = ["), ["line 2 is not TOML"]);
}

#[test]
fn a_name_that_stands_twice_is_a_mistake_with_its_line() {
    let [one, two] = [(); 2].map(|()| ApiKey::generate().digest());
    for content in [
        format!("[principals.shop]\nkeys = [\"{one}\"]\n[principals.shop]\nkeys = [\"{two}\"]"),
        format!("[principals.shop]\nwrite = []\nkeys = [\"{one}\"]\nkeys = [\"{two}\"]"),
    ] {
        let found = mistakes(&content);
        let line = if content.contains("write") { 4 } else { 3 };
        let expected = format!(
            "line {line} repeats a name of the file: a principal stands there once, with all its keys in one list"
        );
        assert_eq!(found, [expected]);
    }
    let content =
        format!("[principals.a]\nkeys = [\"{one}\"]\n[principals.b]\nkeys = [\"{two}\", \"{one}\"]");
    assert_eq!(
        mistakes(&content),
        ["principals.b.keys[1] is a key of a already: give each principal its own"]
    );
}

#[test]
fn too_many_principals_are_refused() {
    let content = (0..=MOST).map(|n| format!("[principals.p{n}]")).collect::<Vec<_>>().join("\n");
    let expected = "principals has 101 members, and GATEWAY_MAX_PRINCIPALS allows 100";
    assert_eq!(mistakes(&content), [expected]);
}

#[test]
fn a_sentence_names_twenty_mistakes_and_the_number_of_the_others() {
    let mistakes: Vec<_> = (1..=22).map(|number| format!("m{number}")).collect();
    assert_eq!(sentence(&mistakes[..2]), "m1; m2");
    let twenty = mistakes[..20].join("; ");
    assert_eq!(sentence(&mistakes[..20]), twenty);
    assert_eq!(sentence(&mistakes), format!("{twenty}; and 2 more"));
}

#[test]
fn a_name_has_1_to_255_bytes_and_no_control_characters_and_is_no_key() {
    let longest = "x".repeat(255);
    for name in ["a", "a b, c", "größe", "{principal}", &longest] {
        assert_eq!(wrong_name(name), None, "{name}");
    }
    let key = ApiKey::generate();
    for name in ["", "a\nb", "\u{7f}", &"x".repeat(256), key.reveal()] {
        let why = wrong_name(name).unwrap_or_else(|| panic!("{name:?} is a name"));
        for content in [format!("[principals.{name:?}]"), format!("[roles.{name:?}]")] {
            let content = content.replace("\\u{7f}", "\\u007f");
            let found = mistakes(&content);
            assert!(found.len() == 1 && found[0].ends_with(&why), "{content}: {found:?}");
            assert!(!found[0].contains(&key.reveal()[5..20]), "{found:?}");
        }
    }
}
