//! Reads settings one by one from a look-up and collects the mistakes.
//!
//! A wrong setting reads as its default, so that the reader continues and finds the next mistake. A configuration with a mistake
//! is never used.

use super::forms::Parsed;
use super::mistakes::Mistakes;
use super::table::{Fallback, Setting};

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) mistakes: Mistakes,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, mistakes: Mistakes::default() }
    }

    /// The given value; an empty one counts as none.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Reads a setting that has a default.
    pub(super) fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        if let Some(value) = self.read_optional(name, &parse) {
            return value;
        }
        match setting(name).default {
            Fallback::Value(text) => parse(text).unwrap_or_else(|why| panic!("default of {name}: {why}")),
            Fallback::Unset(_) => panic!("{name} has no default"),
        }
    }

    /// Reads a setting that may be unset.
    pub(super) fn read_optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let given = self.given(name)?;
        match parse(&given) {
            Ok(value) => Some(value),
            Err(why) => {
                self.mistakes.malformed(setting(name), &given, &why);
                None
            }
        }
    }

    /// Refuses two settings that contradict each other, unless one of them is already a mistake.
    pub(super) fn refuse_if(&mut self, contradict: bool, settings: [&'static str; 2], why: &str) {
        if contradict && !settings.iter().any(|name| self.mistakes.concern(name)) {
            self.mistakes.conflict(&settings, why);
        }
    }
}

fn setting(name: &str) -> &'static Setting {
    Setting::named(name).unwrap_or_else(|| panic!("{name} is not in the table of settings"))
}
