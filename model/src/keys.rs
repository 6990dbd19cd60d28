//! The key pair that signs heads, in the files of the minisign program: secret key `FILE`, public key `FILE.pub`.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::error::{Context, Error, Result};
use crate::temp_file::sync_folder;

/// How a secret key file that is protected by a passphrase begins, in base64.
const PROTECTED: &str = "RWRTY0Iy";

/// Where a passphrase comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Passphrase {
    /// For a new key: none. For a protected key: asked for on the terminal.
    #[default]
    None,
    /// Asked for on the terminal.
    Ask,
    /// The first line of a file.
    File(PathBuf),
}

/// A secret key that is ready to sign.
pub struct Signer {
    path: PathBuf,
    secret: SecretKey,
    public: String,
}

impl Signer {
    /// Makes a key pair: `path` for its owner alone, `path` + `.pub` for everyone. Overwrites nothing; both files are
    /// synced.
    pub fn create(path: &Path, passphrase: &Passphrase) -> Result<Self> {
        let public = public_file(path);
        if public.exists() {
            let reason = format!("it is there, but its secret key {} is not", path.display());
            return Err(Error::Key {
                path: public,
                reason,
            });
        }
        let passphrase = match passphrase {
            Passphrase::None => None,
            Passphrase::Ask => Some(ask_twice(path)?),
            Passphrase::File(file) => Some(read_passphrase(file)?),
        };
        let made = match &passphrase {
            None => KeyPair::generate_unencrypted_keypair(),
            Some(passphrase) => KeyPair::generate_encrypted_keypair(Some(passphrase.clone())),
        };
        let text = made
            .and_then(|pair| pair.sk.to_box(None))
            .map_err(|error| failed(path, &error))?
            .into_string();
        write_new(path, text.as_bytes(), 0o600)?;
        let signer = Self::unlock(path, text, passphrase)?;
        signer.write_public()?;
        Ok(signer)
    }

    /// Reads the secret key at `path`.
    pub fn open(path: &Path, passphrase: &Passphrase) -> Result<Self> {
        let text = fs::read_to_string(path).context("read", path)?;
        let encoded = text.lines().nth(1).unwrap_or_default();
        let passphrase = match passphrase {
            _ if !encoded.starts_with(PROTECTED) => None,
            Passphrase::File(file) => Some(read_passphrase(file)?),
            Passphrase::None | Passphrase::Ask => Some(ask(path, "Passphrase")?),
        };
        Self::unlock(path, text, passphrase)
    }

    fn unlock(path: &Path, text: String, passphrase: Option<String>) -> Result<Self> {
        let stored = SecretKeyBox::from(text);
        let secret = match passphrase {
            None => stored.into_unencrypted_secret_key(),
            passphrase => stored.into_secret_key(passphrase),
        }
        .map_err(|error| failed(path, &error))?;
        let public = PublicKey::from_secret_key(&secret).map_err(|error| failed(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            secret,
            public: public.to_base64(),
        })
    }

    /// Opens the key pair at `path`, or makes one where there is none.
    pub fn open_or_create(path: &Path, passphrase: &Passphrase) -> Result<Self> {
        if !path.exists() {
            return Self::create(path, passphrase);
        }
        log::info!("using the existing key {}", path.display());
        let signer = Self::open(path, passphrase)?;
        signer.write_public()?;
        Ok(signer)
    }

    /// Makes sure that the public key is in its file beside the secret one. Overwrites nothing.
    pub fn write_public(&self) -> Result<()> {
        let file = public_file(&self.path);
        if file.exists() {
            return match read_public(&file)? == self.public {
                true => Ok(()),
                false => Err(Error::Key {
                    reason: format!("it is not the public key of {}", self.path.display()),
                    path: file,
                }),
            };
        }
        let text = PublicKey::from_base64(&self.public)
            .and_then(|key| key.to_box())
            .map_err(|error| failed(&self.path, &error))?;
        write_new(&file, text.into_string().as_bytes(), 0o644)
    }

    /// The public key: one line in base64.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// `body` with the four lines of its signature behind it. `comment` is signed too.
    pub fn sign(&self, body: &str, comment: &str) -> Result<String> {
        let signature = minisign::sign(
            None,
            &self.secret,
            body.as_bytes(),
            Some(comment),
            Some("signature of the lines above"),
        )
        .map_err(|error| failed(&self.path, &error))?;
        Ok(format!("{body}{}", signature.into_string()))
    }
}

/// The public key of the pair whose secret key is at `path`: one line in base64. None where one of its two files is missing;
/// that the two belong together is not looked at, for the secret one may want its passphrase.
pub fn public_key(path: &Path) -> Result<Option<String>> {
    let file = public_file(path);
    match path.exists() && file.exists() {
        true => read_public(&file).map(Some),
        false => Ok(None),
    }
}

fn public_file(secret: &Path) -> PathBuf {
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The one line in base64 of a public key file.
fn read_public(path: &Path) -> Result<String> {
    PublicKey::from_file(path)
        .map(|key| key.to_base64())
        .map_err(|error| Error::Key {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

fn failed(path: &Path, error: &minisign::PError) -> Error {
    Error::Key {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Writes a file that is not there yet: whole and durable under its name, or not at all.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // Of a run that did not come to its end.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .context("create", &new)?;
    file.write_all(bytes).context("write", &new)?;
    file.sync_all().context("sync", &new)?;
    renameat_with(CWD, &new, CWD, path, RenameFlags::NOREPLACE).context("create", path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

fn read_passphrase(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).context("read", file)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn ask(key: &Path, prompt: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return Err(Error::Key {
            path: key.to_owned(),
            reason:
                "it needs a passphrase and there is no terminal to ask on; give --passphrase-file"
                    .into(),
        });
    }
    rpassword::prompt_password(format!("{prompt} of {}: ", key.display()))
        .context("ask for the passphrase of", key)
}

fn ask_twice(key: &Path) -> Result<String> {
    let first = ask(key, "New passphrase")?;
    match ask(key, "Once more, the passphrase")? == first {
        true => Ok(first),
        false => Err(Error::Key {
            path: key.to_owned(),
            reason: "the two passphrases differ".into(),
        }),
    }
}
