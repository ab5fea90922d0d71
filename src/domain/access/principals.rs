//! The principals that the gateway knows, and how it finds the one of a request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::api_key::KeyDigest;
use super::permissions::Permissions;

/// The name of the principal of requests without credentials.
pub const ANONYMOUS: &str = "anonymous";

/// A caller by its name in the file, with its permissions.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its name in the file of principals.
    pub name: Arc<str>,
    /// Its permissions.
    pub permissions: Permissions,
}

/// A key of a principal.
#[derive(Debug, Clone)]
struct Key {
    principal: Arc<Principal>,
    until: Option<SystemTime>,
}

/// Whether the gateway accepts a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// Before this time, if there is one.
    Until(Option<SystemTime>),
    /// Not any more.
    Revoked,
}

/// Keys with their states, by the name of their principal.
pub type KeysByOwner<'a> = HashMap<&'a str, HashSet<(&'a KeyDigest, KeyState)>>;

/// Every principal. The table never changes; the gateway replaces it as a whole.
#[derive(Debug, Clone, Default)]
pub struct Principals {
    by_name: HashMap<Arc<str>, Arc<Principal>>,
    by_key: HashMap<KeyDigest, Key>,
    revoked: HashSet<KeyDigest>,
}

impl Principals {
    /// Adds a principal. Returns `None` if there is one with this name already.
    pub fn add(&mut self, principal: Principal) -> Option<Arc<Principal>> {
        let principal = Arc::new(principal);
        let before = self.by_name.insert(principal.name.clone(), Arc::clone(&principal));
        before.is_none().then_some(principal)
    }

    /// Adds a key of a principal, which the gateway accepts before the given time. Returns the principal that has the key already.
    pub fn add_key(
        &mut self,
        digest: KeyDigest,
        principal: &Arc<Principal>,
        until: Option<SystemTime>,
    ) -> Option<Arc<Principal>> {
        let key = Key { principal: Arc::clone(principal), until };
        self.by_key.insert(digest, key).map(|before| before.principal)
    }

    /// Refuses a key of any principal from now on.
    pub fn revoke(&mut self, digest: KeyDigest) {
        self.revoked.insert(digest);
    }

    /// The principal of a key at this time. The look-up is by the digest of the whole key, so its time tells nothing about the key.
    #[must_use]
    pub fn of_key(&self, digest: &KeyDigest, now: SystemTime) -> Option<&Arc<Principal>> {
        let key = self.by_key.get(digest).filter(|key| key.until.is_none_or(|until| now < until));
        key.filter(|_| !self.revoked.contains(digest)).map(|key| &key.principal)
    }

    /// The principal that a key belongs to, also when the gateway no longer accepts it.
    #[must_use]
    pub fn owner(&self, digest: &KeyDigest) -> Option<&Arc<Principal>> {
        self.by_key.get(digest).map(|key| &key.principal)
    }

    /// Whether a key has expired, and is not revoked.
    #[must_use]
    pub fn has_expired(&self, digest: &KeyDigest, now: SystemTime) -> bool {
        self.end_of_key(digest).is_some_and(|until| until <= now) && !self.revoked.contains(digest)
    }

    /// The end of a key, if it has one.
    #[must_use]
    pub fn end_of_key(&self, digest: &KeyDigest) -> Option<SystemTime> {
        self.by_key.get(digest)?.until
    }

    /// The principal of requests without credentials.
    #[must_use]
    pub fn anonymous(&self) -> Option<&Arc<Principal>> {
        self.named(ANONYMOUS)
    }

    /// The principal with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Principal>> {
        self.by_name.get(name)
    }

    /// All principals, by name.
    #[must_use]
    pub fn all(&self) -> Vec<&Principal> {
        let mut all: Vec<_> = self.by_name.values().map(|principal| &**principal).collect();
        all.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        all
    }

    /// The keys and their states, by the name of their principal.
    #[must_use]
    pub fn keys_by_owner(&self) -> KeysByOwner<'_> {
        let mut keys = KeysByOwner::new();
        for (digest, key) in &self.by_key {
            let state =
                if self.revoked.contains(digest) { KeyState::Revoked } else { KeyState::Until(key.until) };
            keys.entry(&*key.principal.name).or_default().insert((digest, state));
        }
        keys
    }

    /// The number of principals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none: then every request is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::domain::access::ApiKey;

    fn principal(name: &str) -> Principal {
        Principal { name: name.into(), permissions: Permissions::default() }
    }

    #[test]
    fn a_key_leads_to_its_principal_until_it_expires_or_is_revoked() {
        let mut principals = Principals::default();
        assert!(principals.is_empty());
        let shop = principals.add(principal("shop")).expect("the first");
        assert_eq!(principals.add(principal("shop")), None);
        let [lasting, short, revoked, foreign] = [(); 4].map(|()| ApiKey::generate().digest());
        let end = UNIX_EPOCH + Duration::from_hours(1);
        assert_eq!(principals.add_key(lasting, &shop, None), None);
        assert_eq!(principals.add_key(short, &shop, Some(end)), None);
        assert_eq!(principals.add_key(revoked, &shop, None), None);
        assert_eq!(principals.add_key(revoked, &shop, None), Some(Arc::clone(&shop)));
        principals.revoke(revoked);
        let name = |digest, now| principals.of_key(digest, now).map(|it| &*it.name);
        assert_eq!(name(&lasting, end), Some("shop"));
        assert_eq!(name(&short, end - Duration::from_secs(1)), Some("shop"));
        assert_eq!((name(&short, end), name(&revoked, end), name(&foreign, end)), (None, None, None));
        let owner = |digest| principals.owner(digest).map(|it| &*it.name);
        assert_eq!((owner(&short), owner(&revoked), owner(&foreign)), (Some("shop"), Some("shop"), None));
        for (digest, before, after) in [
            (&lasting, false, false),
            (&short, false, true),
            (&revoked, false, false),
            (&foreign, false, false),
        ] {
            let expired = [end - Duration::from_secs(1), end].map(|now| principals.has_expired(digest, now));
            assert_eq!(expired, [before, after]);
        }
        let keys = principals.keys_by_owner();
        let of_owner = keys.iter().flat_map(|(owner, keys)| keys.iter().map(|(_, state)| (*owner, *state)));
        let mut keys: Vec<_> = of_owner.collect();
        keys.sort_unstable();
        let states = [KeyState::Until(None), KeyState::Until(Some(end)), KeyState::Revoked];
        assert_eq!(keys, states.map(|state| ("shop", state)));
        assert_eq!((principals.len(), principals.is_empty(), principals.anonymous()), (1, false, None));
        assert!(principals.named("shop").is_some());
    }
}
