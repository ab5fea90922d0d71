//! TLS to RabbitMQ: a private authority, a wrong authority, a wrong name, and a certificate instead of a password.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;

use crate::support::{
    broker::{Broker, OwnBroker, Vhost},
    certificates::{CLIENT, Certificates},
    gateway::TestGateway,
    link::Link,
    load::{Load, publish},
    observer::Observer,
    poll::eventually,
    process::Process,
    raw::Raw,
};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);
const CALLERS: usize = 16;
const PASSWORD: &str = "never-to-be-printed";

#[tokio::test]
async fn gateway_trusts_only_the_configured_authority_and_logs_in_by_certificate() {
    let certificates = Certificates::new();
    let (broker, secure) = Broker::own_with_tls(&certificates).await;
    let vhost = broker.vhost("tls").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    for user in ["plain", CLIENT] {
        broker.add_user(user, PASSWORD).await;
        vhost.permit(user, ".*", ".*", ".*").await;
    }
    let ca = certificates.path("ca.pem");
    let by_password = format!("amqps://plain:{PASSWORD}@{secure}/{}", vhost.name);
    confirms(&[("AMQP_URL", &by_password), ("RABBITMQ_SSL_CA_CERT", &ca)]).await;

    let (port, client, key) =
        (secure.port().to_string(), certificates.path("client.pem"), certificates.path("client.key"));
    confirms(&[
        ("RABBITMQ_HOST", "127.0.0.1"),
        ("RABBITMQ_PORT", &port),
        ("RABBITMQ_VHOST", &vhost.name),
        ("RABBITMQ_SSL_ENABLED", "true"),
        ("RABBITMQ_SSL_CA_CERT", &ca),
        ("RABBITMQ_SSL_CLIENT_CERT", &client),
        ("RABBITMQ_SSL_CLIENT_KEY", &key),
    ])
    .await;
    assert_eq!(observer.count("q").await, Some(2));

    let other = certificates.path("other-ca.pem");
    refuses(&[("AMQP_URL", &by_password), ("RABBITMQ_SSL_CA_CERT", &other)], "UnknownIssuer").await;
    let by_name = by_password.replace("127.0.0.1", "localhost");
    refuses(&[("AMQP_URL", &by_name), ("RABBITMQ_SSL_CA_CERT", &ca)], "not valid for name").await;
    let plain_to_tls = by_password.replace("amqps://", "amqp://");
    let mut check = Process::spawn_with(&["check-config", "--connect"], &[("AMQP_URL", &plain_to_tls)]);
    assert_eq!(check.wait(SOON).await.code(), Some(69), "{}", check.output());
    assert!(check.stderr().contains("write amqps:// or RABBITMQ_SSL_ENABLED=true"), "{}", check.output());
    certificate_of_nobody_is_refused(&broker, &vhost, secure, &certificates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_over_tls_are_confirmed_with_large_bodies_and_after_lost_connections() {
    let certificates = Certificates::new();
    let (broker, secure) = Broker::own_with_tls(&certificates).await;
    let vhost = broker.vhost("tls-load").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    broker.add_user("plain", PASSWORD).await;
    vhost.permit("plain", ".*", ".*", ".*").await;
    let link = Link::to(secure).await;
    let url = format!("amqps://plain:{PASSWORD}@{}/{}", link.addr(), vhost.name);
    let gateway =
        TestGateway::start(&[("AMQP_URL", &url), ("RABBITMQ_SSL_CA_CERT", &certificates.path("ca.pem"))])
            .await;

    let large =
        (0..8).map(|_| gateway.post("/publish/amq.default?routing_key=q").body(vec![b'x'; 1 << 20]).send());
    for answer in join_all(large).await {
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    assert_eq!(observer.take_ids("q").await.len(), 8);

    let load = Load::start(&gateway, "tls", CALLERS, |_| "amq.default?routing_key=q&timeout=10s".to_owned());
    for _ in 0..3 {
        load.flows(20 * CALLERS, SOON).await;
        link.cut();
    }
    load.flows(20 * CALLERS, SOON).await;
    let answers = load.stop().await;
    answers.assert_all_confirmed();
    answers.assert_agree_with(&observer.take_ids("q").await);
    gateway.stop().await;
}

async fn confirms(settings: &[(&str, &str)]) {
    let gateway = TestGateway::start(settings).await;
    publish(&gateway, "amq.default?routing_key=q", "secure").await.assert_confirmed();
    gateway.stop().await;
}

/// The log names the problem of the certificate, the caller gets 503, and neither of them contains the password.
async fn refuses(settings: &[(&str, &str)], why: &str) {
    let process = Process::spawn(settings);
    let address = process.address().await;
    let warned = || async {
        let output = process.output();
        output.lines().any(|line| {
            line.contains("WARN")
                && line.contains("cannot connect")
                && line.contains("certificate")
                && line.contains(why)
        })
    };
    eventually(SOON, "a warning about the certificate", warned).await;
    let target = "/publish/amq.default?routing_key=q&timeout=1s";
    let request = format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\n");
    let answer = Raw::ask(address, format!("{request}Content-Length: 1\r\n\r\nx")).await;
    assert_eq!((answer.status, answer.text().contains("broker-unavailable")), (503, true), "{answer:?}");
    for text in [answer.text(), process.output()] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

/// RabbitMQ has no user with the name in the certificate.
async fn certificate_of_nobody_is_refused(
    broker: &OwnBroker,
    vhost: &Vhost<'_>,
    secure: SocketAddr,
    certificates: &Certificates,
) {
    broker.delete_user(CLIENT).await;
    let url = format!("amqps://{secure}/{}", vhost.name);
    let (ca, client, key) =
        (certificates.path("ca.pem"), certificates.path("client.pem"), certificates.path("client.key"));
    let settings = [
        ("AMQP_URL", &*url),
        ("RABBITMQ_SSL_CA_CERT", &ca),
        ("RABBITMQ_SSL_CLIENT_CERT", &client),
        ("RABBITMQ_SSL_CLIENT_KEY", &key),
    ];
    let gateway = TestGateway::start_unready(&settings).await;
    publish(&gateway, "amq.default?routing_key=q&timeout=2s", "nobody")
        .await
        .assert_refused("broker-refused");
    gateway.stop().await;
}
