//! schemathesis makes valid and invalid requests from the contract, and the gateway answers each one as the contract says.
//!
//! The folder `tests/schemathesis` holds the rules that the contract cannot express.

#![expect(clippy::print_stdout, reason = "the report of schemathesis, for the person who runs the long test")]

use std::{fs::create_dir_all, time::Duration};

use tokio::process::Command;

use crate::support::{
    echo::{echo, serve},
    program::succeed_within,
    python::interpreter,
    stage::Stage,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A call without a timeout waits for this time when no server answers, and a pull without a wait when no message comes.
const SETTINGS: [(&str, &str); 2] = [("GATEWAY_RPC_TIMEOUT", "300ms"), ("GATEWAY_PULL_WAIT_MAX", "1s")];

async fn finds_nothing(name: &str, deadline: Duration, arguments: &[&str]) {
    let stage = Stage::set_with(name, &SETTINGS).await;
    serve(&stage.observer, "echo", echo).await;
    let folder = format!("{ROOT}/target/schemathesis");
    create_dir_all(&folder).unwrap();
    let mut command = Command::new(interpreter());
    command.current_dir(folder).env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", format!("{ROOT}/tests/schemathesis")).args(["-m", "schemathesis.cli"]);
    command.arg("--config-file").arg(format!("{ROOT}/tests/schemathesis/schemathesis.toml"));
    command.arg("run").arg(stage.gateway.url("/openapi.json")).args(arguments);
    println!("{}", succeed_within(deadline, &mut command).await);
}

/// Takes some seconds: all the edges of the schemas, and a few random requests of each operation.
#[tokio::test]
async fn requests_made_from_the_contract_get_the_answers_of_the_contract() {
    finds_nothing("schemathesis", Duration::from_mins(1), &["--max-examples", "5"]).await;
}

#[tokio::test]
#[ignore = "takes some minutes: make test-schema"]
async fn many_requests_made_from_the_contract_get_the_answers_of_the_contract() {
    let arguments = ["--max-examples", "300", "--continue-on-failure"];
    finds_nothing("schemathesis-long", Duration::from_mins(20), &arguments).await;
}
