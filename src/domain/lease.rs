//! The id of a lease, which every replica understands.

use std::fmt;
use std::str::FromStr;

/// The version of the format.
const VERSION: &str = "1";
/// The most bytes of an owner's name.
const MAX_OWNER: usize = 48;

/// The id of a lease: its owner, its number there, and a secret that proves that the gateway gave out the number. Opaque to
/// callers, at most 100 bytes, and safe in a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// The name of the owner: the replica that holds the message.
    pub owner: String,
    /// The number of the lease at its owner.
    pub serial: u64,
    /// Depends on a key of the owner, the number, the queue and the principal.
    pub secret: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, serial, secret } = self;
        write!(f, "{VERSION}.{owner}.{serial:x}.{secret:016x}")
    }
}

/// The text is no id of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no lease id: copy the lease_id of a pulled message")]
pub struct NoLeaseId;

impl FromStr for LeaseId {
    type Err = NoLeaseId;

    fn from_str(text: &str) -> Result<Self, NoLeaseId> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(NoLeaseId);
        let (version, owner, serial, secret) = (part()?, part()?, part()?, part()?);
        let is_owner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_valid = version == VERSION && !owner.is_empty() && owner.len() <= MAX_OWNER;
        if !is_valid || !owner.bytes().all(is_owner) || parts.next().is_some() {
            return Err(NoLeaseId);
        }
        let id = Self { owner: owner.to_owned(), serial: hex(serial)?, secret: hex(secret)? };
        // Each id has one spelling, so that a request cannot name a lease twice.
        if id.to_string() == text { Ok(id) } else { Err(NoLeaseId) }
    }
}

fn hex(text: &str) -> Result<u64, NoLeaseId> {
    u64::from_str_radix(text, 16).map_err(|_| NoLeaseId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_of_at_most_100_bytes() {
        let id = LeaseId { owner: "x".repeat(MAX_OWNER), serial: u64::MAX, secret: 7 };
        assert!(id.to_string().len() <= 100, "{id}");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            "",
            "1",
            "1.a.1",
            "2.a.1.0000000000000007",
            "1..1.0000000000000007",
            "1.a.01.0000000000000007",
            "1.a.+1.0000000000000007",
            "1.a.1.7",
            "1.a.1.0000000000000007.",
            "1.a/b.1.0000000000000007",
            "1.a.A.0000000000000007",
            "1.a.1.0000000000000007 ",
        ] {
            assert_eq!(wrong.parse::<LeaseId>(), Err(NoLeaseId), "{wrong}");
        }
    }
}
