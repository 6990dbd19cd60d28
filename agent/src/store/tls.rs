//! TLS for the HTTP store: rustls with ring, an own set of authorities or one pinned key.
//!
//! A pinned key takes the place of the whole certificate check: no name, no clock, no authority is asked.
//! No list of public authorities is compiled in; `ca` may be the distribution's bundle.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct};
use rustls::{RootCertStore, SignatureScheme, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::sys::random;

use super::clock::FlooredClock;
use super::{Kind, StoreError, StoreOptions};

/// Where Debian and others keep the bundle of public authorities; used where neither `ca` nor `pin` is given.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What to believe, by the options.
pub fn client_config(options: &StoreOptions) -> Result<Arc<ClientConfig>, StoreError> {
    if !random::wait(options.deadline) {
        let what = "the kernel has no randomness yet, and TLS needs some";
        return Err(StoreError::new(Kind::Temporary, "TLS", what));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clock = Arc::new(FlooredClock {
        floor: options.clock_floor,
    });
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::new(Kind::Tls, "TLS", error.to_string()))?;
    let config = if let Some(pin) = &options.pin {
        let verifier = Arc::new(PinVerifier::new(pin, &provider)?);
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth()
    } else {
        let path = options.ca.as_deref().unwrap_or(Path::new(SYSTEM_BUNDLE));
        builder
            .with_root_certificates(authorities(path)?)
            .with_no_client_auth()
    };
    Ok(Arc::new(config))
}

/// The authorities in a PEM file.
fn authorities(path: &Path) -> Result<RootCertStore, StoreError> {
    let location = path.display().to_string();
    let failed = |what: String| StoreError::new(Kind::Tls, location.clone(), what);
    let pem = std::fs::read(path).map_err(|error| {
        failed(format!(
            "{error}; an https store needs `ca =` (a PEM file) or `pin =`"
        ))
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| failed(format!("not PEM: {error}")))?;
        // A bundle may hold an odd certificate; the others count all the same.
        if let Err(error) = roots.add(certificate) {
            log::warn!("left out a certificate of {location}: {error}");
        }
    }
    if roots.is_empty() {
        return Err(failed("holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Accepts a server by its public key alone.
#[derive(Debug)]
struct PinVerifier {
    pin: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    fn new(pin: &str, provider: &CryptoProvider) -> Result<Self, StoreError> {
        let what = "neither 64 hex digits nor the base64 of a SHA-256 digest (`sha256//…`)";
        let pin = parse_pin(pin).ok_or_else(|| StoreError::new(Kind::Other, "pin", what))?;
        Ok(Self {
            pin,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let key = certificate.subject_public_key_info();
        let digest = ring::digest::digest(&ring::digest::SHA256, &key);
        if digest.as_ref() == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let found: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let what = format!("the server's key is {found}, not the one of `pin =`");
        Err(rustls::Error::General(what))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A SHA-256 digest in hex or base64, with curl's prefix or without.
fn parse_pin(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let text = text.strip_prefix("sha256//").unwrap_or(text);
    let (digits, bits): (Vec<u8>, u32) = if text.len() == 64 {
        let digit = |c: char| c.to_digit(16).and_then(|d| u8::try_from(d).ok());
        (text.chars().map(digit).collect::<Option<_>>()?, 4)
    } else {
        (
            text.trim_end_matches('=')
                .bytes()
                .map(base64_digit)
                .collect::<Option<_>>()?,
            6,
        )
    };
    let mut bytes = Vec::with_capacity(33);
    let (mut pool, mut held) = (0u32, 0);
    for digit in digits {
        pool = (pool << bits | u32::from(digit)) & 0xffff;
        held += bits;
        if held >= 8 {
            held -= 8;
            bytes.push((pool >> held & 0xff) as u8);
        }
    }
    bytes.try_into().ok()
}

fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// What a TLS failure means for the admin.
pub fn explain(error: &rustls::Error) -> String {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return match error {
            rustls::Error::General(what) => what.clone(),
            other => format!("TLS failed: {other}"),
        };
    };
    match certificate {
        // The second is an authority of the same name with another key.
        C::UnknownIssuer | C::BadSignature => {
            "no known authority signed the server's certificate; give the \
            authority's with `ca =` or the key with `pin =`"
                .to_owned()
        }
        C::NotValidYet | C::NotValidYetContext { .. } => "the server's certificate is not valid \
            yet by this machine's clock; set the clock or use `pin =`"
            .to_owned(),
        C::Expired | C::ExpiredContext { .. } => "the server's certificate has expired, or this \
            machine's clock is wrong; renew it, set the clock, or use `pin =`"
            .to_owned(),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another name ({certificate})")
        }
        other => format!("the server's certificate is not good: {other}"),
    }
}

/// Wraps the connection of an https URL in TLS.
#[derive(Debug)]
pub struct TlsConnector {
    /// What to believe; nothing for a store that is not https.
    pub config: Option<Arc<ClientConfig>>,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self
            .config
            .clone()
            .ok_or(ureq::Error::Tls("TLS is not set up"))?;
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ureq::Error::Tls("the host is neither a name nor an address"))?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut socket =
            TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        let stream = StreamOwned {
            conn: connection,
            sock: socket,
        };
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// A connection inside TLS.
pub struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_in_all_its_forms() {
        let zeros = Some([0; 32]);
        assert_eq!(parse_pin(&"0".repeat(64)), zeros);
        assert_eq!(parse_pin(&format!("sha256//{}=", "A".repeat(43))), zeros);
        assert_eq!(parse_pin(&format!(" {}\n", "A".repeat(43))), zeros);
        assert_eq!(parse_pin(&"fF".repeat(32)), Some([0xff; 32]));
        let ones = format!("{}8=", "/".repeat(42));
        assert_eq!(parse_pin(&ones), Some([0xff; 32]));
        for bad in [
            "",
            "00",
            &"g".repeat(64),
            &"A".repeat(42),
            &"A".repeat(45),
            &"-".repeat(43),
        ] {
            assert_eq!(parse_pin(bad), None, "{bad}");
        }
    }
}
