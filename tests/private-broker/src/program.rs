//! The programs of the installed RabbitMQ.

use std::env;
use std::path::PathBuf;

use anyhow::ensure;

/// Debian's wrappers in `/usr/sbin` would change the user.
const FOLDER: &str = "/usr/lib/rabbitmq/bin";
const VARIABLE: &str = "GATEWAY_TEST_RABBITMQ";

/// Whether this machine has a RabbitMQ.
#[must_use]
pub fn is_installed() -> bool {
    path("rabbitmq-server").exists()
}

pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let program = path(name);
    ensure!(
        program.exists(),
        "RabbitMQ is not installed: there is no {}. Run scripts/install-rabbitmq, or name the folder of \
         rabbitmq-server and rabbitmqctl in {VARIABLE}",
        program.display()
    );
    Ok(program)
}

fn path(name: &str) -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| FOLDER.into(), PathBuf::from).join(name)
}
