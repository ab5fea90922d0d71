//! Sub-commands, flags from the table, help, completions and manual pages.

use super::*;
use crate::config::table::HEADINGS;

fn run(arguments: &[&str]) -> Result<Invocation, clap::Error> {
    parse(std::iter::once(&"rabbitmq-gateway").chain(arguments).map(OsString::from))
}

#[test]
fn the_command_line_is_well_formed() {
    arguments::command().debug_assert();
}

#[test]
fn each_sub_command_is_recognised() {
    for (arguments, command) in [
        (&[][..], Command::Serve),
        (&["check-config"], Command::CheckConfig { connect: false }),
        (&["check-config", "--connect"], Command::CheckConfig { connect: true }),
        (&["healthcheck"], Command::Healthcheck { ready: false }),
        (&["healthcheck", "--ready"], Command::Healthcheck { ready: true }),
        (&["openapi"], Command::OpenApi),
        (&["completions", "zsh"], Command::Completions(Shell::Zsh)),
        (&["man"], Command::Manual(None)),
        (&["key", "hash"], Command::HashKey),
        (&["man", "check-config"], Command::Manual(Some("check-config".to_owned()))),
    ] {
        assert_eq!(run(arguments).map(|it| it.command).ok(), Some(command), "{arguments:?}");
    }
}

#[test]
fn a_flag_may_stand_before_or_after_the_sub_command() {
    for arguments in [["--rabbitmq-host", "h", "check-config"], ["check-config", "--rabbitmq-host", "h"]] {
        let flags = run(&arguments).map(|it| it.flags).unwrap_or_default();
        assert_eq!(flags, [("RABBITMQ_HOST", "h".to_owned())], "{arguments:?}");
    }
}

#[test]
fn the_flag_after_the_sub_command_wins_over_the_one_before_it() {
    let flags = run(&["--gateway-log", "a", "check-config", "--gateway-log", "b"]).map(|it| it.flags);
    assert_eq!(flags.unwrap_or_default(), [("GATEWAY_LOG", "b".to_owned())]);
}

#[test]
fn a_sub_command_refuses_the_flags_of_others() {
    for arguments in
        [["openapi", "--gateway-listen=x"], ["healthcheck", "--rabbitmq-host=x"], ["man", "--connect"]]
    {
        assert!(run(&arguments).is_err(), "{arguments:?}");
    }
}

/// The help that this command line prints.
fn help(arguments: &[&str]) -> String {
    run(arguments).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_short_help_fits_one_screen() {
    let help = help(&["-h"]);
    assert!((24..=40).contains(&help.lines().count()), "{} lines:\n{help}", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
    for words in
        ["RABBITMQ_HOST", "RABBITMQ_PASSWORD ", "AMQP_URL ", "[default: 127.0.0.1:8080]", "check-config"]
    {
        assert!(help.contains(words), "{words} in:\n{help}");
    }
}

#[test]
fn the_long_help_has_every_setting_under_its_heading_with_its_variable_and_its_default() {
    let help = help(&["--help"]);
    for (heading, _) in HEADINGS {
        assert!(help.contains(&format!("\n{heading}:\n")), "{heading} in:\n{help}");
    }
    for setting in SETTINGS {
        let is_there = match setting.flag() {
            Some(flag) => {
                let (_, rest) = help.split_once(&format!("--{flag} <")).unwrap_or_default();
                let about_it = rest.split("\n\n").next().unwrap_or_default();
                about_it.contains(&format!("[env: {}]", setting.name))
                    && about_it.contains(setting.form)
                    && (setting.default_text() == "none"
                        || about_it.contains(&format!("[default: {}]", setting.default_text())))
            }
            None => help.contains(&format!("\n  {} ", setting.name)),
        };
        assert!(is_there, "{} in:\n{help}", setting.name);
    }
}

#[test]
fn the_help_of_a_sub_command_has_its_own_flags_only() {
    for (command, own) in [
        ("check-config", &["--connect", "--help"][..]),
        (
            "healthcheck",
            &["--ready", "--help", "--gateway-config", "--gateway-listen", "--gateway-admin-listen"],
        ),
        ("can", &["--help", "--gateway-config", "--gateway-principals", "--gateway-max-principals"]),
        ("openapi", &["--help"]),
        ("completions", &["--help"]),
        ("man", &["--help"]),
    ] {
        for form in ["-h", "--help"] {
            let help = help(&[command, form]);
            let lines = help.lines().map(|line| line.trim_start().trim_start_matches("-h, "));
            let flags: Vec<_> = lines
                .filter(|line| line.starts_with("--"))
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            assert_eq!(flags, own, "{command} {form}:\n{help}");
        }
    }
}

#[test]
fn completions_know_commands_and_flags() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = completions(shell);
        for word in ["check-config", "rabbitmq-host", "gateway-listen", "connect"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
}

#[test]
fn the_manual_has_a_section_for_each_heading_and_a_page_for_each_command() {
    let page = manual(None);
    for (heading, _) in HEADINGS {
        assert!(page.contains(&heading.to_uppercase()), "{heading}");
    }
    assert!(page.contains("RABBITMQ_HOST") && page.contains("Exit codes"), "{page}");
    for command in arguments::command().get_subcommands().filter(|it| it.get_name() != "help") {
        let page = manual(Some(command.get_name()));
        assert!(page.contains(&format!(".TH rabbitmq-gateway-{} 1", command.get_name())), "{page}");
        assert!(run(&["man", command.get_name()]).is_ok(), "{}", command.get_name());
    }
}

#[test]
fn a_secret_is_not_a_flag_and_is_not_printed_when_tried() {
    for arguments in [
        &["--rabbitmq-password=hunter2"][..],
        &["--amqp-url=amqp://u:hunter2@h"],
        &["--rabbitmq-password", "hunter2"],
    ] {
        let text = run(arguments).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!text.is_empty() && !text.contains("hunter2"), "{text}");
    }
    assert!(run(&["--rabbitmq-password-file", "f"]).is_ok());
}

#[test]
fn the_version_exits_with_success() {
    assert_eq!(run(&["--version"]).err().map(|error| error.use_stderr()), Some(false));
    assert_eq!(run(&["--nonsense"]).err().map(|error| error.use_stderr()), Some(true));
}
