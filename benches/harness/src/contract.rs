//! The operations that a binary of the gateway knows, as its command `openapi` tells them.

use std::path::Path;
use std::process::{Command, Stdio};

/// The most seconds for the contract. A binary that does not know the command may run without end.
const PATIENCE: &str = "10";

/// The contract of a binary as text; empty when it tells none.
#[must_use]
pub fn contract(binary: &Path) -> String {
    let mut command = Command::new("timeout");
    let output = command.arg(PATIENCE).arg(binary).arg("openapi").stdin(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Whether a contract has this path.
#[must_use]
pub fn has_path(contract: &str, path: &str) -> bool {
    contract.contains(&format!("\"{path}\""))
}
