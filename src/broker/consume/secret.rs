//! The secret of a lease id: it proves that this process gave out the id, for this queue.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::names::QueueName;

/// The key of this process. Lease ids cannot be guessed without it.
pub(super) struct LeaseKey([u8; 32]);

impl LeaseKey {
    /// A new key of 244 random bits.
    pub(super) fn generate() -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(key)
    }

    /// The secret of the lease with this number: the first 64 bits of a SHA-256. The parts before the name have fixed lengths, and
    /// callers never see the whole hash, so no caller can extend it.
    pub(super) fn secret(&self, serial: u64, queue: &QueueName) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(serial.to_be_bytes());
        hash.update(queue.as_str().as_bytes());
        let hash = hash.finalize();
        hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    /// Whether the lease has this secret. Takes the same time for each wrong secret.
    pub(super) fn proves(&self, secret: u64, serial: u64, queue: &QueueName) -> bool {
        self.secret(serial, queue) ^ secret == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_depends_on_the_key_the_number_and_the_queue() {
        let queue = |name| QueueName::parse(name).expect("a valid name");
        let (key, other) = (LeaseKey::generate(), LeaseKey::generate());
        let secret = key.secret(1, &queue("q"));
        assert!(key.proves(secret, 1, &queue("q")));
        assert!(!key.proves(secret, 2, &queue("q")));
        assert!(!key.proves(secret, 1, &queue("q2")));
        assert!(!other.proves(secret, 1, &queue("q")));
    }
}
