//! The TOML file of settings: one level of sections, plain values, unknown keys refused.
//!
//! TOML's own error texts quote the line, and the line may hold a password: only its number is told.

use super::mistakes::{Mistakes, quoted};
use super::table::{CONFIG_FILE, SETTINGS, Setting};
use super::unknown::nearest;

/// What the file sets.
pub(super) fn read(path: &str, mistakes: &mut Mistakes) -> Vec<(&'static Setting, String)> {
    let content = match std::fs::read_to_string(path) {
        Ok(content) => content,
        Err(error) => {
            mistakes.about(CONFIG_FILE, &format!("cannot read the file, {}: {}", error.kind(), quoted(path)));
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
            mistakes.about(CONFIG_FILE, &format!("the file is not TOML, look at line {line}"));
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
        let kinds = "a text, a whole number, true or false, or a list of texts";
        mistakes.about(setting.name, &format!("in the file it must be {kinds}"));
    }
    text.map(|text| (setting, text))
}

fn no_setting(section: &str, key: &str) -> String {
    let nearest = nearest(&format!("{section}_{key}").to_uppercase()).filter(|it| it.name != CONFIG_FILE);
    let nearest = nearest.map(Setting::key).map(|(section, key)| format!("; the nearest is {section}.{key}"));
    let key = quoted(&format!("{section}.{key}"));
    format!("the file sets {key}, which is no setting{}", nearest.unwrap_or_default())
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
    fn texts_numbers_switches_and_lists_are_values() {
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
                "sets \"rabbitmq.hots\", which is no setting; the nearest is rabbitmq.host\n",
            ),
            ("[rabbitmq]\nx = 'h'", "sets \"rabbitmq.x\", which is no setting\n"),
            ("[rabbit]\nhost = 'h'", "\"rabbit\" is not a section"),
            ("host = 'h'", "\"host\" is not a section"),
            ("rabbitmq = 'h'", "\"rabbitmq\" is not a section"),
            ("[gateway]\nconfig = 'x'", "\"gateway.config\", which is no setting"),
            ("[rabbitmq]\nheartbeat = 1.5", "RABBITMQ_HEARTBEAT: in the file it must be a text"),
            ("[rabbitmq.host]\na = 1", "RABBITMQ_HOST: in the file it must be a text"),
        ] {
            assert!(mistakes_of(content).contains(words), "{content}: {}", mistakes_of(content));
        }
    }

    #[test]
    fn a_line_that_is_not_toml_is_numbered_and_not_quoted() {
        let text = mistakes_of("[rabbitmq]\npassword = hunter2\n");
        assert_eq!(text, "GATEWAY_CONFIG: the file is not TOML, look at line 2\n");
    }
}
