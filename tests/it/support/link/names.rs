//! Connections are known by the last word of the `connection_name` that clients send when they log in.

use std::sync::{Arc, Mutex, OnceLock};

use super::modes::matches;

/// Longer than the bytes that any client sends before its name.
const LONGEST_LOGIN: usize = 16 * 1024;
/// A field of the client's properties: the name with its length, and the type of the value, a long string.
const FIELD: &[u8] = b"\x0fconnection_nameS";

/// The names of all connections of a link.
#[derive(Default)]
pub(super) struct Names {
    open: Mutex<Vec<String>>,
    seen: Mutex<Vec<String>>,
}

impl Names {
    /// The names of open connections, sorted.
    pub(super) fn open(&self) -> Vec<String> {
        let mut names = self.open.lock().expect("no connection panics").clone();
        names.sort();
        names
    }

    /// The number of connections that have sent such a name since the start.
    pub(super) fn count_seen(&self, pattern: &str) -> usize {
        let seen = self.seen.lock().expect("no connection panics");
        seen.iter().filter(|name| matches(pattern, name)).count()
    }
}

/// The name of one connection, once the client has sent it.
pub(super) struct Name {
    name: OnceLock<String>,
    names: Arc<Names>,
}

impl Name {
    pub(super) fn unknown(names: &Arc<Names>) -> Self {
        Self { name: OnceLock::new(), names: Arc::clone(names) }
    }

    pub(super) fn get(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    fn set(&self, name: String) {
        self.names.open.lock().expect("no connection panics").push(name.clone());
        self.names.seen.lock().expect("no connection panics").push(name.clone());
        self.name.set(name).expect("a client sends its name once");
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let Some(name) = self.name.get() else { return };
        let mut open = self.names.open.lock().expect("no connection panics");
        let place = open.iter().position(|other| other == name).expect("the name is in the list");
        open.swap_remove(place);
    }
}

/// Reads the bytes that a client sends, until its name was found or the limit is reached.
#[derive(Default)]
pub(super) struct Login {
    said: Vec<u8>,
    is_over: bool,
}

impl Login {
    pub(super) fn read(&mut self, bytes: &[u8], name: &Name) {
        if self.is_over {
            return;
        }
        self.said.extend_from_slice(bytes);
        if let Some(told) = told(&self.said) {
            name.set(told);
        }
        self.is_over = name.get().is_some() || self.said.len() > LONGEST_LOGIN;
    }
}

/// The last word of the name, when the whole name has arrived.
fn told(said: &[u8]) -> Option<String> {
    let start = said.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let (length, rest) = said[start..].split_first_chunk()?;
    let name = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let name = String::from_utf8_lossy(name);
    Some(name.rsplit(' ').next().unwrap_or_default().to_owned())
}
