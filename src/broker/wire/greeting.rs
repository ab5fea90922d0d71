//! Product and version of the server, from `connection.start`.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::connection::AMQPMethod;
use amq_protocol::types::{AMQPValue, FieldTable};

/// Maximum number of characters of a name. A server may send more, and the names go into the log.
const MAX_CHARS: usize = 64;

/// The product at an address, such as `RabbitMQ`, and its version. Each is `unknown` if the server does not send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub product: String,
    /// Its version.
    pub version: String,
}

impl Default for Server {
    fn default() -> Self {
        let unknown = || "unknown".to_owned();
        Self { product: unknown(), version: unknown() }
    }
}

/// The properties in a whole frame of `connection.start`.
pub(super) fn server_of(frame: &[u8]) -> Server {
    let Ok((_, AMQPFrame::Method(_, AMQPClass::Connection(AMQPMethod::Start(start))))) = parse_frame(frame)
    else {
        return Server::default();
    };
    let unknown = Server::default();
    let properties = &start.server_properties;
    Server {
        product: text(properties, "product").unwrap_or(unknown.product),
        version: text(properties, "version").unwrap_or(unknown.version),
    }
}

fn text(properties: &FieldTable, name: &str) -> Option<String> {
    match properties.inner().get(name)? {
        AMQPValue::LongString(text) => {
            let text = String::from_utf8_lossy(text.as_bytes());
            Some(text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::{WriteContext, gen_frame};
    use amq_protocol::protocol::connection::Start;
    use amq_protocol::types::LongString;

    use super::*;
    use crate::broker::convert::short_string;

    fn greeted(properties: &[(&str, &str)]) -> Server {
        let mut table = FieldTable::default();
        for (name, value) in properties {
            table.insert(short_string(name), AMQPValue::LongString(LongString::from(*value)));
        }
        let start = AMQPMethod::Start(Start { server_properties: table, ..Start::default() });
        let frame = AMQPFrame::Method(0, AMQPClass::Connection(start));
        let written = gen_frame(&frame)(WriteContext::from(Vec::new())).expect("a vector takes all");
        server_of(&written.write)
    }

    #[test]
    fn a_server_tells_its_product_and_version() {
        let server = greeted(&[("product", "RabbitMQ"), ("version", "3.10.8"), ("platform", "Erlang")]);
        assert_eq!((server.product.as_str(), server.version.as_str()), ("RabbitMQ", "3.10.8"));
    }

    #[test]
    fn a_server_may_send_no_name_or_a_long_one() {
        assert_eq!(greeted(&[]), Server::default());
        assert_eq!(server_of(b"garbage"), Server::default());
        let server = greeted(&[("product", &"x".repeat(9_000)), ("version", "1\nlevel=ERROR")]);
        assert_eq!((server.product.len(), server.version.as_str()), (MAX_CHARS, "1level=ERROR"));
    }
}
