//! Whom a clone follows: the configuration, made into an open store and a key.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use reclone_format::PublicKey;
use reclone_format::signature::MAX_KEY_FILE;

use crate::config::{Config, Key};
use crate::error::{Error, Result};
use crate::network::{self, Need};
use crate::store::{self, Store, StoreOptions, Token};

/// A store, who must have signed what comes from it, and how it is named.
pub struct Follow {
    /// As it was named.
    pub location: String,
    /// Whose signature counts.
    pub key: PublicKey,
    /// The model to follow, if one was named.
    pub model: Option<String>,
    /// The way to it.
    pub store: Box<dyn Store>,
    /// What that way needs of the network, if it is one.
    pub need: Option<Need>,
}

impl Follow {
    /// Reads the files that `config` names; asks the store nothing yet. All waits for it end at `deadline`. `pool`, which
    /// need not be there, tells when there was a sync: it is not earlier now.
    pub fn new(config: &Config, deadline: Option<Instant>, pool: &Path) -> Result<Self> {
        let usage = |text: &str| Error::Usage(text.into());
        let location = config.store.clone().ok_or_else(|| {
            usage("No store is named: use --store, reclone.store= on the kernel command line, or `store = …` in /etc/reclone/reclone.conf")
        })?;
        let key = config.key.as_ref().ok_or_else(|| {
            usage("No key is named: use --key, or `key = …` in /etc/reclone/reclone.conf")
        })?;
        let token = config.token_file.as_deref().map(read_token).transpose()?;
        let options = StoreOptions {
            ca: config.ca.clone(),
            pin: config.pin.clone(),
            token,
            proxy: config.proxy.clone(),
            deadline,
            clock_floor: clock_floor(config, pool),
            ..StoreOptions::default()
        };
        Ok(Self {
            key: read_key(key)?,
            model: config.model.clone(),
            // Nothing was sent yet: what is wrong now is what was said, not the store.
            store: store::open(&location, &options).map_err(wrong)?,
            need: network::need(&location, config.proxy.as_deref()),
            location,
        })
    }
}

/// The newest time that this machine has seen: of its initramfs, its authority and its last sync.
fn clock_floor(config: &Config, pool: &Path) -> SystemTime {
    let seen = [
        Some(PathBuf::from("/proc/self/exe")),
        config.ca.clone(),
        Some(pool.join("state")),
        Some(pool.join("log/last-sync")),
    ];
    let times = seen
        .iter()
        .flatten()
        .filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// For `map_err`: the command line or the configuration can not be right.
fn wrong(error: impl Display) -> Error {
    Error::Usage(error.to_string())
}

fn read_key(key: &Key) -> Result<PublicKey> {
    match key {
        Key::Text(text) => PublicKey::decode(text).map_err(wrong),
        Key::File(path) => {
            let mut text = String::new();
            let read = File::open(path)
                .and_then(|file| file.take(MAX_KEY_FILE as u64).read_to_string(&mut text));
            read.map_err(Error::system("can not read the key", path))?;
            PublicKey::decode(&text)
                .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
        }
    }
}

fn read_token(path: &Path) -> Result<Token> {
    let text = fs::read_to_string(path).map_err(Error::system("can not read the token", path))?;
    Ok(Token::new(&text))
}
