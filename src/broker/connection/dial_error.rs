//! Why a dial failed and how to fix it, in one line for the operator.
//!
//! The text of RabbitMQ, of the operating system or of rustls comes first, unchanged. The line contains no secret.

use std::io;

use lapin::ErrorKind;

use crate::broker::error::Denial;
use crate::broker::wire::Router;
use crate::broker::{Address, Login};

/// A part of the text of a failure that is no refusal, and the advice for it. The first entry that matches is used.
#[rustfmt::skip]
const ADVICE: [(&str, &str); 9] = [
    ("Connection refused", "no program listens there: check host and port, and that RabbitMQ runs"),
    ("failed to lookup address", "check the host's name"),
    ("no AMQP handshake within",
        "the port takes connections and does not speak AMQP: check host and port; write amqps:// or RABBITMQ_SSL_ENABLED=true for a TLS port"),
    ("closed the socket", "check that RabbitMQ listens on the port; write amqps:// or RABBITMQ_SSL_ENABLED=true for a TLS port"),
    ("no connection within", "check host, port and firewalls, and for TLS that the port speaks it"),
    ("InvalidContentType",
        "the port does not speak TLS: take RabbitMQ's TLS port, 5671 by default, or write amqp:// or RABBITMQ_SSL_ENABLED=false"),
    ("UnknownIssuer", "set RABBITMQ_SSL_CA_CERT to the certificate of the authority that signed RabbitMQ's certificate"),
    ("not valid for name", "dial RabbitMQ by a name that its certificate has"),
    ("CertificateRequired",
        "RabbitMQ wants a client certificate: set RABBITMQ_SSL_CLIENT_CERT and RABBITMQ_SSL_CLIENT_KEY"),
];

/// Why the dial of this address failed, and how to fix it.
pub(super) fn explain(error: &lapin::Error, address: &Address, login: &Login) -> String {
    let why = match error.kind() {
        ErrorKind::ProtocolError(protocol) => protocol.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    };
    let fits = |(words, _): &&(&str, &str)| why.contains(words);
    let advice = match Denial::of_login(error) {
        Some(denial) => Some(of_denial(denial, address, login)),
        None => ADVICE.iter().find(fits).map(|(_, advice)| (*advice).to_owned()),
    };
    advice.map_or_else(|| why.clone(), |advice| format!("{why}; {advice}"))
}

fn of_denial(denial: Denial, address: &Address, login: &Login) -> String {
    let advice = match denial {
        Denial::Credentials => return of_credentials(address, login),
        Denial::VhostMissing => {
            "check RABBITMQ_VHOST, or the path of AMQP_URL; or add it: rabbitmqctl add_vhost VHOST"
        }
        Denial::VhostForbidden => {
            "give the user permissions there: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'"
        }
        Denial::ConnectionLimit | Denial::ChannelLimit => {
            "raise the limit in RabbitMQ, or lower the RABBITMQ_*_CONNECTIONS settings"
        }
        Denial::ReplyQueueForbidden | Denial::ReplyQueue | Denial::Other => "see RabbitMQ's log",
    };
    advice.to_owned()
}

/// The text of the error without the address: the line has the address already, and the outage log compares reasons over
/// all addresses.
fn of_credentials(address: &Address, login: &Login) -> String {
    let Login::Plain { user, .. } = login else {
        return "RabbitMQ does not take the client certificate as a login: it needs the plugin \
                rabbitmq_auth_mechanism_ssl, and a user with the certificate's name"
            .to_owned();
    };
    let is_away = !matches!(address.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let of_guest = if user == "guest" && is_away {
        "; RabbitMQ accepts guest from its own machine only, unless its setting loopback_users says otherwise"
    } else {
        ""
    };
    format!(
        "RabbitMQ refuses user {user:?}: check RABBITMQ_USER and RABBITMQ_PASSWORD, or AMQP_URL{of_guest}"
    )
}

/// Adds the reason for which the router ended the connection to lapin's error: lapin sees only that the connection has
/// ended.
pub(super) fn with_reason(error: lapin::Error, router: &Router) -> lapin::Error {
    match (error.kind(), router.end_reason()) {
        (ErrorKind::IOError(_), Some(reason)) => lapin::Error::from(io::Error::other(reason.to_owned())),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn told(host: &str, user: &str, error: &lapin::Error) -> String {
        let address = Address { host: host.to_owned(), port: 5672 };
        explain(
            error,
            &address,
            &Login::Plain { user: user.to_owned(), password: SecretString::from("hunter2") },
        )
    }

    fn refused(code: u16, text: &str) -> lapin::Error {
        let error = lapin::protocol::AMQPError::from_id(code, crate::broker::convert::short_string(text));
        lapin::Error::from(ErrorKind::ProtocolError(error.expect("a code of AMQP")))
    }

    #[test]
    fn a_wrong_password_names_the_user_and_not_the_password() {
        let error =
            || refused(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.");
        let line = told("rabbit", "app", &error());
        assert!(line.contains("RabbitMQ refuses user \"app\""), "{line}");
        assert!(!line.contains("hunter2") && !line.contains("loopback_users"), "{line}");
        assert!(told("rabbit", "guest", &error()).contains("loopback_users"));
        assert!(!told("localhost", "guest", &error()).contains("loopback_users"));
    }

    #[test]
    fn each_refusal_of_a_virtual_host_says_what_to_do() {
        for (text, advice) in [
            ("NOT_ALLOWED - vhost nope not found", "add_vhost"),
            ("NOT_ALLOWED - access to vhost 'v' refused for user 'app'", "set_permissions"),
            (
                "NOT_ALLOWED - access to vhost 'v' refused for user 'app': connection limit (5) is reached",
                "limit",
            ),
            ("NOT_ALLOWED - something else", "RabbitMQ's log"),
        ] {
            let line = told("rabbit", "app", &refused(530, text));
            assert!(line.starts_with(text) && line.contains(advice), "{line}");
        }
    }

    #[test]
    fn a_failure_that_is_not_known_keeps_its_words() {
        assert_eq!(told("rabbit", "app", &lapin::Error::from(io::Error::other("odd"))), "odd");
    }
}
