//! The composition root. This stub only waits for the end: the real one replaces it.

use crate::config::Config;
use crate::shutdown::Signal;

/// Runs the gateway until `end` comes.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(config: Config, end: impl Future<Output = Signal>) -> anyhow::Result<()> {
    let signal = end.await;
    tracing::info!(?signal, listen = %config.http.listen, "ended");
    Ok(())
}
