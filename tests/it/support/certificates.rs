//! `Certificates`: a private authority, certificates that it signed for RabbitMQ and for a client, and another authority.

use std::{fs, net::SocketAddr, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// The name in the client's certificate, with which it logs in.
pub const CLIENT: &str = "certified-gateway";

/// PEM files that are deleted when the value is dropped.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// RabbitMQ's certificate is for 127.0.0.1 and for no name.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("certificates-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let certificates = Self { folder: folder.expect("the target folder is writable") };
        let authority = authority("ours");
        certificates.write("ca.pem", &authority.pem());
        certificates.write("other-ca.pem", &self::authority("another").pem());
        for (file, name, addresses) in
            [("broker", "broker", vec!["127.0.0.1".to_owned()]), ("client", CLIENT, vec![])]
        {
            let key = KeyPair::generate().expect("a key");
            let mut of = CertificateParams::new(addresses).expect("addresses of a certificate");
            of.distinguished_name.push(DnType::CommonName, name);
            let certificate = of.signed_by(&key, &authority).expect("the authority signs");
            certificates.write(&format!("{file}.pem"), &certificate.pem());
            certificates.write(&format!("{file}.key"), &key.serialize_pem());
        }
        certificates
    }

    /// The path of `ca.pem`, `other-ca.pem`, `client.pem` or `client.key`.
    pub fn path(&self, file: &str) -> String {
        let path: &Path = self.folder.path();
        path.join(file).to_str().expect("the temporary folder is UTF-8").to_owned()
    }

    /// Lines of `rabbitmq.conf` for a TLS listener that asks for client certificates but does not require one.
    pub fn config(&self, address: SocketAddr) -> String {
        format!(
            "listeners.ssl.1 = {address}\n\
             ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = false\n\
             ssl_cert_login_from = common_name\n\
             auth_mechanisms.1 = PLAIN\n\
             auth_mechanisms.2 = EXTERNAL\n",
            self.path("ca.pem"),
            self.path("broker.pem"),
            self.path("broker.key"),
        )
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).expect("the temporary folder is writable");
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut of = CertificateParams::default();
    of.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    of.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(of, KeyPair::generate().expect("a key")).expect("it signs itself")
}
