//! `env` in a node's folder: where the node listens, as lines that a shell can read too.

use std::path::Path;
use std::{fs, io};

use crate::identity::Identity;
use crate::ports::Ports;
use crate::setup::Setup;

const FILE: &str = "env";
const URL_HEAD: &str = "amqp://guest:guest@127.0.0.1:";
const URL_TAIL: &str = "/";

pub(crate) fn url(port: u16) -> String {
    format!("{URL_HEAD}{port}{URL_TAIL}")
}

pub(crate) fn write(setup: &Setup) -> io::Result<()> {
    let (identity, ports) = (&setup.identity, setup.ports);
    let management = ports.management.map_or_else(String::new, |port| format!("MANAGEMENT_PORT={port}\n"));
    let text = format!(
        "AMQP_URL={}\nRABBITMQ_DIST_PORT={}\nERL_EPMD_PORT={}\nRABBITMQ_NODENAME={}\n{management}",
        url(ports.amqp),
        ports.distribution,
        identity.epmd,
        identity.name
    );
    fs::write(setup.folder.join(FILE), text)
}

/// A container has one port only.
pub(crate) fn write_url(folder: &Path, port: u16) -> io::Result<()> {
    fs::write(folder.join(FILE), format!("AMQP_URL={}\n", url(port)))
}

pub(crate) fn read(folder: &Path, cookie: String) -> Option<(Identity, Ports)> {
    let text = fs::read_to_string(folder.join(FILE)).ok()?;
    let name = value(&text, "RABBITMQ_NODENAME")?.to_owned();
    let epmd = number(&text, "ERL_EPMD_PORT")?;
    let (distribution, management) = (number(&text, "RABBITMQ_DIST_PORT")?, number(&text, "MANAGEMENT_PORT"));
    let identity = Identity { name, cookie, epmd, starts_epmd: true };
    Some((identity, Ports { amqp: amqp_port(&text)?, distribution, management }))
}

pub(crate) fn read_amqp_port(folder: &Path) -> Option<u16> {
    amqp_port(&fs::read_to_string(folder.join(FILE)).ok()?)
}

fn amqp_port(text: &str) -> Option<u16> {
    value(text, "AMQP_URL")?.strip_prefix(URL_HEAD)?.strip_suffix(URL_TAIL)?.parse().ok()
}

fn number(text: &str, name: &str) -> Option<u16> {
    value(text, name)?.parse().ok()
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}
