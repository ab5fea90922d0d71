//! Asks the running gateway over HTTP, with a deadline, for containers and scripts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::domain::listen::dialled;

const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the gateway that listens at `listen` for `/health/live` or `/health/ready`, within 3 seconds.
///
/// # Errors
/// One line with the address and the answer that is not 200.
pub async fn healthcheck(listen: SocketAddr, ready: bool) -> Result<(), String> {
    let address = dialled(listen);
    let path = if ready { "/health/ready" } else { "/health/live" };
    let failed = |why: String| format!("http://{address}{path}: {why}");
    if listen.port() == 0 {
        return Err(failed(
            "the address has port 0, so the port of the running gateway is not known".to_owned(),
        ));
    }
    match tokio::time::timeout(HEALTHCHECK_TIMEOUT, status(address, path)).await {
        Ok(Ok(status)) if status == "200" => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("answered {status:?}"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("no answer in 3s".to_owned())),
    }
}

async fn status(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).take(1_024).read_line(&mut line).await?;
    Ok(line.split(' ').nth(1).unwrap_or_default().trim_end().to_owned())
}

#[cfg(test)]
mod tests;
