//! The secret of a lease id: it proves that this process gave out the id, for this queue and this principal.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::lease_scope::LeaseScope;

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

    /// The secret of the lease with this number: the first 64 bits of a SHA-256. The parts before the names have fixed lengths,
    /// and callers never see the whole hash, so no caller can extend it.
    pub(super) fn secret(&self, serial: u64, scope: LeaseScope<'_>) -> u64 {
        let queue = scope.queue.as_str().as_bytes();
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(serial.to_be_bytes());
        hash.update((queue.len() as u64).to_be_bytes());
        hash.update(queue);
        hash.update(scope.principal.as_bytes());
        let hash = hash.finalize();
        hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    /// Whether the lease has this secret. Takes the same time for each wrong secret.
    pub(super) fn proves(&self, secret: u64, serial: u64, scope: LeaseScope<'_>) -> bool {
        self.secret(serial, scope) ^ secret == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::QueueName;

    #[test]
    fn a_secret_depends_on_the_key_the_number_the_queue_and_the_principal() {
        let [q, q2] = ["q", "q2"].map(|name| QueueName::parse(name).expect("a valid name"));
        let scope = |queue, principal| LeaseScope { queue, principal };
        let (key, other) = (LeaseKey::generate(), LeaseKey::generate());
        let secret = key.secret(1, scope(&q, "shop"));
        assert!(key.proves(secret, 1, scope(&q, "shop")));
        assert!(!key.proves(secret, 2, scope(&q, "shop")));
        assert!(!key.proves(secret, 1, scope(&q2, "shop")));
        assert!(!key.proves(secret, 1, scope(&q, "")));
        assert!(!key.proves(secret, 1, scope(&q, "shop2")));
        assert!(!other.proves(secret, 1, scope(&q, "shop")));
        // The border between the two names counts.
        assert!(!key.proves(key.secret(1, scope(&q, "2")), 1, scope(&q2, "")));
    }
}
