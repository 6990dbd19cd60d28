//! A certificate authority and a server's certificate, made anew for each test.
#![allow(dead_code)] // Each test program needs a part of it.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority and a server.
pub struct Certificates {
    folder: tempfile::TempDir,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Certificates {
    pub fn new() -> Self {
        Self::valid_from(2000, "localhost")
    }

    pub fn not_yet_valid() -> Self {
        Self::valid_from(2900, "localhost")
    }

    /// For a server of this name.
    pub fn of(name: &str) -> Self {
        Self::valid_from(2000, name)
    }

    fn valid_from(year: i32, name: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let names = ["127.0.0.1".to_owned(), name.to_owned()];
        let mut server = CertificateParams::new(names).unwrap();
        server.not_before = date_time_ymd(year, 1, 1);
        server.not_after = date_time_ymd(2999, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = server.signed_by(&key, &issuer).unwrap().der().clone();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self {
            folder,
            certificate,
            key,
        }
    }

    /// The PEM file of the authority.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The pin of the server's key, in hex.
    pub fn pin(&self) -> String {
        let key = self.key.subject_public_key_info();
        let digest = ring::digest::digest(&ring::digest::SHA256, &key);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// What the server needs.
    pub fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        Arc::new(config)
    }
}
