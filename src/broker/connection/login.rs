//! The gateway's login at RabbitMQ: SASL mechanism, certificates, and the client properties that operators see.
//!
//! lapin's `AuthProvider` carries the credentials. So the address that deadpool-lapin keeps (its `Debug` prints it)
//! contains no secret.

#![expect(clippy::disallowed_types, reason = "AuthProvider answers in ShortString; convert.rs makes it")]

use std::path::Path;
use std::sync::Arc;

use lapin::ConnectionProperties;
use lapin::auth::AuthProvider;
use lapin::types::{LongString, ShortString};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::TlsConnector;

use crate::broker::convert::short_string;
use crate::broker::{ClientCertificate, Login, SettingsError, Tls};

/// The client properties that the gateway sends when it connects as `role`, such as `publish-0`.
pub(super) fn connection_properties(login: &Login, role: &str) -> ConnectionProperties {
    let name = LongString::from(format!("{}@{} {role}", env!("CARGO_PKG_NAME"), host_name()));
    let properties = ConnectionProperties::default().with_connection_name(name);
    let properties = [("product", env!("CARGO_PKG_NAME")), ("version", env!("CARGO_PKG_VERSION"))]
        .into_iter()
        .fold(properties, |all, (key, value)| {
            all.with_client_property(short_string(key), LongString::from(value))
        });
    match login {
        Login::Plain { user, password } => {
            properties.with_auth_provider(Plain { user: user.clone(), password: password.clone() })
        }
        Login::External => properties.with_auth_provider(External),
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

struct Plain {
    user: String,
    password: SecretString,
}

impl AuthProvider for Plain {
    fn mechanism(&self) -> ShortString {
        short_string("PLAIN")
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        Ok(LongString::from(format!("\0{}\0{}", self.user, self.password.expose_secret())))
    }
}

struct External;

impl AuthProvider for External {
    fn mechanism(&self) -> ShortString {
        short_string("EXTERNAL")
    }
}

/// Reads the certificates and makes the connector.
///
/// # Errors
/// A file is missing, is not PEM, or does not fit the key.
pub(super) fn tls_connector(tls: &Tls) -> Result<TlsConnector, SettingsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Tls { reason: error.to_string() })?
        .with_root_certificates(trusted_roots(tls.ca_cert.as_deref())?);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { certificate, key }) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| SettingsError::Tls { reason: format!("client certificate: {error}") })?,
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusted_roots(ca_cert: Option<&Path>) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    let authorities = match ca_cert {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _unusable) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        let from = ca_cert.map_or_else(|| "the system".to_owned(), |path| path.display().to_string());
        return Err(SettingsError::Tls { reason: format!("no usable certificate authority in {from}") });
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable("certificates", path, &error))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SettingsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable("private key", path, &error))
}

fn unreadable(what: &str, path: &Path, error: &rustls::pki_types::pem::Error) -> SettingsError {
    SettingsError::Tls { reason: format!("cannot read {what} from {}: {error}", path.display()) }
}
