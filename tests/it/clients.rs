//! Clients that generators of other projects make from the contract. The test generates them and calls the gateway with them, and
//! a second AMQP client checks that the messages arrive as they were sent. The gateway asks for an API key, which the clients send in the way
//! that their generators offer.

use std::{
    fs::{copy, create_dir_all},
    path::{Path, PathBuf},
    time::Duration,
};

use lapin::{message::Delivery, types::AMQPValue};
use rabbitmq_gateway::domain::access::ApiKey;
use tokio::process::Command;

use crate::support::{
    caller::{Caller, DIRECT},
    echo::{echo, serve},
    observer::message_id,
    poll::eventually,
    program::succeed,
    python::interpreter,
    stage::Stage,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
/// The rights of the clients: to everything but RabbitMQ's own names.
const RIGHTS: &str = "configure = ['*']\nwrite = ['*']\nread = ['*']\ncall = ['*']\ntags = ['monitoring']\n";
const SOON: Duration = Duration::from_secs(30);

fn source(file: &str) -> PathBuf {
    Path::new(ROOT).join("tests/clients").join(file)
}

/// A folder below `target` for the generated code.
fn made(folder: &str) -> PathBuf {
    let folder = Path::new(ROOT).join("target").join(folder);
    create_dir_all(&folder).unwrap();
    folder
}

/// Checks the messages that both clients publish to the queue `orders`: any JSON, an envelope with properties and headers, bytes.
async fn finds_the_messages(stage: &Stage) {
    let [json, envelope, bytes] = <[_; 3]>::try_from(stage.observer.drain("orders").await).expect("three");
    let content_type =
        |given: &lapin::BasicProperties| given.content_type().as_ref().map(ToString::to_string);
    assert_eq!(String::from_utf8(json.data.clone()).unwrap().replace(' ', ""), r#"{"order":7}"#);
    assert_eq!(
        (message_id(&json), content_type(&json.properties).as_deref()),
        ("order-7".to_owned(), Some("application/json"))
    );
    assert_eq!(json.properties.delivery_mode(), &Some(2));
    let given = &envelope.properties;
    assert_eq!(envelope.data, "größer".as_bytes());
    assert_eq!(content_type(given).as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(given.kind().as_ref().map(ToString::to_string).as_deref(), Some("order.created"));
    assert_eq!((given.priority(), given.delivery_mode()), (&Some(5), &Some(1)));
    let headers = given.headers().as_ref().expect("headers").inner();
    assert_eq!(headers.get("tenant"), Some(&AMQPValue::LongString("acme".into())));
    assert_eq!(headers.get("shard"), Some(&AMQPValue::LongInt(7)));
    assert_eq!(bytes.data, [0, 255, b'\n']);
    assert_eq!(content_type(&bytes.properties).as_deref(), Some("application/octet-stream"));
}

fn correlation_id(delivery: &Delivery) -> String {
    delivery.properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The reason of a dead letter or of a retry.
fn reason(delivery: &Delivery) -> Option<&AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get("x-last-error")
}

/// Checks where the messages are that both clients settle, and the replies.
async fn finds_the_settled_messages(stage: &Stage, caller: &mut Caller) {
    let pulled = Numbers { released: 1, rejected: 2, retried: 4, dead: 5 };
    let taken = Numbers { released: 7, rejected: 2, retried: 3, dead: 4 };
    finds_the_messages_of(stage, "pulled", pulled).await;
    finds_the_messages_of(stage, "taken", taken).await;
    let replies = stage.observer.drain("replies").await;
    let replies: Vec<_> = replies.iter().map(|it| (correlation_id(it), it.data.as_slice())).collect();
    let expected: [(&str, &[u8]); 3] =
        [("pulled-6", b"{\"sum\":30}"), ("taken-5", b"{\"sum\":30}"), ("taken-6", &[0, 255])];
    let expected = expected.map(|(id, body)| (id.to_owned(), body));
    assert_eq!(replies, expected);
    let reply = caller.reply().await;
    assert_eq!((correlation_id(&reply).as_str(), reply.data.as_slice()), ("direct", b"30".as_slice()));
}

/// The numbers of the messages that are in a queue after their settle.
struct Numbers {
    released: u32,
    rejected: u32,
    retried: u32,
    dead: u32,
}

/// Checks where the messages of `queue` are, and that the others are gone.
async fn finds_the_messages_of(stage: &Stage, queue: &str, numbers: Numbers) {
    let id = |number| format!("{queue}-{number}");
    assert_eq!(stage.observer.drain_ids(queue).await, [id(numbers.released)]);
    let (wait_queue, dead_letters) = (format!("{queue}.retry.60s"), format!("{queue}.dlq"));
    let [copy] = <[_; 1]>::try_from(stage.observer.drain(&wait_queue).await).expect("one copy");
    let failure = AMQPValue::LongString("the database is down".into());
    assert_eq!((message_id(&copy), reason(&copy)), (id(numbers.retried), Some(&failure)));
    let are_there = || async { stage.observer.count(&dead_letters).await == Some(2) };
    eventually(SOON, "RabbitMQ has moved the rejected message", are_there).await;
    let mut letters = stage.observer.drain(&dead_letters).await;
    letters.sort_by_key(message_id);
    let letters: Vec<_> = letters.iter().map(|it| (message_id(it), reason(it))).collect();
    let failure = AMQPValue::LongString("no number".into());
    assert_eq!(letters, [(id(numbers.rejected), None), (id(numbers.dead), Some(&failure))]);
}

/// A stage with a server for the queue `echo`, and a call in the queue `q` whose caller waits by direct reply-to. Its gateway knows one key.
async fn stage(name: &str) -> (Stage, Caller, ApiKey) {
    let key = ApiKey::generate();
    let principals = format!("[principals.shop]\nkeys = ['{}']\n{RIGHTS}", key.digest());
    let stage = Stage::set_with(name, &[("GATEWAY_PRINCIPALS", &principals)]).await;
    stage.observer.declare_queue("q").await;
    serve(&stage.observer, "echo", echo).await;
    let caller = Caller::at(&stage.observer, DIRECT).await;
    caller.ask("direct").await;
    (stage, caller, key)
}

#[tokio::test]
async fn a_generated_python_client_publishes_calls_settles_and_reads_problems() {
    let folder = made("python-client");
    let mut generate = Command::new(interpreter());
    generate.args(["-m", "openapi_python_client", "generate", "--meta", "none", "--overwrite"]);
    generate.arg("--path").arg(CONTRACT).arg("--config").arg(source("python/config.json"));
    generate.arg("--output-path").arg(folder.join("gateway_client"));
    let (_, (stage, mut caller, key)) = tokio::join!(succeed(&mut generate), stage("python-client"));
    let mut client = Command::new(interpreter());
    client.arg(source("python/client.py")).arg(stage.gateway.url(""));
    succeed(client.env("PYTHONPATH", &folder).env("GATEWAY_KEY", key.reveal())).await;
    finds_the_messages(&stage).await;
    finds_the_settled_messages(&stage, &mut caller).await;
}

/// `scripts/test` installs the generator and the compiler.
async fn compile_typescript_client(folder: &Path) {
    let modules = folder.join("node_modules");
    assert!(modules.join("openapi-typescript").exists(), "scripts/test installs openapi-typescript");
    for file in ["client.ts", "settling.ts", "tsconfig.json"] {
        copy(source("typescript").join(file), folder.join(file)).unwrap();
    }
    let mut generate = Command::new("node");
    generate.arg(modules.join("openapi-typescript/bin/cli.js")).arg(CONTRACT);
    succeed(generate.arg("--output").arg(folder.join("gateway.ts"))).await;
    succeed(Command::new("node").arg(modules.join("typescript/bin/tsc")).arg("--project").arg(folder)).await;
}

#[tokio::test]
async fn a_generated_typescript_client_publishes_calls_settles_and_reads_problems() {
    let folder = made("typescript-client");
    let ((), (stage, mut caller, key)) =
        tokio::join!(compile_typescript_client(&folder), stage("typescript-client"));
    let mut client = Command::new("node");
    client.arg(folder.join("compiled/client.js")).arg(stage.gateway.url(""));
    succeed(client.env("GATEWAY_KEY", key.reveal())).await;
    finds_the_messages(&stage).await;
    finds_the_settled_messages(&stage, &mut caller).await;
}
