//! A shell that holds the node's process, so that it ends with the test run even when the tests panic or are killed.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::setup::{Setup, program};

/// See `watchdog.sh`.
pub(super) struct Watchdog {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Watchdog {
    /// In a process group of its own, so that Ctrl-C reaches it only through the end of its stdin.
    pub(super) fn spawn(setup: &Setup) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("../watchdog.sh"), "watchdog"]);
        command.arg(&setup.folder).arg(program("rabbitmq-server"));
        command.args(setup.identity.starts_epmd.then_some("epmd"));
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        setup.set_environment(&mut command);
        let mut shell = command.spawn().expect("sh is in PATH");
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("stdout is piped"));
        Self { shell, commands, answers }
    }

    pub(super) fn obey(&mut self, command: &str) -> String {
        let mut answer = String::new();
        let commands = self.commands.as_mut().expect("taken only by drop");
        writeln!(commands, "{command}").expect("the watchdog lives");
        self.answers.read_line(&mut answer).expect("the watchdog answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.commands.take());
        drop(self.shell.wait());
    }
}
