//! The program as `make run` uses it: start, stop, start again.

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

/// Stopped, however the test ends.
struct Broker {
    folder: tempfile::TempDir,
}

impl Broker {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable"),
        }
    }

    fn run(&self, action: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_private-broker"));
        // Neither may reach the node.
        command.env("RABBITMQ_NODE_PORT", "1").env("ERL_FLAGS", "-no_such_flag +no_such_flag");
        command.arg(action).arg(self.folder.path()).args(arguments).output().expect("it is built")
    }

    fn succeed(&self, action: &str, arguments: &[&str]) -> String {
        let output = self.run(action, arguments);
        assert!(output.status.success(), "{action}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect(name)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("stop", &[]);
    }
}

#[test]
fn a_broker_that_comes_back_has_its_data_and_its_ports() {
    let broker = Broker::new();
    broker.succeed("start", &[]);
    let (pid, env) = (broker.file("pid"), broker.file("env"));
    assert!(env.starts_with("AMQP_URL=amqp://guest:guest@127.0.0.1:"), "{env}");
    assert!(env.contains("\nRABBITMQ_DIST_PORT=") && env.contains("\nERL_EPMD_PORT="), "{env}");
    broker.succeed("start", &[]);
    assert_eq!(broker.file("pid"), pid, "the program starts a second node");
    broker.succeed("ctl", &["add_user", "kept", "secret"]);

    broker.succeed("stop", &[]);
    assert!(!is_alive(&pid), "the program ends before the node:\n{}", broker.file("log/node.log"));
    broker.succeed("start", &[]);
    assert_eq!(broker.file("env"), env);
    let again = broker.run("ctl", &["add_user", "kept", "secret"]);
    assert!(!again.status.success(), "the user is lost: {again:?}");
}

/// A process that has ended has no program, even while its parent has not asked for its exit code.
fn is_alive(pid: &str) -> bool {
    fs::read_link(Path::new("/proc").join(pid).join("exe")).is_ok()
}
