//! Reads the TOML file of settings: one level of sections with plain values. Refuses unknown keys.
//!
//! An error names the number of a line only: the error texts of the TOML library quote the line, which may hold a password.

use super::mistakes::{Mistakes, quoted, unreadable};
use super::table::{CONFIG_FILE, SETTINGS, Setting};
use super::unknown::nearest;

/// The settings in the file, with their values.
pub(super) fn read(path: &str, mistakes: &mut Mistakes) -> Vec<(&'static Setting, String)> {
    let content = match std::fs::read_to_string(path) {
        Ok(content) => content,
        Err(error) => {
            mistakes.about(CONFIG_FILE, &format!("{}: {}", unreadable(&error), quoted(path)));
            return Vec::new();
        }
    };
    parse(&content, mistakes)
}

fn parse(content: &str, mistakes: &mut Mistakes) -> Vec<(&'static Setting, String)> {
    let table = match content.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| content[..span.start].matches('\n').count() + 1);
            mistakes.about(CONFIG_FILE, &format!("the file is not valid TOML at line {line}"));
            return Vec::new();
        }
    };
    let mut settings = Vec::new();
    for (section, value) in &table {
        let Some(keys) = value.as_table().filter(|_| is_section(section)) else {
            mistakes.about(CONFIG_FILE, &format!("{} is not a section of the file", quoted(section)));
            continue;
        };
        for (key, value) in keys {
            settings.extend(entry(section, key, value, mistakes));
        }
    }
    settings
}

fn entry(
    section: &str,
    key: &str,
    value: &toml::Value,
    mistakes: &mut Mistakes,
) -> Option<(&'static Setting, String)> {
    let is_it = |it: &&Setting| it.has_key(section, key) && it.name != CONFIG_FILE;
    let Some(setting) = SETTINGS.iter().find(is_it) else {
        mistakes.about(CONFIG_FILE, &no_setting(section, key));
        return None;
    };
    let text = text(value);
    if text.is_none() {
        let kinds = "a string, a whole number, true or false, or a list of strings";
        mistakes.about(setting.name, &format!("in the file it must be {kinds}"));
    }
    text.map(|text| (setting, text))
}

fn no_setting(section: &str, key: &str) -> String {
    let nearest = nearest(&format!("{section}_{key}").to_uppercase()).filter(|it| it.name != CONFIG_FILE);
    let nearest = nearest.map(Setting::key).map(|(section, key)| format!("; the nearest is {section}.{key}"));
    let key = quoted(&format!("{section}.{key}"));
    format!("the file sets {key}, which is not a setting{}", nearest.unwrap_or_default())
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key().0 == name)
}

fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes_of(content: &str) -> String {
        let mut mistakes = Mistakes::default();
        parse(content, &mut mistakes);
        mistakes.to_string()
    }

    #[test]
    fn strings_numbers_booleans_and_lists_are_values() {
        let mut mistakes = Mistakes::default();
        let content = "[rabbitmq]\nhost = 'h'\nport = 1\nssl_enabled = true\npassword = 123\n\
                       [gateway]\nhealth_queues = ['a', 'b']\n[amqp]\nurl = 'amqp://h'\n";
        let settings: Vec<_> = parse(content, &mut mistakes)
            .into_iter()
            .map(|(setting, value)| format!("{}={value}", setting.name))
            .collect();
        assert_eq!(mistakes.to_string(), "");
        for expected in [
            "RABBITMQ_HOST=h",
            "RABBITMQ_PORT=1",
            "RABBITMQ_SSL_ENABLED=true",
            "RABBITMQ_PASSWORD=123",
            "GATEWAY_HEALTH_QUEUES=a,b",
            "AMQP_URL=amqp://h",
        ] {
            assert!(settings.contains(&expected.to_owned()), "{expected} in {settings:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        for (content, words) in [
            (
                "[rabbitmq]\nhots = 'h'",
                "sets \"rabbitmq.hots\", which is not a setting; the nearest is rabbitmq.host\n",
            ),
            ("[rabbitmq]\nx = 'h'", "sets \"rabbitmq.x\", which is not a setting\n"),
            ("[rabbit]\nhost = 'h'", "\"rabbit\" is not a section"),
            ("host = 'h'", "\"host\" is not a section"),
            ("rabbitmq = 'h'", "\"rabbitmq\" is not a section"),
            ("[gateway]\nconfig = 'x'", "\"gateway.config\", which is not a setting"),
            ("[rabbitmq]\nheartbeat = 1.5", "RABBITMQ_HEARTBEAT: in the file it must be a string"),
            ("[rabbitmq.host]\na = 1", "RABBITMQ_HOST: in the file it must be a string"),
        ] {
            assert!(mistakes_of(content).contains(words), "{content}: {}", mistakes_of(content));
        }
    }

    #[test]
    fn a_line_that_is_not_toml_is_named_by_its_number_and_not_quoted() {
        let text = mistakes_of("[rabbitmq]\npassword = hunter2\n");
        assert_eq!(text, "GATEWAY_CONFIG: the file is not valid TOML at line 2\n");
    }
}
