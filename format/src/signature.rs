//! minisign signatures: decode a public key, check a message. This crate can not sign.
//!
//! Format: the pages of minisign, <https://jedisct1.github.io/minisign/>. Only the prehashed form (`ED`) is accepted.

use std::fmt;

use crate::{Error, Result};

/// The first bytes of the signature that ends a signed file.
pub const SIGNATURE_START: &str = "untrusted comment:";
/// The longest public key file, in bytes.
pub const MAX_KEY_FILE: usize = 4096;

/// The key whose owner a clone trusts.
#[derive(Clone)]
pub struct PublicKey(minisign_verify::PublicKey);

impl PublicKey {
    /// Reads a minisign public key: its two-line file, or the one line in base64.
    pub fn decode(text: &str) -> Result<Self> {
        let text = text.trim();
        let key = match text.lines().count() {
            1 => minisign_verify::PublicKey::from_base64(text),
            _ => minisign_verify::PublicKey::decode(text),
        };
        key.map(Self)
            .map_err(|error| Error::malformed("public key", error.to_string()))
    }

    /// Checks that `signature`, the four lines of a minisign signature, is this key's for `message`.
    pub fn verify(&self, message: &[u8], signature: &str) -> Result<()> {
        let signature = minisign_verify::Signature::decode(signature)
            .map_err(|error| Error::Signature(error.to_string()))?;
        self.0
            .verify(message, &signature, false)
            .map_err(|error| Error::Signature(error.to_string()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}
