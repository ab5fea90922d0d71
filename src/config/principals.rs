//! Reads the file of principals, a document in TOML, and reports all mistakes together.
//!
//! The file has hashes of keys and no secrets. Where a key stands in it by mistake, no message shows it.

mod key;
mod places;
mod rights;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use toml::{Table, Value};

use self::key::read_key;
use self::places::{Places, array, known_members, shown, table, texts};
use self::rights::{MEMBERS, Rights};
use super::forms;
use super::reader::Reader;
use super::table::PRINCIPALS_FILE;
use crate::domain::access::{ANONYMOUS, ApiKey, NoKeyDigest, Permissions, Principal, Principals};

/// The most bytes of the name of a principal or a role.
const MAX_NAME: usize = 255;

/// The file of principals, as the gateway read it at its start.
#[derive(Debug, Clone)]
pub struct PrincipalsFile {
    /// Where it is; `None` if only its content was given.
    pub path: Option<PathBuf>,
    /// The limit of principals.
    pub most: usize,
    /// Its content.
    pub content: String,
    /// Its principals.
    pub principals: Arc<Principals>,
}

/// Reads the content of the file, which the look-up has under the name of the setting.
pub(super) fn read_file(from: &mut Reader<'_>) -> Option<PrincipalsFile> {
    let most = from.read("GATEWAY_MAX_PRINCIPALS", forms::count(100_000));
    let content = from.given(PRINCIPALS_FILE)?;
    match read(&content, most) {
        Ok(principals) => {
            Some(PrincipalsFile { path: None, most, content, principals: Arc::new(principals) })
        }
        Err(mistakes) => {
            let why = format!("the file is wrong: {}", sentence(&mistakes));
            from.mistakes.about(PRINCIPALS_FILE, &why);
            None
        }
    }
}

/// The first mistakes as one sentence.
#[must_use]
pub fn sentence(mistakes: &[String]) -> String {
    const SHOWN: usize = 20;
    let more = mistakes.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    mistakes[..mistakes.len().min(SHOWN)].join("; ") + &more
}

/// Reads the file. `most` is the limit of principals.
///
/// # Errors
/// All mistakes, each as a sentence.
pub fn read(content: &str, most: usize) -> Result<Principals, Vec<String>> {
    let document = content.parse::<Table>().map_err(|error| vec![syntax(content, &error)])?;
    let mut mistakes = Places::default();
    for name in document.keys().filter(|name| !["principals", "roles", "revoked"].contains(&name.as_str())) {
        mistakes.about(&shown(name), "is not a known member; known are principals, roles, revoked");
    }
    let empty = Table::new();
    let roles = table(document.get("roles"), "roles", &mut mistakes).unwrap_or(&empty);
    for (name, role) in roles {
        let place = format!("roles.{}", shown(name));
        check_name(name, &place, &mut mistakes);
        // Its patterns are read for each principal again; this finds mistakes of roles that no principal has.
        if let Some(role) = table(Some(role), &place, &mut mistakes) {
            known_members(role, &MEMBERS, &place, &mut mistakes);
            Rights { table: role, place: &place, principal: "" }
                .add_to(&mut Permissions::default(), &mut mistakes);
        }
    }
    let principals = table(document.get("principals"), "principals", &mut mistakes).unwrap_or(&empty);
    if principals.len() > most {
        let why = format!("has {} members, and GATEWAY_MAX_PRINCIPALS allows {most}", principals.len());
        return Err(vec![format!("principals {why}")]);
    }
    let mut all = Principals::default();
    for (name, principal) in principals {
        add_principal(&mut all, (name, principal), roles, &mut mistakes);
    }
    revoke(&mut all, document.get("revoked"), &mut mistakes);
    if mistakes.0.is_empty() { Ok(all) } else { Err(mistakes.0) }
}

fn add_principal(all: &mut Principals, (name, given): (&str, &Value), roles: &Table, mistakes: &mut Places) {
    let place = format!("principals.{}", shown(name));
    check_name(name, &place, mistakes);
    let Some(given) = table(Some(given), &place, mistakes) else { return };
    let own = ["keys", "roles"];
    known_members(given, &[&MEMBERS[..], &own[..]].concat(), &place, mistakes);
    let mut permissions = Permissions::default();
    Rights { table: given, place: &place, principal: name }.add_to(&mut permissions, mistakes);
    for (place, role) in texts(given.get("roles"), &format!("{place}.roles"), mistakes) {
        match roles.get(role) {
            // A role that is no table is a mistake of its own.
            Some(Value::Table(table)) => {
                let mut unseen = Places::default();
                Rights { table, place: &place, principal: name }.add_to(&mut permissions, &mut unseen);
            }
            Some(_) => {}
            None => mistakes.about(&place, format!("names no role of this file: {}", shown(role))),
        }
    }
    let Some(principal) = all.add(Principal { name: name.into(), permissions }) else { return };
    let keys = array(given.get("keys"), &format!("{place}.keys"), mistakes);
    if name == ANONYMOUS && !keys.is_empty() {
        mistakes.about(&place, "is the principal of requests without credentials, and has no keys");
    }
    for (place, key) in keys {
        let Some((digest, until)) = read_key(key, &place, mistakes) else { continue };
        if let Some(other) = all.add_key(digest, &principal, until) {
            mistakes
                .about(&place, format!("is a key of {} already: give each principal its own", other.name));
        }
    }
}

fn revoke(all: &mut Principals, revoked: Option<&Value>, mistakes: &mut Places) {
    for (place, text) in texts(revoked, "revoked", mistakes) {
        match text.parse() {
            Ok(digest) => all.revoke(digest),
            Err(why) => mistakes.about(&place, why),
        }
    }
}

fn check_name(name: &str, place: &str, mistakes: &mut Places) {
    if let Some(why) = wrong_name(name) {
        mistakes.about(place, why);
    }
}

/// Why this is no name of a principal or a role.
#[must_use]
pub fn wrong_name(name: &str) -> Option<String> {
    if ApiKey::is_like(name) {
        return Some(NoKeyDigest::Key.to_string());
    }
    let is_wrong = name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control);
    is_wrong.then(|| format!("needs a name of 1 to {MAX_NAME} bytes without control characters"))
}

/// The sentence about a file that is no TOML. The parser's own text quotes the line, which may have a key.
fn syntax(content: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| content.get(..span.start)).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    if error.message().starts_with("duplicate key") {
        return format!(
            "line {line} repeats a name of the file: a principal stands there once, with all its keys in one list"
        );
    }
    format!("line {line} is not TOML")
}
