//! Writes the golden files: `cargo run -p reclone-format --example golden -- format/testdata/v1`.
//!
//! It writes what is missing and leaves the rest alone: the committed bytes decide, not this program. Made anew, they
//! would differ, for a signature holds random bytes and another version of zstd compresses to other bytes. Whoever
//! signs with the key in that folder proves nothing: its secret half is public.

#![allow(clippy::unwrap_used)]

mod refused;
mod repacked;
mod sample;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKeyBox};

/// The stem of the key pair's two files.
const KEY: &str = "TEST-KEY-never-trust";

/// The folder that is written, and the key that signs in it.
pub struct Golden {
    folder: PathBuf,
    keys: KeyPair,
}

impl Golden {
    fn open(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(format!("{KEY}.key"));
        if !path.exists() {
            let keys = KeyPair::generate_unencrypted_keypair().unwrap();
            let secret = keys.sk.to_box(Some("reclone test key: never trust it"));
            std::fs::write(&path, secret.unwrap().into_string()).unwrap();
            let public = keys.pk.to_box().unwrap().into_string();
            std::fs::write(folder.join(format!("{KEY}.pub")), public).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let sk = SecretKeyBox::from_string(&text)
            .and_then(SecretKeyBox::into_unencrypted_secret_key)
            .unwrap();
        let pk = PublicKey::from_secret_key(&sk).unwrap();
        let keys = KeyPair { pk, sk };
        Self {
            folder: folder.into(),
            keys,
        }
    }

    /// `body` and the four lines of its signature.
    pub fn sign(&self, body: &str) -> Vec<u8> {
        let signature = minisign::sign(
            Some(&self.keys.pk),
            &self.keys.sk,
            body.as_bytes(),
            Some("reclone head"),
            Some("reclone test key"),
        );
        [body.as_bytes(), &signature.unwrap().to_bytes()].concat()
    }

    /// Writes one file, unless it is there, and gives what is in it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Vec<u8> {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            std::fs::write(&path, bytes).unwrap();
        }
        std::fs::read(path).unwrap()
    }
}

fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .expect("usage: golden FOLDER, which is written into");
    let golden = Golden::open(Path::new(&folder));
    let sample = sample::write(&golden);
    refused::write(&golden, &sample);
    repacked::write(&golden);
}
