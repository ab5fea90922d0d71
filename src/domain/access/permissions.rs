//! The permissions of one principal.

use super::grant::Grant;
use super::need::{Key, Need, Verb};
use super::wildcard::PatternError;

/// The grants of one principal, and its tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    grants: [Vec<Grant>; Verb::ALL.len()],
    may_monitor: bool,
}

impl Permissions {
    /// Every permission: those of the gateway's own user.
    #[must_use]
    pub fn all() -> Self {
        let mut all = Self { grants: Default::default(), may_monitor: true };
        for verb in Verb::ALL {
            for pattern in ["*", "amq.rabbitmq.*", "amq.gen-*"] {
                // All of them are patterns.
                let _valid = all.grant(verb, pattern, "");
            }
        }
        all
    }

    /// Adds a grant of a principal with this name.
    ///
    /// # Errors
    /// The pattern is wrong, or a grant of a call has a routing key.
    pub fn grant(&mut self, verb: Verb, pattern: &str, principal: &str) -> Result<(), PatternError> {
        if verb == Verb::Call && pattern.contains('/') {
            return Err(PatternError::Key);
        }
        self.grants[verb as usize].push(Grant::parse(pattern, principal)?);
        Ok(())
    }

    /// Allows to read the state of the whole gateway.
    pub fn allow_monitoring(&mut self) {
        self.may_monitor = true;
    }

    /// Whether they allow to read the state of the whole gateway.
    #[must_use]
    pub fn may_monitor(&self) -> bool {
        self.may_monitor
    }

    /// The grants of a verb.
    #[must_use]
    pub fn grants(&self, verb: Verb) -> &[Grant] {
        &self.grants[verb as usize]
    }

    /// The first grant that covers the need.
    #[must_use]
    pub fn covering(&self, need: &Need<'_>) -> Option<&Grant> {
        self.grants(need.verb).iter().find(|grant| grant.covers(need.name, need.key))
    }

    /// Whether they cover the need.
    #[must_use]
    pub fn allow(&self, need: &Need<'_>) -> bool {
        self.covering(need).is_some()
    }

    /// Whether they allow to look at a queue or exchange: any permission on it is enough, also that to publish to a queue by the default
    /// exchange, whose answer tells whether the queue exists.
    #[must_use]
    pub fn allow_look(&self, name: &str) -> bool {
        let verbs = [Verb::Configure, Verb::Write, Verb::Read];
        verbs.into_iter().any(|verb| self.allow(&Need { verb, name, key: Key::Some }))
            || self.allow(&Need::write_to_queue(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_grants_nothing_else() {
        for granted in Verb::ALL {
            let mut permissions = Permissions::default();
            permissions.grant(granted, "q", "").expect("a pattern");
            for verb in Verb::ALL {
                let need = Need { verb, name: "q", key: Key::Every };
                assert_eq!(permissions.allow(&need), verb == granted, "{granted:?} {verb:?}");
            }
            assert_eq!(permissions.allow_look("q"), granted != Verb::Call);
            assert!(!permissions.allow_look("other") && !permissions.may_monitor());
        }
    }

    #[test]
    fn all_permissions_cover_every_name() {
        let all = Permissions::all();
        for name in ["q", "amq.default", "amq.rabbitmq.trace", "amq.gen-x"] {
            for verb in Verb::ALL {
                assert!(all.allow(&Need { verb, name, key: Key::Every }), "{verb:?} {name}");
            }
        }
        assert!(all.may_monitor());
    }

    #[test]
    fn the_grant_that_covers_a_need_is_named() {
        let mut permissions = Permissions::default();
        for pattern in ["orders/eu.*", "orders"] {
            permissions.grant(Verb::Write, pattern, "").expect("a pattern");
        }
        let covering = |key| permissions.covering(&Need::write("orders", key)).map(ToString::to_string);
        assert_eq!(covering(Key::One("eu.new")).as_deref(), Some("orders/eu.*"));
        assert_eq!(covering(Key::One("us.new")).as_deref(), Some("orders"));
        assert!(permissions.allow_look("orders"));
        assert_eq!(permissions.grant(Verb::Call, "q/key", ""), Err(PatternError::Key));
    }
}
