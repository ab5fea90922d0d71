//! Where settings come from: flags over environment over the TOML file over defaults.
//!
//! Only names of the table are read from the environment. A `_FILE` variant is replaced by the content of its file.
//! This is the part of the configuration that does I/O; what it finds goes through [`Config::from_lookup`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs;

use super::broker::SAID_BY_URL;
use super::mistakes::{Mistakes, quoted};
use super::table::{CONFIG_FILE, FILE_SUFFIX, SETTINGS, Setting};
use super::{Config, file};

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A command line flag.
    Flag,
    /// An environment variable.
    Environment,
    /// The TOML file.
    File,
    /// A file named by a `_FILE` setting.
    SecretFile,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::SecretFile => "secret's file",
        })
    }
}

/// Every value that somebody gave, and where. No `Debug`: it holds secrets.
#[derive(Default)]
pub struct Given(BTreeMap<&'static str, (String, Source)>);

/// Reads all sources.
///
/// `flags` and `environment` are asked for names of the table only.
///
/// # Errors
/// All mistakes of all sources together.
pub fn load(
    flags: impl Fn(&str) -> Option<String>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<(Config, Given), Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut given = Given::default();
    for setting in SETTINGS {
        given.add(setting, flags(setting.name), Source::Flag);
        given.add(setting, unicode(setting, environment(setting.name), &mut mistakes), Source::Environment);
    }
    if let Some(path) = given.value(CONFIG_FILE) {
        for (setting, value) in file::read(path, &mut mistakes) {
            given.add(setting, Some(value), Source::File);
        }
    }
    given.read_secrets(&mut mistakes);
    match Config::from_lookup(|name| given.value(name).map(str::to_owned)) {
        Ok(config) => mistakes.or((config, given)),
        Err(others) => {
            mistakes.extend(others);
            Err(mistakes)
        }
    }
}

fn unicode(setting: &Setting, value: Option<OsString>, mistakes: &mut Mistakes) -> Option<String> {
    let value = value?.into_string();
    value.map_err(|_| mistakes.about(setting.name, "must be UTF-8")).ok()
}

impl Given {
    /// Keeps what was found first; an empty value is none.
    fn add(&mut self, setting: &'static Setting, value: Option<String>, source: Source) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.0.entry(setting.name).or_insert((value, source));
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(value, _)| value.as_str())
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
                mistakes.conflict(&[setting.name, variant], "say the same thing, give one of them");
                continue;
            }
            match secret(&path) {
                Ok(content) => self.add(setting, Some(content), Source::SecretFile),
                Err(why) => mistakes.about(variant, &format!("{why}: {}", quoted(&path))),
            }
        }
    }
}

/// The file's content without one line break at its end.
fn secret(path: &str) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read the file, {}", error.kind()))?;
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8")?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() { Err("the file is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The effective settings, one a line, secrets as `***`: what `check-config` prints.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_by_url = self.value("AMQP_URL").is_some();
        let width = SETTINGS.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
        for setting in SETTINGS {
            let mut line = format!("{:width$}  ", setting.name);
            match self.0.get(setting.name) {
                _ if is_by_url && SAID_BY_URL.contains(&setting.name) => line += "see AMQP_URL",
                Some((_, source)) if setting.secret => write!(line, "***  ({source})")?,
                Some((value, source)) => write!(line, "{value:?}  ({source})")?,
                None if setting.secret => {
                    line += if setting.default_text() == "none" { "none" } else { "***" }
                }
                None => line += setting.default_text(),
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
