//! One login at every address, for `check-config --connect`: tells which server accepted it, or why none did and how to
//! fix it.

use std::sync::Arc;

use futures_util::future::join_all;

use super::dial_record::DialRecord;
use super::dialler::{Dialler, Reports};
use super::node::Node;
use super::{OutageLog, Reached, Role, dial_error};
use crate::broker::error::Denial;
use crate::broker::{Address, Login, Settings, SettingsError};
use crate::metrics::Metrics;

/// The name of the connection in RabbitMQ.
const NAME: &str = "check-config";

/// An address, and the result of the login there.
pub type Trial = (Address, Result<Reached, Unreached>);

/// A login that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// RabbitMQ refuses the gateway's user or virtual host.
    pub is_refused: bool,
    /// The reason, and how to fix it.
    pub why: String,
}

/// Logs in at all addresses at the same time, each within the connection timeout, and closes the connections.
///
/// # Errors
/// A setting that can never work, such as an unreadable certificate.
pub async fn try_all(settings: &Settings) -> Result<Vec<Trial>, SettingsError> {
    let nodes = Node::all(settings)?;
    Ok(join_all(nodes.into_iter().map(|node| login(node, settings))).await)
}

async fn login(node: Node, settings: &Settings) -> Trial {
    let reports = Reports {
        role: Role::Probe,
        metrics: Metrics::default(),
        record: Arc::new(DialRecord::new(1)),
        log: OutageLog::default().of_connection(NAME),
    };
    let dialler = Dialler::new(NAME.to_owned(), Role::Probe, (vec![node.clone()], 0), settings, reports);
    let user = match &settings.login {
        Login::Plain { user, .. } => Some(user.as_str()),
        Login::External => None,
    };
    let result = match dialler.connect(&node, settings.connection_timeout).await {
        Ok(connection) => {
            let reached = connection.reached(user);
            connection.close().await;
            Ok(reached)
        }
        Err(error) => Err(Unreached {
            is_refused: Denial::of_login(&error).is_some(),
            why: dial_error::explain(&error, &node.address, &settings.login),
        }),
    };
    (node.address, result)
}
