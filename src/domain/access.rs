//! Permissions: who may use which names. Decisions need names only, so they are made before RabbitMQ is asked.
//!
//! The words are RabbitMQ's: configure, write and read, on queues and exchanges, with routing keys. One word is the gateway's own: call.
//! The rules are those of RabbitMQ's scopes in OAuth 2 (<https://www.rabbitmq.com/docs/oauth2#scope-translation>), and stricter in these:
//! - A grant with a routing key covers no operation without one.
//! - A name that begins with `amq.` needs a grant that says so, see [`Grant`].

mod api_key;
mod difference;
mod grant;
mod need;
mod needed;
mod permissions;
mod principals;
mod toml_text;
mod wildcard;

pub use self::api_key::{ApiKey, KeyDigest, NoApiKey, NoKeyDigest};
pub use self::difference::Difference;
pub use self::grant::Grant;
pub use self::need::{Key, Need, Verb};
pub use self::needed::Needed;
pub use self::permissions::Permissions;
pub use self::principals::{ANONYMOUS, KeyState, Principal, Principals};
pub use self::toml_text::toml_text;
pub use self::wildcard::{PatternError, Wildcard};
