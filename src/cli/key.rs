//! `key new` makes an API key and its part of the file of principals; `key hash` prints the hash of a key.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::ArgMatches;

use super::output::{fail, print, refuse_usage};
use super::toml_text::{key_of_toml, list_of_toml};
use crate::config::principals::wrong_name;
use crate::domain::access::{ANONYMOUS, ApiKey, NoKeyDigest, Permissions, Verb, toml_text};

/// The most bytes of a key on standard input.
const MAX_INPUT: u64 = 4096;

/// The principal of a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    name: String,
    /// The patterns of each verb.
    grants: Vec<(Verb, String)>,
}

impl NewKey {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let name = matches.get_one::<String>("name").cloned().unwrap_or_default();
        let grants = Verb::ALL.into_iter().flat_map(|verb| {
            let patterns = matches.get_many::<String>(verb.word()).into_iter().flatten();
            patterns.map(move |pattern| (verb, pattern.clone()))
        });
        Self { name, grants: grants.collect() }
    }

    /// The part of the file of principals, for a key with this hash.
    fn part(&self, hash: &str) -> String {
        let mut part = format!("[principals.{}]\nkeys = [{}]\n", key_of_toml(&self.name), toml_text(hash));
        for verb in Verb::ALL {
            let patterns = self.grants.iter().filter(|(of, _)| *of == verb);
            part += &list_of_toml(verb.word(), patterns.map(|(_, pattern)| pattern.as_str()));
        }
        part
    }
}

/// Prints a part of the file of principals on standard output, and the new key on standard error.
#[must_use]
pub fn new_key(asked: &NewKey) -> ExitCode {
    if let Some(why) = wrong_name(&asked.name) {
        return refuse_usage(&format!("NAME {why}"));
    }
    if asked.name == ANONYMOUS {
        return refuse_usage("NAME is the principal of requests without credentials, and has no keys");
    }
    let mut permissions = Permissions::default();
    for (verb, pattern) in &asked.grants {
        if ApiKey::is_like(pattern) {
            return refuse_usage(&format!("--{} {}", verb.word(), NoKeyDigest::Key));
        }
        if let Err(why) = permissions.grant(*verb, pattern, &asked.name) {
            return refuse_usage(&format!("--{} {pattern:?} {why}", verb.word()));
        }
    }
    let key = ApiKey::generate();
    let printed = print(&asked.part(&key.digest().to_string()));
    let text = format!("the key of {:?}, which nobody can show again: {}", asked.name, key.reveal());
    let told = writeln!(io::stderr(), "{text}");
    if told.is_ok() { printed } else { ExitCode::FAILURE }
}

/// Prints the hash of the key on standard input.
#[must_use]
pub fn hash_key() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = io::stdin().take(MAX_INPUT).read_to_string(&mut text) {
        return fail(&format!("cannot read the key from standard input: {error}"));
    }
    match text.trim().parse::<ApiKey>() {
        Ok(key) => print(&format!("{}\n", key.digest())),
        Err(why) => {
            fail(&format!("the text on standard input {why}: it must be one line that `key new` printed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::principals::read;
    use crate::domain::access::{Key, Need};

    #[test]
    fn the_part_of_a_new_key_is_a_file_of_principals() {
        for name in ["shop", "a.b", "with \"quotes\" and é", "urn:x/y"] {
            let grants = vec![
                (Verb::Write, "orders/eu.*".to_owned()),
                (Verb::Write, "a\\b".to_owned()),
                (Verb::Call, "pricing".to_owned()),
            ];
            let digest = ApiKey::generate().digest();
            let part = NewKey { name: name.to_owned(), grants }.part(&digest.to_string());
            let principals = read(&part, 1).unwrap_or_else(|mistakes| panic!("{mistakes:?} in {part}"));
            let principal = principals.of_key(&digest, std::time::SystemTime::now()).expect("its key");
            assert_eq!(&*principal.name, name);
            let may = |need: Need<'_>| principal.permissions.allow(&need);
            assert!(may(Need::write("orders", Key::One("eu.new"))) && may(Need::write("a\\b", Key::Every)));
            assert!(may(Need::call("pricing")) && !may(Need::read("orders", Key::Every)));
        }
    }
}
