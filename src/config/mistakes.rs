//! The list of all mistakes in a configuration, one on each line. Never holds a secret.
//!
//! Quotes the given value, so that a line break in it cannot forge a line. In a value that looks like an address with a user,
//! hides the part before the last `@`.

use std::{fmt, io};

use super::table::Setting;

/// All mistakes, one on each line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes(Vec<Mistake>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    settings: Vec<&'static str>,
    text: String,
}

impl Mistakes {
    /// Adds: the value of `setting` does not have its form. `why` gives the reason where the form alone is not enough.
    pub(super) fn malformed(&mut self, setting: &'static Setting, given: &str, why: &str) {
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let given = if setting.secret { "a value that is not shown".to_owned() } else { quoted(given) };
        self.add(&[setting.name], format!("{}: wants {}{why}, got {given}", setting.name, setting.form));
    }

    /// Adds: these settings contradict each other.
    pub(super) fn conflict(&mut self, settings: &[&'static str], why: &str) {
        self.add(settings, format!("{}: {why}", settings.join(" and ")));
    }

    /// Adds another mistake about one setting; `text` must not hold a secret.
    pub(super) fn about(&mut self, setting: &'static str, text: &str) {
        self.add(&[setting], format!("{setting}: {text}"));
    }

    pub(super) fn concern(&self, setting: &str) -> bool {
        self.0.iter().any(|mistake| mistake.settings.contains(&setting))
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// `value`, unless there is a mistake.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The number of mistakes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn add(&mut self, settings: &[&'static str], text: String) {
        self.0.push(Mistake { settings: settings.to_vec(), text });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mistake| writeln!(f, "{}", mistake.text))
    }
}

impl std::error::Error for Mistakes {}

/// The value in quotes, without the user and password of an address.
pub(super) fn quoted(given: &str) -> String {
    match given.rsplit_once('@') {
        Some((_, host)) => format!("{:?}", format!("***@{host}")),
        None => format!("{given:?}"),
    }
}

/// Why a file cannot be read.
pub(super) fn unreadable(error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "the gateway's user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot read the file, {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_put_in_the_wrong_setting_keeps_its_password() {
        assert_eq!(quoted("amqp://app:hunter2@rabbit"), r#""***@rabbit""#);
        assert_eq!(quoted("rabbit"), r#""rabbit""#);
    }

    #[test]
    fn a_line_break_in_a_value_does_not_make_a_second_line() {
        let mut mistakes = Mistakes::default();
        let host = Setting::named("RABBITMQ_HOST").expect("in the table");
        mistakes.malformed(host, "a\nRABBITMQ_PORT: fine", "");
        assert_eq!(mistakes.to_string().lines().count(), 1);
    }
}
