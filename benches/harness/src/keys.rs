//! The file of principals for the gateway with API keys: two principals, so that the fair share applies, and the key of one of them.

use std::path::Path;
use std::process::Output;
use std::{fs, str};

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The file, which each start of the gateway with API keys writes again.
pub const PRINCIPALS: &str = "target/bench/principals.toml";

/// Writes the file with this binary of the gateway. Returns the key of a principal that may publish everywhere.
///
/// # Errors
/// When the binary makes no key.
pub async fn make(gateway: &str) -> anyhow::Result<String> {
    let [mut parts, other] = [new_key(gateway, "bench").await?, new_key(gateway, "other").await?];
    let key = shown(&parts.stderr).context("`key new` shows no key")?.to_owned();
    parts.stdout.extend(other.stdout);
    if let Some(folder) = Path::new(PRINCIPALS).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(PRINCIPALS, parts.stdout)?;
    Ok(key)
}

async fn new_key(gateway: &str, principal: &str) -> anyhow::Result<Output> {
    let output = Command::new(gateway).args(["key", "new", principal, "--write", "*"]).output().await?;
    ensure!(output.status.success(), "`key new` ended with {}", output.status);
    Ok(output)
}

/// The key that a command shows.
fn shown(output: &[u8]) -> Option<&str> {
    str::from_utf8(output).ok()?.split_whitespace().find(|word| word.starts_with("rgw_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_between_the_words_of_a_command() {
        assert_eq!(shown(b"The key, shown once:\nrgw_abc\nStore it.\n"), Some("rgw_abc"));
        assert_eq!(shown(b"no key"), None);
    }
}
