//! The commands `key` and `can`, and the start beyond loopback.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use reqwest::Client;

use super::{NO_BROKER, Served, run};
use crate::support::{broker::Broker, observer::Observer};

/// Runs a command with this standard input. Returns its exit code, standard output and standard error.
fn command(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rabbitmq-gateway"));
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary is built");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the command reads");
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_newcomer_makes_a_key_that_may_publish_to_one_queue_and_nothing_else() {
    let vhost = Broker::shared().await.vhost("key-new").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let (code, part, told) = command(&["key", "new", "shop", "--write", "amq.default/q"], "");
    assert_eq!(code, Some(0), "{told}");
    let key = told.trim().rsplit(' ').next().expect("the key").to_owned();
    assert!(key.starts_with("rgw_") && !part.contains(&key), "{part}");
    let (code, hash, _) = command(&["key", "hash"], &format!("{key}\n"));
    assert_eq!((code, part.contains(hash.trim())), (Some(0), true), "{hash} in {part}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("principals.toml");
    fs::write(&path, &part).expect("the file is written");
    let path = path.to_str().expect("a text");
    let can = async |question: &[&str]| {
        let arguments = [&["can"], question].concat();
        let (code, process) = run(&arguments, &[("GATEWAY_PRINCIPALS", path)]).await;
        (code, process.stdout())
    };
    let (code, answer) = can(&["shop", "write", "amq.default", "q"]).await;
    assert_eq!((code, answer.contains("write \"amq.default/q\"")), (Some(0), true), "{answer}");
    let (code, answer) = can(&["shop", "call", "q"]).await;
    assert_eq!((code, answer.contains("write \"amq.default/q\"")), (Some(0), true), "{answer}");
    for question in [["shop", "write", "amq.default"], ["shop", "read", "q"]] {
        let (code, answer) = can(&question).await;
        assert_eq!((code, answer.starts_with("no: ")), (Some(1), true), "{question:?}: {answer}");
    }
    assert_eq!(can(&["acme", "read", "q"]).await.0, Some(64));
    let (code, process) = run(&["check-config"], &[("GATEWAY_PRINCIPALS", path)]).await;
    let printed = process.stdout();
    assert_eq!(code, Some(0), "{}", process.output());
    assert!(printed.ends_with("\n\n[principals.shop]  # 1 key\nwrite = [\"amq.default/q\"]\n"), "{printed}");
    assert!(!printed.contains("sha256:") && !printed.contains(&key), "{printed}");
    assert_eq!(run(&["can", "shop", "read", "q"], &[]).await.0, Some(64), "no file is named");

    let served = Served::start_ready(&[("AMQP_URL", &vhost.url), ("GATEWAY_PRINCIPALS", path)]).await;
    let client = Client::builder().no_proxy().build().expect("a client without TLS");
    let publish = async |queue: &str, key: Option<&str>| {
        let request =
            client.post(served.url(&format!("/publish/amq.default?routing_key={queue}"))).body("hi");
        let request = if let Some(key) = key { request.bearer_auth(key) } else { request };
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(publish("q", Some(&key)).await, 200);
    assert_eq!(publish("other", Some(&key)).await, 403);
    assert_eq!(publish("q", None).await, 401);
    assert_eq!(observer.drain("q").await.len(), 1);
}

#[test]
fn a_pattern_that_is_wrong_or_a_text_that_is_no_key_is_refused_and_the_text_is_not_shown() {
    for (arguments, why) in [
        (["shop", "--call", "a/b"], "--call \"a/b\""),
        (["anonymous", "--call", "a"], "NAME is the principal"),
        (["a\nb", "--call", "a"], "NAME needs a name"),
        (["shop", "--write", "rgw_hunter2"], "--write"),
        (["rgw_hunter2", "--call", "a"], "NAME"),
    ] {
        let (code, part, told) = command(&[&["key", "new"], &arguments[..]].concat(), "");
        assert_eq!((code, part.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(told.contains(why) && !told.contains("hunter2"), "{told}");
    }
    let (code, hash, told) = command(&["key", "hash"], "hunter2");
    assert_eq!((code, hash.as_str()), (Some(1), ""));
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn the_gateway_does_not_start_beyond_loopback_until_somebody_says_who_may_use_it() {
    let everywhere = ("GATEWAY_LISTEN", "0.0.0.0:0");
    let (code, process) = run(&[], &[NO_BROKER, everywhere]).await;
    let told = process.stderr();
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("GATEWAY_PRINCIPALS") && told.contains("GATEWAY_AUTH=none"), "{told}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("principals.toml");
    fs::write(&path, "").expect("the file is written");
    let file = ("GATEWAY_PRINCIPALS", path.to_str().expect("a text"));
    let open = ("GATEWAY_AUTH", "none");
    let (code, process) = run(&[], &[NO_BROKER, everywhere, file, open]).await;
    assert_eq!((code, process.stderr().contains("GATEWAY_AUTH and GATEWAY_PRINCIPALS")), (Some(64), true));
    for settings in [[NO_BROKER, everywhere, open], [NO_BROKER, everywhere, file]] {
        let served = Served::start(&settings).await;
        let whoami = format!("http://127.0.0.1:{}/whoami", served.address.port());
        let status = served.client.get(whoami).send().await.expect("an answer").status().as_u16();
        assert_eq!(status, if settings.contains(&open) { 200 } else { 401 }, "{settings:?}");
    }
}
