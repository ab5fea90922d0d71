//! Sub-commands, flags from the table, and the healthcheck against a socket.

use tokio::net::TcpListener;

use super::*;

fn run(arguments: &[&str]) -> Result<Invocation, clap::Error> {
    parse(std::iter::once(&"rabbitmq-gateway").chain(arguments).map(OsString::from))
}

#[test]
fn the_command_line_is_well_formed() {
    clap().debug_assert();
}

#[test]
fn sub_commands_are_told_apart() {
    for (arguments, command) in [
        (&[][..], Command::Serve),
        (&["check-config"], Command::CheckConfig),
        (&["healthcheck"], Command::Healthcheck { ready: false }),
        (&["healthcheck", "--ready"], Command::Healthcheck { ready: true }),
        (&["openapi"], Command::OpenApi),
    ] {
        assert_eq!(run(arguments).map(|it| it.command).ok(), Some(command), "{arguments:?}");
    }
}

#[test]
fn a_flag_may_stand_on_either_side_of_the_sub_command() {
    for arguments in [["--rabbitmq-host", "h", "check-config"], ["check-config", "--rabbitmq-host", "h"]] {
        let flags = run(&arguments).map(|it| it.flags).unwrap_or_default();
        assert_eq!(flags, [("RABBITMQ_HOST", "h".to_owned())], "{arguments:?}");
    }
}

#[test]
fn a_secret_is_not_a_flag_and_is_not_printed_when_tried() {
    for arguments in [
        &["--rabbitmq-password=hunter2"][..],
        &["--amqp-url=amqp://u:hunter2@h"],
        &["--rabbitmq-password", "hunter2"],
    ] {
        let text = run(arguments).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!text.is_empty() && !text.contains("hunter2"), "{text}");
    }
    assert!(run(&["--rabbitmq-password-file", "f"]).is_ok());
}

#[test]
fn the_version_is_no_mistake() {
    assert_eq!(run(&["--version"]).err().map(|error| error.use_stderr()), Some(false));
    assert_eq!(run(&["--nonsense"]).err().map(|error| error.use_stderr()), Some(true));
}

async fn asked(answer: &'static str, ready: bool) -> (Result<(), String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 1_024];
        let length = stream.read(&mut request).await.expect("a request");
        stream.write_all(answer.as_bytes()).await.expect("an answer");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
    (healthcheck(everywhere, ready).await, server.await.expect("the request"))
}

#[tokio::test]
async fn a_gateway_that_listens_everywhere_is_asked_on_loopback() {
    let (result, request) = asked("HTTP/1.1 200 OK\r\n\r\n", true).await;
    assert_eq!(result, Ok(()));
    assert!(request.starts_with("GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
}

#[tokio::test]
async fn anything_but_200_fails_with_one_line() {
    for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "SSH-2.0\r\n", ""] {
        let (result, request) = asked(answer, false).await;
        let why = result.err().unwrap_or_default();
        assert!(why.contains("/health/live: answered") && why.lines().count() == 1, "{answer}: {why}");
        assert!(request.starts_with("GET /health/live "), "{request}");
    }
}

#[tokio::test]
async fn nobody_listening_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    assert!(healthcheck(address, false).await.is_err());
    assert!(healthcheck(SocketAddr::new(address.ip(), 0), false).await.is_err());
}
