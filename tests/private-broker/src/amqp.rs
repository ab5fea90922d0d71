//! The first bytes of AMQP, by which a broker shows that it is ready.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(2);
const PROTOCOL_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// The type of the frame that carries `connection.start`.
const METHOD_FRAME: u8 = 1;

/// Whether the broker answers a protocol header with `connection.start`. Blocks for some seconds at most.
#[must_use]
pub fn speaks_amqp(address: SocketAddr) -> bool {
    first_byte(address).is_ok_and(|byte| byte == METHOD_FRAME)
}

fn first_byte(address: SocketAddr) -> io::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(PROTOCOL_HEADER)?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}
