//! Evaluates Erlang inside a node through `erl_call`: some 10 ms where rabbitmqctl takes a second.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use private_broker::Setup;
use tokio::io::AsyncWriteExt;

/// Characters of an Erlang error that are shown.
const MAX_ERROR: usize = 2_000;

/// Panics on an Erlang error.
pub(super) async fn eval(setup: &Setup, expression: &str) -> String {
    let mut command = tokio::process::Command::from(caller(setup));
    let mut call = command.kill_on_drop(true).spawn().expect("erl_call of Erlang is in PATH");
    let mut input = call.stdin.take().expect("stdin is piped");
    input.write_all(script(expression).as_bytes()).await.expect("erl_call reads");
    drop(input);
    let output = call.wait_with_output().await.expect("erl_call ends");
    value(&output).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// For a drop: holds the thread meanwhile, and tells an error in place of a panic.
pub(super) fn eval_blocking(setup: &Setup, expression: &str) -> Result<String, String> {
    let mut call = caller(setup).spawn().map_err(|error| error.to_string())?;
    let mut input = call.stdin.take().expect("stdin is piped");
    input.write_all(script(expression).as_bytes()).map_err(|error| error.to_string())?;
    drop(input);
    value(&call.wait_with_output().map_err(|error| error.to_string())?)
}

fn caller(setup: &Setup) -> Command {
    // A name of its own: the node turns a second caller of the same name away, and `-r` draws one a second.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let caller = format!("it{}", CALLS.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new("erl_call");
    command
        .args(["-h", &caller, "-timeout", "30", "-e", "-c", &setup.identity().cookie, "-address"])
        .arg(format!("127.0.0.1:{}", setup.ports().distribution))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn script(expression: &str) -> String {
    format!("begin {expression} end.\n")
}

fn value(output: &Output) -> Result<String, String> {
    let answer = String::from_utf8_lossy(&output.stdout);
    let value = answer.strip_prefix("{ok, ").and_then(|rest| rest.trim_end().strip_suffix('}'));
    value.map(str::to_owned).ok_or_else(|| {
        let error = format!("{}{}", readable(&answer), String::from_utf8_lossy(&output.stderr));
        error.chars().take(MAX_ERROR).collect()
    })
}

/// Erlang prints a text as the list of its characters' numbers.
fn readable(answer: &str) -> String {
    let numbers = answer.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']'));
    let text = numbers.and_then(|(numbers, _)| {
        numbers
            .split(',')
            .map(|it| it.trim().parse().ok().and_then(char::from_u32))
            .collect::<Option<String>>()
    });
    text.map_or_else(|| answer.to_owned(), |text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}
