//! Sub-commands and exit codes.

use std::fs;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
};

use super::{NO_BROKER, Served, run};
use crate::support::broker::Broker;

#[tokio::test]
async fn the_gateway_listens_on_a_free_port_and_prints_it() {
    let served = Served::start(&[NO_BROKER]).await;
    assert_ne!(served.address.port(), 0);
    assert_eq!(served.status("/health/live").await, 200);
}

#[tokio::test]
async fn the_version_goes_to_stdout() {
    let (code, process) = run(&["--version"], &[]).await;
    assert_eq!(
        (code, process.stdout()),
        (Some(0), concat!("rabbitmq-gateway ", env!("CARGO_PKG_VERSION"), "\n").into())
    );
}

#[tokio::test]
async fn the_contract_that_the_gateway_prints_is_the_committed_file() {
    let (code, process) = run(&["openapi"], &[]).await;
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    assert_eq!(code, Some(0));
    assert_eq!(process.stdout(), fs::read_to_string(committed).unwrap());
}

#[tokio::test]
async fn check_config_says_where_each_value_comes_from_and_hides_secrets() {
    let settings = [
        ("AMQP_URL", "amqp://app:hunter2@rabbit.example/shop?heartbeat=7"),
        ("RABBITMQ_RETRY_DELAY", "1s"),
        ("RABBITMQ_CONNECTION_ATTEMPTS", "3"),
    ];
    let (code, process) = run(&["check-config", "--gateway-drain-delay", "7s"], &settings).await;
    let printed = process.stdout();
    assert_eq!(code, Some(0));
    for shown in [
        "\"amqp://app:***@rabbit.example:5672/shop?heartbeat=7\"  (environment variable AMQP_URL)",
        "\"rabbit.example\"  (AMQP_URL)",
        "\"7s\"  (AMQP_URL, parameter heartbeat)",
        "\"1s\"  (environment variable RABBITMQ_RETRY_DELAY)",
        "\"7s\"  (command line, --gateway-drain-delay)",
        "\"25s\"  (default)",
    ] {
        assert!(printed.contains(shown), "{shown} in:\n{printed}");
    }
    assert_eq!(
        process.stderr(),
        "warning: RABBITMQ_CONNECTION_ATTEMPTS: this setting has no effect any more and can be removed\n"
    );
    assert!(!process.output().contains("hunter2"), "{}", process.output());
}

#[tokio::test]
async fn check_config_and_the_start_warn_of_a_misspelt_variable() {
    let settings = [NO_BROKER, ("GATEWAY_LISTN", "127.0.0.1:1"), ("RABBITMQ_SERVICE_HOST", "10.0.0.1")];
    let words = "no setting has this name, so it has no effect; the nearest is GATEWAY_LISTEN";
    let (code, process) = run(&["check-config"], &settings).await;
    assert_eq!((code, process.stderr()), (Some(0), format!("warning: GATEWAY_LISTN: {words}\n")));
    let served = Served::start(&settings).await;
    served.logs(words).await;
    assert_eq!(served.process.stderr().matches("no setting has this name").count(), 1);
}

/// The exit code of `check-config --connect`, and its whole output.
async fn connect(url: &str, more: &[(&str, &str)]) -> (Option<i32>, String) {
    let settings = [&[("AMQP_URL", url)], more].concat();
    let (code, process) = run(&["check-config", "--connect"], &settings).await;
    (code, process.output())
}

#[tokio::test]
async fn check_config_connect_says_which_rabbitmq_it_reached() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("connect").await;
    let (code, printed) = connect(&vhost.url, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
    let version = broker.eval("rabbit_misc:version()").await;
    let version = version.trim_matches('"');
    let address = broker.address();
    let reached = format!(
        "connected: RabbitMQ {version} at {address}, user \"guest\", virtual host {:?}\n",
        vhost.name
    );
    assert!(printed.contains(&reached), "{reached} in:\n{printed}");

    let other_first = vhost.url.replace(&address.to_string(), &format!("127.0.0.1:1,{address}"));
    let (code, printed) = connect(&other_first, &[]).await;
    assert_eq!(code, Some(0), "one address is enough: {printed}");
    assert!(printed.contains("cannot connect to 127.0.0.1:1: Connection refused"), "{printed}");
    assert!(printed.contains(&reached), "{printed}");
}

#[tokio::test]
async fn check_config_connect_says_why_it_failed_and_how_to_fix_it() {
    let address = Broker::shared().await.address();
    for (url, code, words) in [
        (
            format!("amqp://app:hunter2@{address}/"),
            77,
            &["ACCESS_REFUSED", "refuses user \"app\": check RABBITMQ_USER and RABBITMQ_PASSWORD"][..],
        ),
        (
            format!("amqp://guest:guest@{address}/nowhere"),
            77,
            &["vhost nowhere not found", "check RABBITMQ_VHOST"],
        ),
        (format!("amqps://app:hunter2@{address}/"), 69, &["the port does not speak TLS"]),
        (
            "amqp://app:hunter2@127.0.0.1:1/".to_owned(),
            69,
            &["Connection refused", "no program listens there"],
        ),
        (
            "amqp://app:hunter2@nowhere.invalid/".to_owned(),
            69,
            &["nowhere.invalid:5672", "check the host's name"],
        ),
    ] {
        let (ended, printed) = connect(&url, &[]).await;
        assert_eq!(ended, Some(code), "{url}: {printed}");
        assert!(words.iter().all(|words| printed.contains(words)), "{url}: {printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn check_config_connect_ends_at_its_deadline_when_the_listener_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("amqp://{}/", listener.local_addr().expect("its address"));
    let (code, printed) = connect(&url, &[("RABBITMQ_CONNECTION_TIMEOUT", "200ms")]).await;
    assert_eq!(code, Some(69), "{printed}");
    assert!(printed.contains("no AMQP handshake within 200ms; the port takes connections"), "{printed}");
}

#[tokio::test]
async fn check_config_connect_says_that_the_port_speaks_another_protocol() {
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "the port does not speak AMQP 0-9-1"),
        (&[21, 3, 3, 0, 2, 2, 70], "the port speaks TLS: write amqps:// or RABBITMQ_SSL_ENABLED=true"),
        (b"", "closed the socket; check that RabbitMQ listens on the port"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("amqp://{}/", listener.local_addr().expect("its address"));
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            stream.read_exact(&mut [0; 8]).await.expect("a greeting");
            stream.write_all(answer).await.expect("an answer");
        });
        let (code, printed) = connect(&url, &[]).await;
        server.await.expect("it answered");
        assert_eq!(code, Some(69), "{printed}");
        assert!(printed.contains(words), "{words} in:\n{printed}");
    }
}

/// The completions that bash offers for the last of these words.
async fn completed(script: &str, words: &str) -> String {
    let ask = format!(
        "eval \"$0\"; COMP_WORDS=(rabbitmq-gateway {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         $(complete -p rabbitmq-gateway | sed 's/.* -F \\([^ ]*\\) .*/\\1/') \
         rabbitmq-gateway \"${{COMP_WORDS[-1]}}\"; echo \"${{COMPREPLY[*]}}\""
    );
    let output = Command::new("bash").args(["-c", &ask, script]).output().await.expect("bash runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn bash_completes_flags_of_the_gateway_and_of_its_commands() {
    let (code, process) = run(&["completions", "bash"], &[]).await;
    assert_eq!(code, Some(0));
    let script = process.stdout();
    for (words, expected) in [
        ("--gateway-lis", "--gateway-listen\n"),
        ("check", "check-config\n"),
        ("check-config --con", "--connect\n"),
        ("healthcheck --re", "--ready\n"),
    ] {
        assert_eq!(completed(&script, words).await, expected, "{words}");
    }
}

const MISTAKES: [(&str, &str); 4] = [
    ("RABBITMQ_PORT", "70000"),
    ("GATEWAY_LISTEN", "everywhere"),
    ("GATEWAY_PUBLISH_TIMEOUT", "soon"),
    ("AMQP_URL", "http://app:hunter2@rabbit"),
];

#[tokio::test]
async fn all_mistakes_are_reported_in_one_message_with_exit_code_64() {
    for arguments in [&["check-config"][..], &[]] {
        let (code, process) = run(arguments, &MISTAKES).await;
        let told = process.stderr();
        assert_eq!((code, process.stdout()), (Some(64), String::new()), "{arguments:?}: {told}");
        for (setting, _) in MISTAKES {
            assert!(told.contains(setting), "{setting} is missing: {told}");
        }
        assert!(told.contains("\"soon\"") && !told.contains("hunter2"), "{told}");
    }
}

/// The gateway runs on when a file has got a mistake, and its container must stay healthy then.
#[tokio::test]
async fn healthcheck_reads_its_own_settings_only() {
    let (code, process) = run(&["healthcheck"], &MISTAKES).await;
    let told = process.stderr();
    assert_eq!(
        (code, told.contains("GATEWAY_LISTEN"), told.contains("soon")),
        (Some(64), true, false),
        "{told}"
    );
    let served = Served::start(&[NO_BROKER]).await;
    let listen = served.address.to_string();
    let settings = [("GATEWAY_LISTEN", &*listen), ("GATEWAY_PRINCIPALS", "/missing"), MISTAKES[3]];
    assert_eq!(run(&["healthcheck"], &settings).await.0, Some(0));
}

#[tokio::test]
async fn an_unknown_flag_is_exit_code_64() {
    let (code, process) = run(&["--nonsense"], &[]).await;
    assert_eq!((code, process.stdout()), (Some(64), String::new()));
}

#[tokio::test]
async fn the_gateway_ends_with_a_reason_when_its_address_is_in_use() {
    let served = Served::start(&[NO_BROKER]).await;
    let taken = served.address.to_string();
    let (code, process) = run(&[], &[NO_BROKER, ("GATEWAY_LISTEN", &taken)]).await;
    assert_eq!(code, Some(1));
    assert!(process.stderr().contains(&format!("cannot listen on {taken}")), "{}", process.stderr());
}

#[tokio::test]
async fn healthcheck_dials_loopback_when_the_gateway_listens_everywhere() {
    let open = ("GATEWAY_AUTH", "none");
    let mut served = Served::start(&[NO_BROKER, open, ("GATEWAY_LISTEN", "0.0.0.0:0")]).await;
    let everywhere = served.address.to_string();
    assert!(everywhere.starts_with("0.0.0.0:"), "{everywhere}");
    let settings = [NO_BROKER, open, ("GATEWAY_LISTEN", everywhere.as_str())];
    assert_eq!(run(&["healthcheck"], &settings).await.0, Some(0));
    let (code, process) = run(&["healthcheck", "--ready"], &settings).await;
    assert_eq!(code, Some(1), "RabbitMQ is not there");
    assert!(process.stderr().contains("answered \"503\""), "{}", process.stderr());

    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    assert_eq!(run(&["healthcheck"], &settings).await.0, Some(1), "the gateway no longer listens");
}

#[tokio::test]
async fn healthcheck_ready_succeeds_with_rabbitmq() {
    let vhost = Broker::shared().await.vhost("healthcheck").await;
    let served = Served::start_ready(&[("AMQP_URL", &vhost.url)]).await;
    let listen = served.address.to_string();
    assert_eq!(run(&["healthcheck", "--ready"], &[("GATEWAY_LISTEN", &listen)]).await.0, Some(0));
}
