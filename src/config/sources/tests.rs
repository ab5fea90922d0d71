//! Precedence, `_FILE` variants and warnings.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::*;

fn found<'a>(values: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| values.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
}

fn load_from(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<(Config, Given), Mistakes> {
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load(found(flags), environment.collect())
}

fn mistakes_of(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> String {
    load_from(flags, environment).err().unwrap_or_default().to_string()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file is written");
    Path::to_str(&path).expect("a plain path").to_owned()
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = folder();
    let file =
        write(&folder, "gateway.toml", b"[rabbitmq]\nhost = 'file'\nvhost = 'file'\nretry_delay = '1s'\n");
    let (config, given) = load_from(
        &[("RABBITMQ_HOST", "flag"), ("GATEWAY_CONFIG", &file)],
        &[("RABBITMQ_HOST", "environment"), ("RABBITMQ_VHOST", "environment"), ("GATEWAY_CONFIG", "missing")],
    )
    .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.broker.addresses[0].host, "flag");
    assert_eq!(config.broker.vhost, "environment");
    assert_eq!(config.broker.retry_delay.as_secs(), 1);
    assert_eq!(given.get("RABBITMQ_HOST"), Some(("flag", Source::Flag)));
    assert_eq!(given.get("RABBITMQ_VHOST"), Some(("environment", Source::Environment)));
    assert_eq!(given.get("RABBITMQ_RETRY_DELAY"), Some(("1s", Source::File)));
}

#[test]
fn a_setting_is_read_under_its_former_name_too() {
    let folder = folder();
    let file = write(&folder, "gateway.toml", b"[gateway]\nmax_waiting_calls = 7\n");
    let environment = [("RABBITMQ_QUARANTINE_SIZE", "8"), ("GATEWAY_CONFIG", &*file)];
    let (config, _) = load_from(&[], &environment).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((config.broker.publish.isolated_channels, config.broker.max_pending_replies), (8, 7));
    let both = [environment[0], ("RABBITMQ_ISOLATED_CHANNELS", "9")];
    let (config, _) = load_from(&[], &both).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.broker.publish.isolated_channels, 9, "the name of today wins");
}

#[test]
fn an_empty_variable_hides_nothing() {
    let folder = folder();
    let file = write(&folder, "gateway.toml", b"[rabbitmq]\nhost = 'file'\n");
    let loaded = load_from(&[], &[("RABBITMQ_HOST", ""), ("GATEWAY_CONFIG", &file)]);
    assert_eq!(
        loaded.ok().map(|(config, _)| config.broker.addresses[0].host.clone()),
        Some("file".to_owned())
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    assert_eq!(
        mistakes_of(&[], &[("GATEWAY_CONFIG", "no/such.toml"), ("RABBITMQ_PASSWORD_FILE", "no/such")]),
        "GATEWAY_CONFIG: cannot read the file, it does not exist: \"no/such.toml\"\n\
         RABBITMQ_PASSWORD_FILE: cannot read the file, it does not exist: \"no/such\"\n"
    );
}

#[test]
fn a_file_of_principals_has_at_most_16_mib() {
    let folder = folder();
    let path = write(&folder, "principals.toml", b"");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("the file");
    for (bytes, is_read) in [(16 << 20, true), ((16 << 20) + 1, false)] {
        // The file takes no room on the disk.
        file.set_len(bytes).expect("a length");
        let found = principals_in(&path);
        assert_eq!(found.is_ok(), is_read, "{bytes}");
        let expected = format!("the file has {bytes} bytes, and 16777216 are allowed");
        assert!(is_read || found == Err(expected), "{bytes}");
    }
    let text = mistakes_of(&[], &[("GATEWAY_PRINCIPALS", &path)]);
    assert!(text.starts_with("GATEWAY_PRINCIPALS: the file has 16777217 bytes"), "{text}");
}

#[test]
fn one_line_break_at_the_end_of_a_secret_is_cut() {
    for (content, password) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a ", " a ")] {
        let folder = folder();
        let file = write(&folder, "password", content.as_bytes());
        let environment = [("RABBITMQ_PASSWORD_FILE", file.as_str())];
        let (_, given) = load_from(&[], &environment).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let found = Some((password, Source::SecretFile("RABBITMQ_PASSWORD_FILE")));
        assert_eq!(given.get("RABBITMQ_PASSWORD"), found, "{content:?}");
    }
}

#[test]
fn a_line_break_in_a_secret_is_a_mistake() {
    let folder = folder();
    let file = write(&folder, "password", b"hunter2\n\n");
    let url = write(&folder, "url", b"amqp://u:hunter2@h/\n\n");
    for (setting, value, mistake) in [
        ("RABBITMQ_PASSWORD", "hunter2\n", "RABBITMQ_PASSWORD: wants password (it ends with a line break: "),
        (
            "RABBITMQ_PASSWORD",
            "hunter2\r\n",
            "RABBITMQ_PASSWORD: wants password (it ends with a line break: ",
        ),
        ("RABBITMQ_PASSWORD", "hun\nter2", "RABBITMQ_PASSWORD: wants password (it contains a line break: "),
        ("RABBITMQ_PASSWORD_FILE", &file, "RABBITMQ_PASSWORD: wants password (it ends with a line break: "),
        ("RABBITMQ_USER", "u\n", "RABBITMQ_USER: wants user name (it ends with a line break: "),
        ("AMQP_URL", "amqp://u:hunter2\n@h/", "(it contains a line break: "),
        ("AMQP_URL", "amqp://u:hunter2@h\n", "(it ends with a line break: "),
        ("AMQP_URL_FILE", &url, "(it ends with a line break: "),
    ] {
        let text = mistakes_of(&[], &[(setting, value)]);
        assert!(text.contains(mistake) && text.lines().count() == 1, "{setting}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("ter2"), "{text}");
    }
}

#[test]
fn a_secret_given_twice_names_both_settings() {
    let folder = folder();
    let file = write(&folder, "password", b"b");
    let text = mistakes_of(&[("RABBITMQ_PASSWORD_FILE", &file)], &[("RABBITMQ_PASSWORD", "a")]);
    assert!(text.starts_with("RABBITMQ_PASSWORD and RABBITMQ_PASSWORD_FILE: "), "{text}");
}

#[test]
fn an_empty_secret_file_does_not_mean_the_default_password() {
    let folder = folder();
    for content in [&b""[..], b"\n", b"\xff"] {
        let file = write(&folder, "password", content);
        let text = mistakes_of(&[], &[("RABBITMQ_PASSWORD_FILE", &file)]);
        assert!(text.starts_with("RABBITMQ_PASSWORD_FILE: the file is "), "{text}");
    }
}

#[test]
fn an_address_in_a_file_takes_the_place_of_the_variable() {
    let folder = folder();
    let file = write(&folder, "url", b"amqp://u:hunter2@node-a,node-b/v\n");
    let (config, given) =
        load_from(&[], &[("AMQP_URL_FILE", &file)]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.broker.addresses.len(), 2);
    assert_eq!(given.get("AMQP_URL").map(|(_, source)| source), Some(Source::SecretFile("AMQP_URL_FILE")));
}

#[test]
fn a_variable_that_is_not_utf8_is_a_mistake() {
    let environment = vec![(OsString::from("RABBITMQ_HOST"), OsString::from_vec(vec![0xff]))];
    let text = load(|_| None, environment).err().unwrap_or_default().to_string();
    assert_eq!(text, "RABBITMQ_HOST: must be UTF-8\n");
}

#[test]
fn a_setting_without_effect_and_an_unknown_name_are_warnings() {
    let environment = [("RABBITMQ_CONNECTION_ATTEMPTS", "3"), ("GATEWAY_LISTN", "x")];
    let (config, _) = load_from(&[], &environment).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let names: Vec<_> = config.warnings.iter().map(|warning| warning.name.as_str()).collect();
    assert_eq!(names, ["RABBITMQ_CONNECTION_ATTEMPTS", "GATEWAY_LISTN"]);
}
