//! The gateway prints no password and no message, with any settings, any requests and any log level.
//!
//! The secret words consist of letters and digits, which no kind of escaping changes.

mod leases;

use std::{fs, sync::Arc};

use rabbitmq_gateway::domain::access::ApiKey;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{NO_BROKER, Served, run, send};
use crate::support::{
    broker::{Broker, Vhost},
    process::Process,
};

/// Contains characters that a URL, a shell and a log escape.
const PASSWORD: &str = "p@ss/%2F:hunter2+\"é";
const PASSWORD_IN_URL: &str = "p%40ss%2F%252F%3Ahunter2%2B%22%C3%A9";
const WORD: &str = "hunter2";
const MARKER: &str = "marker7";
const TRACE: (&str, &str) = ("GATEWAY_LOG", "trace,lapin=trace,lapin::returned_messages=trace");

/// Checks that the output has neither the word nor the list of its bytes.
fn assert_unsaid(word: &str, process: &Process) {
    let printed = process.output();
    let bytes = word.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for spelling in [word, &bytes] {
        let said = printed.lines().find(|line| line.contains(spelling));
        assert!(said.is_none(), "{word} is printed: {said:?}");
    }
}

/// A user with the password, with all permissions in a virtual host of its own.
async fn vhost_of(user: &str) -> Vhost<'static> {
    let broker = Broker::shared().await;
    let vhost = broker.vhost(user).await;
    broker.add_user(user, PASSWORD).await;
    vhost.permit(user, ".*", ".*", ".*").await;
    vhost
}

/// A file that holds `content`; it is deleted with the folder.
fn file(folder: &TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a temporary file can be written");
    path.to_str().expect("its path is text").to_owned()
}

/// One good and one bad request of each kind, with the marker in every part that a caller can choose.
async fn ask_everything(served: &Served) {
    let json = "application/json";
    let envelope = "application/vnd.amqp.message+json";
    let publish = "/publish/amq.default?timeout=2s";
    for (method, path, content_type, body) in [
        (Method::PUT, "/queues/q?timeout=2s", json, r#"{"max_length": 9}"#),
        (Method::PUT, "/queues/q?timeout=2s", json, r#"{"arguments": {"x-marker7": "marker7"}}"#),
        (Method::PUT, "/queues/r?timeout=2s", json, r#"{"durable": "marker7"}"#),
        (Method::PUT, "/queues/r?timeout=2s", json, r#"{"marker7": true}"#),
        (Method::PUT, "/queues/r?timeout=2s", json, r#"{"type": "marker7"}"#),
        (Method::PUT, "/queues/r?timeout=2s", json, r#"{"arguments": {"x-message-ttl": "marker7"}}"#),
        (Method::PUT, "/queues/r?timeout=2s", json, r#"{"arguments": {"x-queue-type": "marker7"}}"#),
        (Method::POST, "/publish/amq.default?routing_key=q&timeout=2s", "text/plain", "marker7"),
        (Method::POST, "/publish/amq.default?routing_key=none&timeout=2s", "text/plain", "marker7"),
        (Method::POST, "/publish/missing?timeout=2s", "text/plain", "marker7"),
        (Method::POST, publish, envelope, r#"{"routing_key": "q", "body": {"a": "marker7"}}"#),
        (Method::POST, publish, envelope, r#"{"routing_key": "q", "body_text": "marker7"}"#),
        (Method::POST, publish, envelope, r#"{"body_text": "marker7", "headers": {"h": "marker7"}}"#),
        (Method::POST, publish, envelope, r#"{"body_base64": "?marker7"}"#),
        (Method::POST, publish, envelope, r#"{"body_text": 1, "marker7": 1}"#),
        (Method::POST, publish, envelope, r#"{"body": 1, "properties": {"priority": "marker7"}}"#),
        (Method::POST, publish, envelope, r#"{"body": 1, "properties": "marker7"}"#),
        (Method::POST, publish, envelope, r#"{"body": 1, "headers": {"h": {"$amqp": "marker7"}}}"#),
        (Method::POST, publish, envelope, "marker7"),
        (Method::GET, "/queues/q?timeout=2s", "text/plain", "marker7"),
        (Method::GET, "/health/rabbitmq?queue=q&queue=none", "text/plain", "marker7"),
        (Method::PATCH, "/queues/q", "text/plain", "marker7"),
        (Method::POST, "/nowhere", "text/plain", "marker7"),
    ] {
        let request = served.client.request(method, served.url(path));
        send(request.header("content-type", content_type).body(body)).await;
    }
    for (header, value) in [("x-amqp-priority", MARKER), ("x-amqp-header-h", MARKER), ("cookie", MARKER)] {
        send(served.publish("routing_key=q&timeout=2s", MARKER).header(header, value)).await;
    }
}

/// Serves with these settings, answers requests of all kinds and stops; then checks all output.
async fn serves_without_a_word(settings: &[(&str, &str)], ready: bool) -> Served {
    let settings = [settings, &[TRACE]].concat();
    let mut served =
        if ready { Served::start_ready(&settings).await } else { Served::start(&settings).await };
    if ready {
        ask_everything(&served).await;
    } else {
        send(served.publish("routing_key=q&timeout=1s", MARKER)).await;
        served.logs("cannot connect").await;
    }
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    assert_unsaid(WORD, &served.process);
    assert_unsaid(MARKER, &served.process);
    served
}

#[tokio::test]
async fn a_password_in_the_environment_is_not_printed() {
    let vhost = vhost_of("by-name").await;
    let address = Broker::shared().await.address();
    let port = address.port().to_string();
    let settings = [
        ("RABBITMQ_HOST", "127.0.0.1"),
        ("RABBITMQ_PORT", &port),
        ("RABBITMQ_USER", "by-name"),
        ("RABBITMQ_PASSWORD", PASSWORD),
        ("RABBITMQ_VHOST", &vhost.name),
    ];
    serves_without_a_word(&settings, true).await;
}

#[tokio::test]
async fn a_password_with_special_characters_in_the_url_is_not_printed() {
    let vhost = vhost_of("by-url").await;
    serves_without_a_word(&[("AMQP_URL", &vhost.url_as("by-url", PASSWORD_IN_URL))], true).await;
}

#[tokio::test]
async fn a_password_in_a_file_is_not_printed() {
    let vhost = vhost_of("by-file").await;
    let folder = TempDir::new().unwrap();
    let secret = file(&folder, "password", &format!("{PASSWORD}\n"));
    let port = Broker::shared().await.address().port();
    let vhost = &vhost.name;
    let toml = format!(
        "[rabbitmq]\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"by-file\"\nvhost = \"{vhost}\"\n\
         password_file = \"{secret}\"\n"
    );
    serves_without_a_word(&[("GATEWAY_CONFIG", &file(&folder, "gateway.toml", &toml))], true).await;
    let url = file(&folder, "url", &format!("amqp://by-file:{PASSWORD_IN_URL}@127.0.0.1:{port}/{vhost}"));
    serves_without_a_word(&[("AMQP_URL_FILE", &url)], true).await;
}

#[tokio::test]
async fn the_error_for_a_wrong_password_does_not_contain_it() {
    let vhost = Broker::shared().await.vhost("wrong-password").await;
    let url = vhost.url_as("guest", PASSWORD_IN_URL);
    let served = serves_without_a_word(&[("AMQP_URL", &url)], false).await;
    assert!(served.process.stderr().contains("ACCESS_REFUSED"), "{}", served.process.stderr());
}

#[tokio::test]
async fn the_error_for_an_unreachable_rabbitmq_names_it_without_the_password() {
    let url = format!("amqp://app:{PASSWORD_IN_URL}@127.0.0.1:1/");
    let served = serves_without_a_word(&[("AMQP_URL", &url)], false).await;
    assert!(served.process.stderr().contains("Connection refused"), "{}", served.process.stderr());
}

/// A TLS server whose certificate is of its own authority, and the certificate of another authority as PEM.
async fn stranger() -> (TcpListener, TlsAcceptor, String) {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener, TlsAcceptor::from(Arc::new(config)), authority().pem())
}

#[tokio::test]
async fn the_error_for_a_wrong_certificate_authority_is_clear_and_without_the_password() {
    let (listener, acceptor, other_authority) = stranger().await;
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(acceptor.accept(stream).await);
        }
    });
    let folder = TempDir::new().unwrap();
    let authority = file(&folder, "ca.pem", &other_authority);
    let url = format!("amqps://app:{PASSWORD_IN_URL}@127.0.0.1:{port}/");
    let settings = [("AMQP_URL", url.as_str()), ("RABBITMQ_SSL_CA_CERT", &authority)];
    let served = serves_without_a_word(&settings, false).await;
    assert!(served.process.stderr().contains("invalid peer certificate"), "{}", served.process.stderr());
}

#[tokio::test]
async fn the_start_fails_with_an_unusable_certificate_authority_and_does_not_print_the_password() {
    let folder = TempDir::new().unwrap();
    let garbage = file(&folder, "ca.pem", "not a certificate");
    let url = format!("amqps://app:{PASSWORD_IN_URL}@127.0.0.1:1/");
    for authority in [garbage.as_str(), "/does/not/exist.pem"] {
        let settings = [("AMQP_URL", url.as_str()), ("RABBITMQ_SSL_CA_CERT", authority), TRACE];
        let (code, process) = run(&[], &settings).await;
        assert_eq!(code, Some(1), "{}", process.output());
        assert!(process.stderr().contains(authority), "{}", process.stderr());
        assert_unsaid(WORD, &process);
    }
}

#[tokio::test]
async fn no_mistake_in_the_settings_prints_the_password() {
    let folder = TempDir::new().unwrap();
    let broken = file(&folder, "broken.toml", "[rabbitmq]\npassword = \"hunter2\nhost = 1");
    let nested = file(&folder, "nested.toml", "[rabbitmq.password]\nhunter2 = \"hunter2\"");
    let two_lines = file(&folder, "two-lines", "hunter2\nhunter2\n");
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    for settings in [
        &[("AMQP_URL", "amqp://app:hunter2@rabbit:port/")][..],
        &[("AMQP_URL", "amqp://app:hunt%zzhunter2@rabbit/")],
        &[("AMQP_URL", "amqp://app:a/hunter2@rabbit/")],
        &[("AMQP_URL", "amqp://app:hunter2@rabbit/?secret=hunter2")],
        &[("AMQP_URL", "app:hunter2@rabbit")],
        &[("AMQP_URL", "amqp://app:hunter2@a/,amqp://app:other-hunter2@b/")],
        &[("AMQP_URL", "amqp://app:hunter2@rabbit/"), ("RABBITMQ_PASSWORD", "hunter2")],
        &[("RABBITMQ_HOST", "amqp://app:hunter2@rabbit")],
        &[("RABBITMQ_PORT", "app:hunter2@rabbit")],
        &[("RABBITMQ_PASSWORD", "hunter2"), ("RABBITMQ_PASSWORD_FILE", &two_lines)],
        &[("AMQP_URL_FILE", &two_lines)],
        &[("RABBITMQ_PASSWORD_FILE", &two_lines)],
        &[("RABBITMQ_PASSWORD", "hunter2\n")],
        &[("RABBITMQ_VHOST", "amqp://app:hunter2@rabbit/")],
        &[("RABBITMQ_PASSWORD", "hunter2"), ("RABBITMQ_PORT", "0")],
        &[("RABBITMQ_PASSWORD", "hunter2"), ("RABBITMQ_SSL_CA_CERT", "ca.pem")],
        &[("RABBITMQ_PASSWORD", "hunter2"), ("GATEWAY_CONFIG", &missing)],
        &[("GATEWAY_CONFIG", &broken)],
        &[("GATEWAY_CONFIG", &nested)],
    ] {
        for arguments in [&["check-config"][..], &[]] {
            let (code, process) = run(arguments, settings).await;
            assert_eq!(code, Some(64), "{settings:?}: {}", process.output());
            assert_unsaid(WORD, &process);
        }
    }
    for argument in ["--rabbitmq-password=hunter2", "--amqp-url=amqp://app:hunter2@rabbit/"] {
        let (code, process) = run(&[argument], &[NO_BROKER]).await;
        assert_eq!(code, Some(64), "{}", process.output());
        assert_unsaid(WORD, &process);
    }
}

#[tokio::test]
async fn check_config_hides_every_secret() {
    let folder = TempDir::new().unwrap();
    let address = Broker::shared().await.address();
    let port = address.port().to_string();
    let toml = file(&folder, "gateway.toml", "[rabbitmq]\npassword = \"hunter2\"\n");
    let secret = file(&folder, "secret", "hunter2");
    let url = format!("amqp://app:{PASSWORD_IN_URL}@{address}/");
    for setting in [
        ("AMQP_URL", url.as_str()),
        ("RABBITMQ_PASSWORD", PASSWORD),
        ("RABBITMQ_PASSWORD_FILE", &secret),
        ("GATEWAY_CONFIG", &toml),
    ] {
        let mut settings =
            vec![setting, ("RABBITMQ_PASSWORT", WORD), ("GATEWAY_RABBITMQ_PASSWORD", WORD), TRACE];
        settings.extend((setting.0 != "AMQP_URL").then_some(("RABBITMQ_PORT", port.as_str())));
        for (arguments, expected) in [(&["check-config"][..], 0), (&["check-config", "--connect"], 77)] {
            let (code, process) = run(arguments, &settings).await;
            assert_eq!(code, Some(expected), "{}", process.output());
            assert!(process.stdout().contains("***"), "{}", process.stdout());
            assert!(process.stderr().contains("RABBITMQ_PASSWORT: no setting"), "{}", process.stderr());
            assert_unsaid(WORD, &process);
        }
    }
}

#[tokio::test]
async fn an_api_key_is_in_no_line_and_in_no_answer() {
    let vhost = Broker::shared().await.vhost("secret-keys").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = [(); 3].map(|()| ApiKey::generate());
    let [known, unknown, pasted] = keys.each_ref().map(ApiKey::reveal);
    let part =
        format!("[principals.shop]\nkeys = ['{}']\nwrite = ['*']\ntags = ['monitoring']\n", keys[0].digest());
    let path = file(&folder, "principals.toml", &part);
    let settings = [("AMQP_URL", vhost.url.as_str()), ("GATEWAY_PRINCIPALS", &path), TRACE];
    let mut served = Served::start_ready(&settings).await;
    for key in [known, unknown] {
        for (method, path) in [
            (Method::POST, "/publish/amq.default?routing_key=none"),
            (Method::POST, "/publish/amq.default/batch"),
            (Method::GET, "/queues/q"),
            (Method::GET, "/whoami"),
            (Method::GET, "/metrics"),
            (Method::GET, "/nowhere"),
            (Method::PATCH, "/queues/q"),
        ] {
            for value in
                [format!("Bearer {key}"), format!("Basic {key}"), format!("{key} Bearer"), key.to_owned()]
            {
                let request = served.client.request(method.clone(), served.url(path)).body("x");
                let answer = send(request.header("authorization", value)).await;
                let headers = format!("{:?}", answer.headers());
                let body = answer.text().await.expect("a text");
                assert!(!headers.contains(key) && !body.contains(key), "{method} {path}: {headers} {body}");
            }
        }
    }
    // Pasted in every place of the file by mistake.
    let content = format!(
        "{pasted} = 1\n[principals.{pasted}]\nkeys = ['{pasted}']\nwrite = ['{pasted}']\n{pasted} = 2\n"
    );
    fs::write(&path, &content).expect("the file is written");
    served.logs("the principals before it stay").await;
    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    let (code, refused) = run(&[], &settings).await;
    assert_eq!(code, Some(64));
    fs::write(&path, format!("[principals.shop\nkeys = ['{pasted}']")).expect("the file is written");
    let (code, malformed) = run(&[], &settings).await;
    assert_eq!(code, Some(64));
    for key in [known, unknown, pasted] {
        for process in [&served.process, &refused, &malformed] {
            assert_unsaid(key, process);
        }
    }
}
