//! Publish streams and batches by HTTP clients of other projects: curl, Python's http.client and httpx, Node's fetch.
//!
//! A second AMQP client reads the messages that arrive.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::PATH;
use crate::support::{
    observer::message_id, poll::within, program::succeed, python::interpreter, stage::Stage,
};

const SOON: Duration = Duration::from_secs(20);
const HTTP1: &str = "--http1.1";
const HTTP2: &str = "--http2-prior-knowledge";

/// curl, which sends the lines that the test writes. `-T .` reads its input without blocking, so that curl shows each result at
/// once; with `-T -` it shows them when further input comes.
struct Curl {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Curl {
    fn start(stage: &Stage, version: &str, upload: &str) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sS", "-X", "POST", "-N", "-T", upload, version]);
        command.args(["-H", "content-type: application/x-ndjson", &stage.gateway.url(PATH)]);
        // This curl writes a progress meter to its standard error in spite of `-s`.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().expect("curl runs");
        let input = process.stdin.take().expect("curl has an input");
        let output = BufReader::new(process.stdout.take().expect("curl has an output")).lines();
        Self { process, input, output }
    }

    async fn send(&mut self, item: &Value) {
        self.input.write_all(format!("{item}\n").as_bytes()).await.expect("curl reads");
    }

    async fn next(&mut self) -> Value {
        let line = within(SOON, "a line of curl", self.output.next_line()).await.expect("text");
        serde_json::from_str(&line.expect("a line")).expect("each line is JSON")
    }

    /// Ends the input, and gives all further lines.
    async fn end(mut self) -> Vec<Value> {
        drop(self.input);
        let mut lines = Vec::new();
        while let Some(line) = within(SOON, "curl ends", self.output.next_line()).await.expect("text") {
            lines.push(serde_json::from_str(&line).expect("each line is JSON"));
        }
        assert!(self.process.wait().await.expect("curl ends").success());
        lines
    }
}

/// The number of lines, of confirmed ones, and the end.
fn summary(last: &Value) -> (u64, u64, &str) {
    let summary = &last["summary"];
    let number = |value: &Value| value.as_u64().expect("a number");
    let end = summary["end"].as_str().expect("an end");
    (number(&summary["read"]), number(&summary["counts"]["confirmed"]), end)
}

#[tokio::test]
async fn curl_shows_each_result_while_its_input_is_open_over_both_versions_of_http() {
    let stage = Stage::with_queue("stream-curl").await;
    for version in [HTTP1, HTTP2] {
        let mut curl = Curl::start(&stage, version, ".");
        for n in 0..3_u64 {
            curl.send(&json!({"body": n})).await;
            let result = curl.next().await;
            let message = stage.observer.get_one("q", SOON).await;
            assert_eq!((&result["index"], &result["outcome"]), (&n.into(), &"confirmed".into()), "{version}");
            assert_eq!(result["message_id"], message_id(&message), "{version}");
        }
        let rest = curl.end().await;
        assert_eq!(rest.iter().map(summary).collect::<Vec<_>>(), [(3, 3, "complete")], "{version}");
    }
}

#[tokio::test]
async fn lines_of_a_curl_that_blocks_on_its_input_are_published_while_it_is_open() {
    let stage = Stage::with_queue("stream-curl-blocks").await;
    let mut curl = Curl::start(&stage, HTTP1, "-");
    for n in 0..3_u64 {
        curl.send(&json!({"body": n})).await;
        assert_eq!(stage.observer.get_one("q", SOON).await.data, n.to_string().into_bytes());
    }
    let lines = curl.end().await;
    assert_eq!((lines.len(), summary(&lines[3])), (4, (3, 3, "complete")));
}

#[tokio::test]
async fn curl_sends_a_file_as_a_stream_and_as_a_batch_over_both_versions_of_http() {
    let stage = Stage::with_queue("stream-curl-file").await;
    let items: Vec<_> = (0..500).map(|n| json!({"id": format!("i{n}"), "body": n})).collect();
    let folder = tempfile::tempdir().unwrap();
    let (lines, array) = (folder.path().join("lines"), folder.path().join("array"));
    let texts: Vec<_> = items.iter().map(|item| format!("{item}\n")).collect();
    std::fs::write(&lines, texts.concat()).unwrap();
    std::fs::write(&array, Value::from(items).to_string()).unwrap();
    for version in [HTTP1, HTTP2] {
        let stream = curl(&stage, version, PATH, "application/x-ndjson", &lines).await;
        let (_, last) = stream.trim_end().rsplit_once('\n').expect("results and a summary");
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(summary(&last), (500, 500, "complete"), "{version}");
        let path = "/publish/amq.default/batch?routing_key=q";
        let batch: Value = curl(&stage, version, path, "application/json", &array).await.parse().unwrap();
        assert_eq!(
            (&batch["counts"]["confirmed"], &batch["results"][499]["id"]),
            (&500.into(), &"i499".into())
        );
        let bodies: Vec<_> = stage.observer.drain("q").await.into_iter().map(|it| it.data).collect();
        let expected: Vec<_> = (0..500).chain(0..500).map(|n| n.to_string().into_bytes()).collect();
        assert!(bodies == expected, "{version}: the messages are in another order");
    }
}

/// Posts a file with curl; gives the answer.
async fn curl(stage: &Stage, version: &str, path: &str, media_type: &str, file: &Path) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "-X", "POST", version, "-H", &format!("content-type: {media_type}")]);
    succeed(command.arg("--data-binary").arg(format!("@{}", file.display())).arg(stage.gateway.url(path)))
        .await
}

/// Runs a program of `tests/clients/streams` with the address of the stream, and checks that this number of messages arrives in
/// the order of the numbers in them.
async fn runs(name: &str, program: &str, interpreter: &str, messages: u32) {
    let stage = Stage::with_queue(name).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/streams").join(program);
    succeed(Command::new(interpreter).arg(file).arg(stage.gateway.url(PATH))).await;
    assert_eq!(stage.observer.count("q").await, Some(messages));
    for n in 0..20 {
        assert_eq!(stage.observer.get_one("q", SOON).await.data, n.to_string().into_bytes());
    }
}

#[tokio::test]
async fn a_client_that_sends_100_000_lines_before_it_reads_has_all_confirmed() {
    runs("stream-http-client", "send_first.py", "python3", 100_000).await;
}

#[tokio::test]
async fn httpx_streams_a_generator_and_reads_all_results() {
    runs("stream-httpx", "generator.py", &interpreter(), 2000).await;
}

#[tokio::test]
async fn fetch_of_node_streams_a_readable_stream_and_reads_all_results() {
    runs("stream-fetch", "fetch.mjs", "node", 2000).await;
}
