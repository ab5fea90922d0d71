//! The one log line of a request.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::toy::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn about(&self, id: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(id)).map(str::to_owned).collect()
    }
}

/// Logs of this thread, on which the toy runs too.
fn lines() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter("rabbitmq_gateway=debug")
        .with_writer(lines.clone())
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn every_request_has_one_line_with_its_id_and_route_but_no_path_or_query() {
    let (lines, _guard) = lines();
    let toy = toy().await;
    for (path, level, status) in [("/hello/bob?q=5", "DEBUG", "200"), ("/panic?q=5", "ERROR", "500")] {
        ask(&toy, get_request(path, &format!("X-Request-Id: id-{status}\r\n"))).await;
        let about = lines.about(&format!("id-{status}"));
        assert_eq!(about.len(), 1, "{about:?}");
        assert!(about[0].contains(level) && about[0].contains(&format!("status={status}")), "{about:?}");
        assert!(!about[0].contains("bob") && !about[0].contains("q=5"), "{about:?}");
    }
    assert!(lines.about("id-200")[0].contains("route=\"/hello/{name}\""));
    assert!(lines.about("id-500")[0].contains("a handler panicked: the secret is 1234"), "the log says why");
}

#[tokio::test]
async fn a_client_that_leaves_has_its_line_too() {
    let (lines, _guard) = lines();
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/stuck", "X-Request-Id: gone\r\n")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(lines.about("gone")[0].contains("client left before its answer"));
}
