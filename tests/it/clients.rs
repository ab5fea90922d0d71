//! Clients that generators of other projects make from the contract. The test generates them and calls the gateway with them, and
//! a second AMQP client checks that the messages arrive as they were sent.

use std::{
    fs::{copy, create_dir_all},
    path::{Path, PathBuf},
};

use lapin::types::AMQPValue;
use tokio::process::Command;

use crate::support::{
    echo::{echo, serve},
    observer::message_id,
    program::succeed,
    python::interpreter,
    stage::Stage,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");

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

/// A stage with a server for the queue `echo`.
async fn stage(name: &str) -> Stage {
    let stage = Stage::set(name).await;
    serve(&stage.observer, "echo", echo).await;
    stage
}

#[tokio::test]
async fn a_generated_python_client_publishes_calls_and_reads_problems() {
    let folder = made("python-client");
    let mut generate = Command::new(interpreter());
    generate.args(["-m", "openapi_python_client", "generate", "--meta", "none", "--overwrite"]);
    generate.arg("--path").arg(CONTRACT).arg("--config").arg(source("python/config.json"));
    generate.arg("--output-path").arg(folder.join("gateway_client"));
    let (_, stage) = tokio::join!(succeed(&mut generate), stage("python-client"));
    let mut client = Command::new(interpreter());
    succeed(client.arg(source("python/client.py")).arg(stage.gateway.url("")).env("PYTHONPATH", &folder))
        .await;
    finds_the_messages(&stage).await;
}

/// `scripts/test` installs the generator and the compiler.
async fn compile_typescript_client(folder: &Path) {
    let modules = folder.join("node_modules");
    assert!(modules.join("openapi-typescript").exists(), "scripts/test installs openapi-typescript");
    for file in ["client.ts", "tsconfig.json"] {
        copy(source("typescript").join(file), folder.join(file)).unwrap();
    }
    let mut generate = Command::new("node");
    generate.arg(modules.join("openapi-typescript/bin/cli.js")).arg(CONTRACT);
    succeed(generate.arg("--output").arg(folder.join("gateway.ts"))).await;
    succeed(Command::new("node").arg(modules.join("typescript/bin/tsc")).arg("--project").arg(folder)).await;
}

#[tokio::test]
async fn a_generated_typescript_client_publishes_calls_and_reads_problems() {
    let folder = made("typescript-client");
    let ((), stage) = tokio::join!(compile_typescript_client(&folder), stage("typescript-client"));
    succeed(Command::new("node").arg(folder.join("compiled/client.js")).arg(stage.gateway.url(""))).await;
    finds_the_messages(&stage).await;
}
