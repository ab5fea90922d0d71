//! The sources of settings. Flags win over the environment, the environment over the TOML file, the file over defaults.
//!
//! Reads only the names of the table from the environment. Replaces a `_FILE` variant by the content of its file. This is the
//! part of the configuration that does I/O; [`Config::from_lookup`] reads the values that it finds.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;

use super::forms::MAX_SIZE;
use super::mistakes::{Mistakes, quoted, unreadable};
use super::reader::Reader;
use super::table::{CONFIG_FILE, FILE_SUFFIX, PRINCIPALS_FILE, SETTINGS, Setting, TOPOLOGY_FILE};
use super::{Config, file, http, unknown};

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A command line flag.
    Flag,
    /// An environment variable.
    Environment,
    /// The TOML file.
    File,
    /// The file that this `_FILE` setting names.
    SecretFile(&'static str),
}

/// Every given value, and its source. It has no `Debug`, because it holds secrets.
#[derive(Default)]
pub struct Given(BTreeMap<&'static str, (String, Source)>);

/// Reads all sources. Asks `flags` for names of the table only.
///
/// # Errors
/// All mistakes of all sources together.
pub fn load(
    flags: impl Fn(&str) -> Option<String>,
    environment: Vec<(OsString, OsString)>,
) -> Result<(Config, Given), Mistakes> {
    let mut mistakes = Mistakes::default();
    let unknown = unknown::warnings(&environment);
    let mut given = Given::read(flags, environment, &mut mistakes);
    given.read_secrets(&mut mistakes);
    let topology =
        given.document((TOPOLOGY_FILE, "{}"), |path| document(path, MAX_SIZE as u64), &mut mistakes);
    let principals = given.document((PRINCIPALS_FILE, EMPTY), principals_in, &mut mistakes);
    let lookup = |name: &str| match name {
        TOPOLOGY_FILE => topology.clone(),
        PRINCIPALS_FILE => principals.clone(),
        name => given.value(name).map(str::to_owned),
    };
    match Config::from_lookup(lookup) {
        Ok(mut config) => {
            config.warnings.extend(unknown);
            if let (Some(file), Some(path)) = (&mut config.principals, given.value(PRINCIPALS_FILE)) {
                file.path = Some(path.into());
            }
            mistakes.or((config, given))
        }
        Err(others) => {
            mistakes.extend(others);
            Err(mistakes)
        }
    }
}

/// The address at which the running gateway answers health checks. Reads no other setting: the gateway may run on although a file has got
/// a mistake meanwhile.
///
/// # Errors
/// The mistakes in these settings.
pub fn health_address(
    flags: impl Fn(&str) -> Option<String>,
    environment: Vec<(OsString, OsString)>,
) -> Result<SocketAddr, Mistakes> {
    let given = Given::read(flags, environment, &mut Mistakes::default());
    let lookup = |name: &str| given.value(name).map(str::to_owned);
    let mut reader = Reader::new(&lookup);
    let (listen, admin) = http::addresses(&mut reader);
    reader.mistakes.or(admin.unwrap_or(listen))
}

fn unicode(setting: &Setting, value: Option<OsString>, mistakes: &mut Mistakes) -> Option<String> {
    let value = value?.into_string();
    value.map_err(|_| mistakes.about(setting.name, "must be UTF-8")).ok()
}

impl Given {
    /// Reads the flags, the environment and the file of settings.
    fn read(
        flags: impl Fn(&str) -> Option<String>,
        environment: Vec<(OsString, OsString)>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut given = Self::default();
        let environment: HashMap<_, _> = environment.into_iter().collect();
        for setting in SETTINGS {
            given.add(setting, flags(setting.name), Source::Flag);
            let variable = |name: &str| environment.get(OsStr::new(name)).cloned();
            let variable = variable(setting.name).or_else(|| setting.former_name().and_then(variable));
            given.add(setting, unicode(setting, variable, mistakes), Source::Environment);
        }
        if let Some(path) = given.value(CONFIG_FILE) {
            for (setting, value) in file::read(path, mistakes) {
                given.add(setting, Some(value), Source::File);
            }
        }
        given
    }

    /// Keeps the first value that is found; an empty one counts as none.
    fn add(&mut self, setting: &'static Setting, value: Option<String>, source: Source) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.0.entry(setting.name).or_insert((value, source));
        }
    }

    /// The value of a setting, and its source.
    pub(super) fn get(&self, name: &str) -> Option<(&str, Source)> {
        self.0.get(name).map(|(value, source)| (value.as_str(), *source))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|(value, _)| value)
    }

    /// The content of the file that a setting names. One that cannot be read counts as `empty`, so that it makes one mistake.
    fn document(
        &self,
        (setting, empty): (&'static str, &str),
        read: impl Fn(&str) -> Result<String, String>,
        mistakes: &mut Mistakes,
    ) -> Option<String> {
        let path = self.value(setting)?;
        let content = read(path).unwrap_or_else(|why| {
            mistakes.about(setting, &format!("{why}: {}", quoted(path)));
            empty.to_owned()
        });
        Some(content)
    }

    fn read_secrets(&mut self, mistakes: &mut Mistakes) {
        for setting in SETTINGS.iter().filter(|setting| setting.secret) {
            let variant = SETTINGS.iter().find(|it| it.name.strip_suffix(FILE_SUFFIX) == Some(setting.name));
            let Some((variant, path)) =
                variant.and_then(|it| Some((it.name, self.value(it.name)?.to_owned())))
            else {
                continue;
            };
            if self.value(setting.name).is_some() {
                mistakes.conflict(&[setting.name, variant], "are mutually exclusive: give one of them");
                continue;
            }
            match content(&path) {
                Ok(content) => self.add(setting, Some(content), Source::SecretFile(variant)),
                Err(why) => mistakes.about(variant, &format!("{why}: {}", quoted(&path))),
            }
        }
    }
}

/// The most bytes of a file of principals.
const MAX_PRINCIPALS_FILE: u64 = 16 << 20;

/// A file of principals that admits no client. An empty value would count as none.
const EMPTY: &str = "#";

/// The content of the file of principals. An empty file admits no client.
///
/// # Errors
/// Why it cannot be read.
pub fn principals_in(path: &str) -> Result<String, String> {
    match document(path, MAX_PRINCIPALS_FILE) {
        Err(why) if why == IS_EMPTY => Ok(EMPTY.to_owned()),
        content => content,
    }
}

/// The content of a file. Refuses a pipe, which may never end, and a file that no setting allows.
fn document(path: &str, most: u64) -> Result<String, String> {
    let file = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !file.is_file() {
        return Err("it must be a regular file".to_owned());
    }
    if file.len() > most {
        return Err(format!("the file has {} bytes, and {most} are allowed", file.len()));
    }
    content(path)
}

const IS_EMPTY: &str = "the file is empty";

/// The file's content without one line break at its end.
fn content(path: &str) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8")?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() { Err(IS_EMPTY.to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests;
