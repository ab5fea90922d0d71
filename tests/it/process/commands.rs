//! Sub-commands and exit codes.

use std::fs;

use tokio::process::Command;

use super::{NO_BROKER, Served, run};
use crate::support::broker::Broker;

#[tokio::test]
async fn it_listens_on_a_free_port_and_says_which() {
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
async fn the_contract_that_it_prints_is_the_committed_file() {
    let (code, process) = run(&["openapi"], &[]).await;
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    assert_eq!(code, Some(0));
    assert_eq!(process.stdout(), fs::read_to_string(committed).unwrap());
}

#[tokio::test]
async fn check_config_prints_every_setting_and_hides_secrets() {
    let settings = [("RABBITMQ_HOST", "rabbit.example"), ("RABBITMQ_PASSWORD", "hunter2")];
    let (code, process) = run(&["check-config", "--gateway-drain-delay", "7s"], &settings).await;
    let printed = process.stdout();
    assert_eq!(code, Some(0));
    assert!(printed.contains("\"rabbit.example\"  (environment)"), "{printed}");
    assert!(printed.contains("\"7s\"  (flag)"), "{printed}");
    assert!(printed.contains("***  (environment)"), "{printed}");
    assert!(!process.output().contains("hunter2"), "{}", process.output());
}

/// The completions that bash finds for the last of these words.
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
async fn every_mistake_is_told_in_one_message_with_exit_code_64() {
    for arguments in [&["check-config"][..], &[], &["healthcheck"]] {
        let (code, process) = run(arguments, &MISTAKES).await;
        let told = process.stderr();
        assert_eq!((code, process.stdout()), (Some(64), String::new()), "{arguments:?}: {told}");
        for (setting, _) in MISTAKES {
            assert!(told.contains(setting), "{setting} is missing: {told}");
        }
        assert!(told.contains("\"soon\"") && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn an_unknown_flag_is_exit_code_64() {
    let (code, process) = run(&["--nonsense"], &[]).await;
    assert_eq!((code, process.stdout()), (Some(64), String::new()));
}

#[tokio::test]
async fn an_address_in_use_ends_it_with_a_reason() {
    let served = Served::start(&[NO_BROKER]).await;
    let taken = served.address.to_string();
    let (code, process) = run(&[], &[NO_BROKER, ("GATEWAY_LISTEN", &taken)]).await;
    assert_eq!(code, Some(1));
    assert!(process.stderr().contains(&format!("cannot listen on {taken}")), "{}", process.stderr());
}

#[tokio::test]
async fn healthcheck_dials_loopback_when_the_gateway_listens_everywhere() {
    let mut served = Served::start(&[NO_BROKER, ("GATEWAY_LISTEN", "0.0.0.0:0")]).await;
    let everywhere = served.address.to_string();
    assert!(everywhere.starts_with("0.0.0.0:"), "{everywhere}");
    let settings = [NO_BROKER, ("GATEWAY_LISTEN", everywhere.as_str())];
    assert_eq!(run(&["healthcheck"], &settings).await.0, Some(0));
    let (code, process) = run(&["healthcheck", "--ready"], &settings).await;
    assert_eq!(code, Some(1), "there is no broker");
    assert!(process.stderr().contains("answered \"503\""), "{}", process.stderr());

    served.process.signal("INT").await;
    assert_eq!(served.exit_code().await, 0);
    assert_eq!(run(&["healthcheck"], &settings).await.0, Some(1), "nobody listens any more");
}

#[tokio::test]
async fn healthcheck_ready_succeeds_with_a_broker() {
    let vhost = Broker::shared().await.vhost("healthcheck").await;
    let served = Served::start_ready(&[("AMQP_URL", &vhost.url)]).await;
    let listen = served.address.to_string();
    assert_eq!(run(&["healthcheck", "--ready"], &[("GATEWAY_LISTEN", &listen)]).await.0, Some(0));
}
