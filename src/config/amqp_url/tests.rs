//! The rules of `AMQP_URL`, one table for each.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> AmqpUrl {
    parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn nodes(text: &str) -> Vec<String> {
    read(text).addresses.iter().map(|it| format!("{} {}", it.host, it.port)).collect()
}

#[test]
fn user_password_and_vhost_are_percent_decoded() {
    for (text, user, password, vhost) in [
        ("amqp://u:p@h/v", "u", "p", "v"),
        ("amqp://a%40b:p%2Fw%3A%23@h/%2f", "a@b", "p/w:#", "/"),
        ("amqp://u:a:b@h", "u", "a:b", "/"),
        ("amqp://u:@h", "u", "", "/"),
        ("amqp://u:a+b@h/a+b", "u", "a+b", "a+b"),
        ("amqp://u:p%25@h/caf%C3%A9", "u", "p%", "café"),
        ("amqp://u:p@h/a%2Fb", "u", "p", "a/b"),
    ] {
        let target = read(text).target;
        assert_eq!(target.login, Some((user.to_owned(), password.to_owned())), "{text}");
        assert_eq!(target.vhost, vhost, "{text}");
    }
}

#[test]
fn no_path_and_a_slash_and_an_encoded_slash_are_the_vhost_slash() {
    for text in [
        "amqp://h",
        "amqp://h/",
        "amqp://h/%2f",
        "amqp://h/%2F",
        "amqp://h?heartbeat=1",
        "amqp://h/?heartbeat=1",
    ] {
        assert_eq!(read(text).target.vhost, "/", "{text}");
    }
}

#[test]
fn nodes_are_listed_in_one_address_or_in_several() {
    for (text, expected) in [
        ("amqp://h", vec!["h 5672"]),
        ("amqps://h", vec!["h 5671"]),
        ("AMQP://h:1", vec!["h 1"]),
        ("amqp://u:p@a:5673,b,c:1/v", vec!["a 5673", "b 5672", "c 1"]),
        ("amqp://u:p@a/v,amqp://u:p@b:2/v", vec!["a 5672", "b 2"]),
        ("amqp://a, amqp://b", vec!["a 5672", "b 5672"]),
        ("amqp://u:p@a,b/v,amqp://u:p@c/v", vec!["a 5672", "b 5672", "c 5672"]),
        ("amqp://[::1],[fd00::2]:7", vec!["::1 5672", "fd00::2 7"]),
    ] {
        assert_eq!(nodes(text), expected, "{text}");
    }
}

#[test]
fn addresses_that_disagree_are_refused() {
    for other in [
        "amqp://x:p@b/v",
        "amqp://u:x@b/v",
        "amqp://u:p@b/x",
        "amqps://u:p@b/v",
        "amqp://u:p@b/v?heartbeat=1",
    ] {
        let why = parse(&format!("amqp://u:p@a/v,{other}")).err();
        assert_eq!(
            why.as_deref(),
            Some("the addresses must agree in scheme, user, password, vhost and parameters"),
            "{other}"
        );
    }
}

#[test]
fn two_parameters_are_accepted_and_others_are_refused_by_name() {
    let target = read("amqps://h?heartbeat=0&connection_timeout=1500").target;
    assert!(target.tls);
    assert_eq!(target.heartbeat, Some(0));
    assert_eq!(target.connection_timeout, Some(Duration::from_millis(1_500)));
    for (query, words) in [
        ("frame_max=1", "the gateway does not know the parameter frame_max"),
        ("heartbeat=1&heartbeat=1", "heartbeat is given twice"),
        ("heartbeat=65536", "heartbeat must be whole seconds"),
        ("connection_timeout=0", "connection_timeout must be whole milliseconds"),
        ("heartbeat=+1", "heartbeat must be whole seconds"),
        ("connection_timeout=1s5", "connection_timeout must be whole milliseconds"),
        ("connection_timeout=86400001", "connection_timeout must be whole milliseconds"),
        ("connection_timeout=5s", "connection_timeout must be whole milliseconds"),
        ("hunter2@h", "the only parameters are heartbeat and connection_timeout"),
    ] {
        let why = parse(&format!("amqp://h?{query}")).err().unwrap_or_default();
        assert!(why.contains(words), "{query}: {why}");
    }
}

#[test]
fn a_malformed_address_is_refused_with_the_reason() {
    for (text, words) in [
        ("", "must begin with"),
        ("http://h", "must begin with"),
        ("h:5672", "must begin with"),
        ("amqp://", "a host is missing"),
        ("amqp://u:p@", "a host is missing"),
        ("amqp://a,,b", "a host is missing"),
        ("amqp://:5672", "a host is missing"),
        ("amqp://h:0", "a port is not"),
        ("amqp://h:", "a port is not"),
        ("amqp://h:65536", "a port is not"),
        ("amqp://[::1]5672", "a port is not"),
        ("amqp://::1", "in brackets"),
        ("amqp://[::1", "in brackets"),
        ("amqp://u@h", "the user has no password"),
        ("amqp://:p@h", "the user's name is empty"),
        ("amqp://u:p%00@h", "NUL"),
        ("amqp://u:p%zz@h", "write % as %25"),
        ("amqp://u:p%2@h", "write % as %25"),
        ("amqp://u:p%é@h", "write % as %25"),
        ("amqp://u:%FF@h", "must be UTF-8"),
        ("amqp://u:p@w@h", "write @ as %40"),
        ("amqp://u:5/w@h", "write / as %2F"),
        ("amqp://u:p@a,u:p@b/v", "write @ as %40"),
        ("amqp://h/a/b", "write / as %2F"),
        ("amqp://h//", "write / as %2F"),
        ("amqp://h/v#x", "write # as %23"),
        ("amqp://h/a%0Ab", "the vhost must not contain control characters"),
        ("amqp://a, b", "neither a name nor an IP address"),
        ("amqp://a,amqp://b:x", "address 2: a port is not"),
    ] {
        let why = parse(text).err();
        assert!(why.as_ref().is_some_and(|why| why.contains(words)), "{text}: {why:?}");
    }
}

#[test]
fn an_address_is_shown_without_its_password() {
    for (text, redacted) in [
        ("amqp://h", "amqp://h:5672/%2F"),
        ("amqp://u:hunter2@h/v", "amqp://u:***@h:5672/v"),
        ("amqps://a%40b:hunter2%2F@a,[::1]:7/x%2Fy", "amqps://a%40b:***@a:5671,[::1]:7/x%2Fy"),
        ("amqp://u:hunter2@a/v,amqp://u:hunter2@b/v", "amqp://u:***@a:5672,b:5672/v"),
        (
            "amqp://h/?connection_timeout=1500&heartbeat=5",
            "amqp://h:5672/%2F?heartbeat=5&connection_timeout=1500",
        ),
    ] {
        assert_eq!(read(text).redacted(), redacted, "{text}");
        assert_eq!(nodes(redacted), nodes(text), "{text}");
    }
}

proptest! {
    #[test]
    fn no_error_text_holds_a_part_of_the_password(
        before in "amqp://[a-z:/@%?#]{0,3}", after in "[/@%?#:,]{0,3}(h|/v|\\?x=y)?"
    ) {
        if let Err(why) = parse(&format!("{before}QZXJKW{after}")) {
            prop_assert!(!why.contains("QZXJKW"), "{why}");
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(amqps?://)?[\\PC]{0,30}") {
        let _ = parse(&text);
    }
}
