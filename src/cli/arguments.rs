//! Describes the command line to clap. The flags and help texts come from the table of settings.
//!
//! `-h` shows the flags of the settings that a first start needs, `--help` shows all flags. A sub-command shows its own flags
//! only. The flags of settings may also stand before the sub-command.

use clap::{Arg, ArgAction, Command as Clap, ValueHint, value_parser};
use clap_complete::Shell;

use crate::config::table::{Fallback, SETTINGS, Setting};
use crate::domain::access::Verb;

/// The settings that `-h` shows.
const BASIC: [&str; 10] = [
    "AMQP_URL_FILE",
    "RABBITMQ_HOST",
    "RABBITMQ_PORT",
    "RABBITMQ_USER",
    "RABBITMQ_PASSWORD_FILE",
    "RABBITMQ_VHOST",
    "GATEWAY_CONFIG",
    "GATEWAY_LISTEN",
    "GATEWAY_PRINCIPALS",
    "GATEWAY_LOG",
];

/// The settings that `healthcheck` needs.
const OF_HEALTHCHECK: [&str; 3] = ["GATEWAY_CONFIG", "GATEWAY_LISTEN", "GATEWAY_ADMIN_LISTEN"];

/// The settings that `can` needs.
const OF_CAN: [&str; 3] = ["GATEWAY_CONFIG", "GATEWAY_PRINCIPALS", "GATEWAY_MAX_PRINCIPALS"];

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed
  64  a mistake in the settings or on the command line
  69  check-config --connect reached RabbitMQ at no address
  77  check-config --connect: RabbitMQ refuses the user or the virtual host";

/// The whole command line.
pub(super) fn command() -> Clap {
    Clap::new("rabbitmq-gateway")
        .about("HTTP gateway to RabbitMQ; without a command it runs the gateway")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("rabbitmq-gateway [OPTIONS] [COMMAND]")
        .after_help(format!("{}\n\n--help lists every setting, check-config shows their values.", secrets()))
        .after_long_help(format!("{}\n\n{EXIT_CODES}", secrets()))
        .args(SETTINGS.iter().filter_map(argument))
        .subcommands([check_config(), healthcheck(), key(), can(), openapi(), completions(), man()])
}

fn check_config() -> Clap {
    let connect = Arg::new("connect").long("connect").action(ArgAction::SetTrue).help(
        "Also log in to RabbitMQ at every address, within RABBITMQ_CONNECTION_TIMEOUT, and print the result",
    );
    let settings = SETTINGS.iter().filter_map(argument);
    Clap::new("check-config")
        .about("Print the effective settings and where each comes from, secrets hidden")
        .arg(connect)
        .args(settings.map(|argument| argument.hide(true)))
        .after_help(format!(
            "It also takes the flag of every setting: see rabbitmq-gateway --help.\n\n{EXIT_CODES}"
        ))
}

fn healthcheck() -> Clap {
    let ready =
        Arg::new("ready").long("ready").action(ArgAction::SetTrue).help("Ask whether it is ready to publish");
    let settings = OF_HEALTHCHECK.into_iter().filter_map(Setting::named);
    Clap::new("healthcheck")
        .about("Ask the running gateway whether it is alive")
        .arg(ready)
        .args(settings.filter_map(argument).map(|argument| argument.hide_short_help(false)))
}

fn key() -> Clap {
    let name =
        Arg::new("name").value_name("NAME").required(true).help("Name of the principal that gets the key");
    let grants = [
        (Verb::Configure, "Queues and exchanges that it may declare and delete"),
        (Verb::Write, "Exchanges that it may publish to: name, or name/routing-key"),
        (Verb::Read, "Queues that it may take messages from"),
        (Verb::Call, "Queues that it may call"),
    ];
    let grants = grants.map(|(verb, help)| {
        let argument =
            Arg::new(verb.word()).long(verb.word()).value_name("PATTERN").action(ArgAction::Append);
        argument.help(format!("{help}; may be repeated, * stands for any text"))
    });
    let new = Clap::new("new")
        .about(
            "Make an API key: print its part of the file of principals, and the key itself on standard error",
        )
        .arg(name)
        .args(grants);
    let hash = Clap::new("hash").about("Print the hash of the API key on standard input");
    Clap::new("key")
        .about("Make API keys for the file of principals")
        .subcommand_required(true)
        .subcommands([new, hash])
}

fn can() -> Clap {
    let of = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).value_name(value).required(name != "routing_key").help(help)
    };
    let settings = OF_CAN.into_iter().filter_map(Setting::named);
    Clap::new("can")
        .about("Tell whether the file of principals allows something: exit code 0 for yes, 1 for no")
        .args([
            of("principal", "PRINCIPAL", "Name of the principal in the file"),
            of("permission", "PERMISSION", "The permission").value_parser(Verb::ALL.map(Verb::word)),
            of("name", "NAME", "Queue or exchange; amq.default is the default exchange"),
            of("routing_key", "ROUTING_KEY", "Routing key; every one if not given"),
        ])
        .args(settings.filter_map(argument).map(|argument| argument.hide_short_help(false)))
}

fn openapi() -> Clap {
    Clap::new("openapi").about("Print the OpenAPI document")
}

fn completions() -> Clap {
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .required(true)
        .value_parser(value_parser!(Shell))
        .help("The shell to write it for");
    Clap::new("completions").about("Print a completion script").arg(shell)
}

fn man() -> Clap {
    let of = Arg::new("command")
        .value_name("COMMAND")
        .help("Command whose page to print; the gateway's page if not given");
    let commands = ["check-config", "healthcheck", "key", "can", "openapi", "completions", "man"];
    Clap::new("man").about("Print a manual page").arg(of.value_parser(commands))
}

/// The flag of a setting; `None` for a secret.
fn argument(setting: &'static Setting) -> Option<Arg> {
    let origin = origin(setting);
    let argument = Arg::new(setting.name)
        .long(setting.flag()?)
        .aliases(setting.former_flag())
        .value_name(setting.value_name())
        .help(format!("{} {origin}", setting.help.split(';').next().unwrap_or_default()))
        .long_help(format!("{}\n[form: {}] {origin}", setting.help, setting.form))
        .help_heading(setting.heading())
        .hide_short_help(!BASIC.contains(&setting.name));
    let is_file = setting.value_name() == "FILE";
    Some(if is_file { argument.value_hint(ValueHint::FilePath) } else { argument })
}

/// The environment variable and the default of a setting.
fn origin(setting: &Setting) -> String {
    let default = match setting.default {
        Fallback::Unset("none") => String::new(),
        _ => format!(" [default: {}]", setting.default_text()),
    };
    format!("[env: {}]{default}", setting.name)
}

/// The settings that have no flag.
fn secrets() -> String {
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    let lines = secrets.map(|setting| format!("\n  {:18} {}", setting.name, setting.form));
    format!(
        "Secrets come from the environment or from a file, never from a flag:{}",
        lines.collect::<String>()
    )
}
