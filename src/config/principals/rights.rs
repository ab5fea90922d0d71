//! Reads the permissions of a principal or a role.

use toml::Table;

use super::places::{Places, texts};
use crate::domain::access::{Permissions, Verb};

/// The members that permissions have in the file.
pub(super) const MEMBERS: [&str; 5] = ["configure", "write", "read", "call", "tags"];
/// The one tag.
const MONITORING: &str = "monitoring";

/// The table of a principal or a role, read for a principal with this name.
pub(super) struct Rights<'a> {
    pub(super) table: &'a Table,
    pub(super) place: &'a str,
    pub(super) principal: &'a str,
}

impl Rights<'_> {
    /// Adds them to the permissions of a principal.
    pub(super) fn add_to(&self, permissions: &mut Permissions, mistakes: &mut Places) {
        let Self { table, place, principal } = *self;
        for verb in Verb::ALL {
            let word = verb.word();
            for (place, pattern) in texts(table.get(word), &format!("{place}.{word}"), mistakes) {
                if let Err(why) = permissions.grant(verb, pattern, principal) {
                    mistakes.about(&place, why);
                }
            }
        }
        for (place, tag) in texts(table.get("tags"), &format!("{place}.tags"), mistakes) {
            if tag == MONITORING {
                permissions.allow_monitoring();
            } else {
                mistakes.about(&place, format!("must be {MONITORING:?}, the one tag"));
            }
        }
    }
}
