//! Where generations come from: `trait Store` and its carriers.
//!
//! A store is a folder of published files: `head`, the one file that changes, and `packs/<id>`, each written once. It is
//! reached as a path ([`dir`]) or over HTTP(S) ([`http`]); both pass the contract suite in `tests/store.rs`.
//! Nothing here is trusted: who calls checks the signature of the head and the id of every object.

mod clock;
mod dir;
mod error;
mod http;
mod limit;
mod retry;
mod tls;

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

pub use error::{Kind, StoreError};
pub use limit::Limited;

/// The longest head that is read, in bytes.
pub const MAX_HEAD: u64 = 1 << 20;

/// What a store said about a head, to be given back with the next question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag, as sent.
    pub etag: Option<String>,
    /// The time of the last change, as sent.
    pub last_modified: Option<String>,
}

/// The answer to "what is the head now?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadAnswer {
    /// It is the one that the validators describe.
    Unchanged,
    /// It is this one.
    Fresh {
        /// The head, not yet verified.
        bytes: Vec<u8>,
        /// What to ask with next time.
        validators: Validators,
    },
}

/// What was asked of the store and what came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent (files opened, for a path).
    pub requests: u64,
    /// Bytes of bodies received, those skipped and those of broken answers included.
    pub bytes: u64,
    /// Requests that continued or repeated one that failed.
    pub retries: u64,
}

/// A folder of published files, wherever it is.
pub trait Store: Send + Sync {
    /// The head, unless it is the one that `known` describes; at most [`MAX_HEAD`] bytes.
    fn head(&self, known: Option<&Validators>) -> Result<HeadAnswer, StoreError>;

    /// A small file at `path` (such as `heads/3`), whole; at most [`MAX_HEAD`] bytes.
    fn file(&self, path: &str) -> Result<Vec<u8>, StoreError>;

    /// A reader of exactly `length` bytes of the file at `path` (such as `packs/<id>`) from `offset`.
    ///
    /// The reader ends after `length` bytes, never before: a shorter file is an error. Its errors carry a [`StoreError`]
    /// inside; [`StoreError::from_io`] takes it out.
    fn read(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError>;

    /// Whether ranges work. A caller merges its ranges into one where they do not. True until the store shows otherwise.
    fn ranges(&self) -> bool;

    /// What was asked and received so far.
    fn traffic(&self) -> Traffic;
}

/// How to reach a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A PEM file of the certificate authorities to believe (one or a bundle).
    pub ca: Option<PathBuf>,
    /// SHA-256 of the server's public key (SubjectPublicKeyInfo): hex, base64 or `sha256//BASE64`. Takes the place of `ca`.
    pub pin: Option<String>,
    /// Sent as `Authorization: Bearer …`; never logged, never sent to another host.
    pub token: Option<Token>,
    /// An HTTP proxy, as `http://HOST:PORT`.
    pub proxy: Option<String>,
    /// A certificate is judged as if it were this time at least.
    pub clock_floor: SystemTime,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for the next byte.
    pub stall_timeout: Duration,
    /// When everything must be over.
    pub deadline: Option<Instant>,
    /// How many times in a row without progress a failed request is tried again.
    pub retries: u32,
    /// The first pause before trying again; it doubles each time, up to [`MAX_PAUSE`](Self::MAX_PAUSE).
    pub pause: Duration,
}

impl StoreOptions {
    /// The longest pause before a retry.
    pub const MAX_PAUSE: Duration = Duration::from_secs(15);
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            ca: None,
            pin: None,
            token: None,
            proxy: None,
            clock_floor: SystemTime::UNIX_EPOCH,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            deadline: None,
            retries: 5,
            pause: Duration::from_millis(250),
        }
    }
}

/// A secret that does not show itself in logs.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token in `text`, without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The store at `location`: an `http://` or `https://` URL, a `file://` URL or a path. Sends nothing yet.
pub fn open(location: &str, options: &StoreOptions) -> Result<Box<dyn Store>, StoreError> {
    let scheme = location
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => {
            let carrier = http::HttpStore::open(location, options)?;
            Ok(Box::new(retry::RetryStore::new(carrier, options)))
        }
        Some("file") => Ok(at_path(&location["file://".len()..], options)),
        Some(other) => Err(StoreError::new(
            Kind::Other,
            location,
            format!("stores over {other}:// are not supported; use http://, https:// or a path"),
        )),
        None => Ok(at_path(location, options)),
    }
}

fn at_path(path: &str, options: &StoreOptions) -> Box<dyn Store> {
    Box::new(dir::DirStore::open(path, options.deadline))
}

/// Whether `path` is a relative path of plain names: nothing empty, nothing that starts with a dot.
fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|name| {
            !name.is_empty()
                && !name.starts_with('.')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        })
}
