//! Values that each form accepts, and values that it refuses.

use super::*;

fn accepts<T: PartialEq + std::fmt::Debug>(parse: impl Fn(&str) -> Parsed<T>, cases: &[(&str, T)]) {
    for (text, value) in cases {
        assert_eq!(parse(text).as_ref(), Ok(value), "{text:?}");
    }
}

fn refuses<T>(parse: impl Fn(&str) -> Parsed<T>, texts: &[&str]) {
    for text in texts {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn sizes_are_bytes_or_binary_multiples() {
    accepts(size, &[("8388608", 8 << 20), ("8MiB", 8 << 20), ("512KiB", 512 << 10), ("1GiB", 1 << 30)]);
    refuses(
        size,
        &["0", "8MB", "8 MiB", "MiB", "-1", "1.5MiB", "5GiB", "99999999999999999999", "18014398509481984KiB"],
    );
    refuses(size_between(8 << 10, 1 << 20), &["8191", "2MiB"]);
}

#[test]
fn a_port_is_a_number_or_the_address_that_kubernetes_sets() {
    accepts(
        port,
        &[("5672", 5672), ("65535", 65535), ("tcp://10.0.0.1:5672", 5672), ("tcp://[fd00::1]:5671", 5671)],
    );
    refuses(port, &["0", "65536", "+1", "x", "udp://10.0.0.1:5672", "tcp://10.0.0.1", "tcp://10.0.0.1:"]);
}

#[test]
fn a_host_is_a_name_or_an_address() {
    let same = |host: &'static str| (host, host.to_owned());
    accepts(
        host,
        &[same("rabbit"), same("a-b.example.org"), same("my_rabbit"), same("10.0.0.1"), same("::1")],
    );
    accepts(host, &[("[::1]", "::1".to_owned())]);
    refuses(host, &["", "a b", "a:5672", "u:p@h", "amqp://h", "[::1", "[rabbit]", "10.0.0.256", "h/v", "é"]);
}

#[test]
fn a_heartbeat_is_whole_seconds() {
    accepts(whole_seconds, &[("0", 0), ("10", 10), ("10s", 10), ("65535", 65535), ("1m", 60)]);
    refuses(whole_seconds, &["65536", "500ms", "-1", "off"]);
}

#[test]
fn a_deadline_is_above_zero_and_a_pause_may_be_zero() {
    accepts(pause, &[("0", Duration::ZERO), ("3s", Duration::from_secs(3))]);
    refuses(positive_duration, &["0", "0s", "25h", "soon"]);
    accepts(duration_or_off, &[("off", None), ("30s", Some(Duration::from_secs(30)))]);
}

#[test]
fn a_switch_is_on_or_off() {
    accepts(switch, &[("true", true), ("True", true), ("1", true), ("false", false), ("no", false)]);
    refuses(switch, &["tru", "2", ""]);
}

#[test]
fn an_origin_has_no_path_and_no_star() {
    let both = vec!["https://a.example".to_owned(), "http://localhost:3000".to_owned()];
    accepts(origins, &[("https://a.example, http://localhost:3000", both)]);
    accepts(origins, &[("HTTPS://A.example:443/", vec!["https://a.example".to_owned()])]);
    refuses(
        origins,
        &["*", "null", "a.example", "https://a.example/app", "https://u@a.example", "ftp://a", "https://a,"],
    );
}

#[test]
fn an_allowed_host_has_no_scheme_and_no_port() {
    let both = vec!["gateway.example".to_owned(), "::1".to_owned()];
    accepts(hosts, &[("gateway.example, [::1]", both)]);
    refuses(
        hosts,
        &["https://gateway.example", "gateway.example:8443", "*", "gateway.example,", "*.example"],
    );
}

#[test]
fn a_proxy_is_an_address_or_a_network() {
    let network = |text: &str| text.parse().expect("a network");
    let all = vec![network("127.0.0.1/32"), network("10.0.0.0/8"), network("::1/128")];
    accepts(networks, &[("127.0.0.1, 10.0.0.0/8,::1", all)]);
    accepts(networks, &[("::ffff:10.0.0.1", vec![network("10.0.0.1/32")])]);
    refuses(networks, &["proxy.example", "10.0.0.0/33", "*", "10.0.0.1,", "10.0.0.1:80"]);
}

#[test]
fn a_path_prefix_is_a_path() {
    accepts(path_prefix, &[("/", PathPrefix::default())]);
    assert_eq!(path_prefix("/mq/").map(|it| it.as_str().to_owned()), Ok("/mq".to_owned()));
    refuses(path_prefix, &["mq", "//mq", "https://example.org/mq", "/a b", "/../a"]);
}

#[test]
fn a_prefix_of_headers_is_short_and_plain() {
    for prefix in ["cloudEvents_", "cloudEvents:", "ce-", "x", &"x".repeat(32)] {
        assert_eq!(header_prefix(prefix).map(|it| it.as_str().to_owned()), Ok(prefix.to_owned()));
    }
    refuses(header_prefix, &["", " ", "ce ", "é", "a\nb", &"x".repeat(33)]);
}

#[test]
fn at_most_twenty_queues_are_named() {
    let names = |n: usize| vec!["q"; n].join(",");
    assert_eq!(queues(&names(20)).map(|queues| queues.len()), Ok(20));
    refuses(queues, &[&names(21), "a,,b"]);
}

#[test]
fn a_path_has_no_line_break() {
    assert!(path("ca.pem").is_ok() && path("ca.pem\n").is_err());
}
