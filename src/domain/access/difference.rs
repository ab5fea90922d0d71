//! The principals by which two files differ.

use super::principals::Principals;

/// The names of the principals by which two files differ, in the order of the names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Those of the later file only.
    pub added: Vec<&'a str>,
    /// Those of the earlier file only.
    pub removed: Vec<&'a str>,
    /// Those whose permissions or keys differ.
    pub changed: Vec<&'a str>,
}

impl Principals {
    /// The difference between an earlier file and this one.
    #[must_use]
    pub fn difference_from<'a>(&'a self, earlier: &'a Self) -> Difference<'a> {
        let (mut difference, keys, keys_before) =
            (Difference::default(), self.keys_by_owner(), earlier.keys_by_owner());
        for principal in self.all() {
            let name = &*principal.name;
            match earlier.named(name) {
                None => difference.added.push(name),
                Some(before) if **before != *principal || keys.get(name) != keys_before.get(name) => {
                    difference.changed.push(name);
                }
                Some(_) => {}
            }
        }
        let removed = earlier.all().into_iter().map(|principal| &*principal.name);
        difference.removed.extend(removed.filter(|name| self.named(name).is_none()));
        difference
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::domain::access::{ApiKey, KeyDigest, Permissions, Principal, Verb};

    /// Principals with this right to write, and with a key each.
    fn principals(of: &[(&str, &str, KeyDigest)]) -> Principals {
        let mut all = Principals::default();
        for (name, pattern, digest) in of {
            let mut permissions = Permissions::default();
            permissions.grant(Verb::Write, pattern, name).expect("a pattern");
            let principal = all.add(Principal { name: (*name).into(), permissions }).expect("the first");
            assert_eq!(all.add_key(*digest, &principal, None), None);
        }
        all
    }

    #[test]
    fn principals_are_added_removed_and_changed_by_their_permissions_and_their_keys() {
        let [a, b, c, d] = [(); 4].map(|()| ApiKey::generate().digest());
        let earlier = principals(&[("same", "x", a), ("gone", "x", b), ("rights", "x", c), ("keys", "x", d)]);
        assert_eq!(earlier.difference_from(&earlier), Difference::default());
        let other = ApiKey::generate().digest();
        let mut later =
            principals(&[("keys", "x", other), ("rights", "y", c), ("new", "x", b), ("same", "x", a)]);
        let expected =
            Difference { added: vec!["new"], removed: vec!["gone"], changed: vec!["keys", "rights"] };
        assert_eq!(later.difference_from(&earlier), expected);
        // A key that is revoked, and one that ends.
        let before = later.clone();
        later.revoke(a);
        let rights = later.named("rights").expect("it is there").clone();
        assert!(later.add_key(c, &rights, Some(UNIX_EPOCH)).is_some());
        assert_eq!(later.difference_from(&before).changed, ["rights", "same"]);
    }
}
