//! An authority of ones own and the certificate of a server, for HTTPS between a clone and its model.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, Error, IsCa, KeyPair, date_time_ymd,
};

/// All of it in PEM.
pub struct Certificates {
    /// The authority's certificate, for the clones.
    pub authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// For a server at this address, valid from 2020 on.
    pub fn of(address: &str) -> Certificates {
        Self::try_of(address).expect("an address is a name that certificates can have")
    }

    fn try_of(address: &str) -> Result<Certificates, Error> {
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut server = CertificateParams::new(vec![address.to_owned()])?;
        server.not_before = date_time_ymd(2020, 1, 1);
        let key = KeyPair::generate()?;
        Ok(Certificates {
            authority: issuer.pem(),
            certificate: server.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Writes what the server needs: `<path>.crt` and `<path>.key`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path.with_extension("crt"), &self.certificate)?;
        fs::write(path.with_extension("key"), &self.key)
    }
}
