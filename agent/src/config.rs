//! What a clone was told: `/etc/reclone/reclone.conf` and the kernel command line become one [`Config`].
//!
//! The file has lines `key = value`; empty lines and lines that begin with `#` mean nothing. The kernel command line
//! has the words `reclone=MODE` and `reclone.KEY=VALUE` (or `rd.reclone…`), and wins. Both are read leniently, for a slip of
//! the pen must not keep a machine from booting: what can not be used is left out and reported as a [`Complaint`].
//! Nothing here reads a file.

mod offline_store;
mod values;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use offline_store::OfflineStore;

use crate::command_line::words;
use values::{count, one_of, pool_path, seconds, session, space};

/// Where the configuration is, in the initramfs and in the running system.
pub const CONFIG_FILE: &str = "/etc/reclone/reclone.conf";
/// Where the boot leaves the files of the initramfs for the running clone, whose own `/etc` is the model's.
pub const OF_THE_BOOT: &str = "/run/reclone/etc";

/// Keys that the kernel command line alone can have.
const OF_ONE_BOOT: [&str; 4] = [".kernel", ".install", ".install-over", ".hostname"];

/// What a boot does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Sync, then boot what is current.
    #[default]
    On,
    /// Boot what is current, without the network.
    Skip,
    /// Check every object, fetch what is damaged, drop every session.
    Reset {
        /// Drop the kept paths, too.
        forget: bool,
    },
    /// Boot the previous generation this once.
    Rollback,
    /// Boot the plain root partition, as if reclone were not installed.
    Off,
}

/// Where a session is while the machine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SessionPlace {
    /// In the pool.
    #[default]
    Disk,
    /// In memory, and the disk is read-only.
    Ram {
        /// The most that it may take, as tmpfs takes it: `2G`, `30%`; without it, half of the memory.
        size: Option<String>,
    },
}

/// Where the model's public key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// In this minisign public key file.
    File(PathBuf),
    /// Here: its line in base64.
    Text(String),
}

/// Everything that can be set, with its default where nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What this boot does.
    pub mode: Mode,
    /// Whether sessions go on for all paths that no rule names, instead of ending with the boot.
    pub follow: bool,
    /// Where both the model and the clone changed a path that follows: whether the newer one wins, instead of the model's.
    pub local_newer_wins: bool,
    /// Where this boot's session is.
    pub session: SessionPlace,
    /// The store to follow: a URL or a path.
    pub store: Option<String>,
    /// A store beside it that may be there at a boot or not.
    pub offline_store: Option<OfflineStore>,
    /// The model to follow, where a store's key is used for several.
    pub model: Option<String>,
    /// The model's public key.
    pub key: Option<Key>,
    /// The pool, relative to the top of the root file system, or of its own partition.
    pub pool: PathBuf,
    /// The partition that the pool is on, as fstab names partitions; without it, the root partition.
    pub pool_device: Option<String>,
    /// How long a boot may spend on network and sync when there is a generation to boot anyway.
    pub timeout: Duration,
    /// The same when there is none yet.
    pub first_timeout: Duration,
    /// Certificate authorities to believe, as a PEM file.
    pub ca: Option<PathBuf>,
    /// SHA-256 of the server's public key.
    pub pin: Option<String>,
    /// A file with the bearer token.
    pub token_file: Option<PathBuf>,
    /// An HTTP proxy.
    pub proxy: Option<String>,
    /// How many ended sessions stay.
    pub sessions: u32,
    /// How much of the disk they may take.
    pub sessions_space: Space,
    /// The kernel that runs, where a boot of an older one started it.
    pub kernel: Option<String>,
    /// The disk that is to be laid out, where this boot makes a bare machine a clone.
    pub install: Option<PathBuf>,
    /// The serial number of the disk that may be overwritten for that.
    pub install_over: Option<String>,
    /// The name that such a machine gets.
    pub hostname: Option<String>,
    /// How many boots a new generation may begin without a good end; 0: it is not on trial.
    pub trial_boots: u32,
    /// How long such a boot may take to its good end.
    pub trial_timeout: Duration,
    /// Whether the boot loader gets the kernels of good generations.
    pub boot_loader: bool,
}

/// A part of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Bytes.
    Bytes(u64),
    /// Of a hundred parts.
    Percent(u8),
}

/// As the configuration has it.
impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Space::Bytes(bytes) => write!(f, "{bytes}"),
            Space::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::On,
            follow: false,
            local_newer_wins: false,
            session: SessionPlace::Disk,
            store: None,
            offline_store: None,
            model: None,
            key: None,
            pool: "reclone".into(),
            pool_device: None,
            timeout: Duration::from_secs(30),
            first_timeout: Duration::from_secs(3600),
            ca: None,
            pin: None,
            token_file: None,
            proxy: None,
            sessions: 3,
            sessions_space: Space::Percent(10),
            kernel: None,
            install: None,
            install_over: None,
            hostname: None,
            trial_boots: 3,
            trial_timeout: Duration::from_secs(900),
            boot_loader: true,
        }
    }
}

/// Something that was left out because it can not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    place: String,
    what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Config {
    /// Takes over what a configuration file says; `name` is the file's, for the complaints.
    pub fn read_file(&mut self, name: &Path, text: &[u8]) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let result = match line.split_once('=') {
                Some((key, value)) => self.set(key.trim(), value.trim()),
                None => Err(format!("`{line}` is not of the form `key = value`")),
            };
            if let Err(what) = result {
                let place = format!("{}:{number}", name.display());
                complaints.push(Complaint { place, what });
            }
        }
        complaints
    }

    /// Takes over what the kernel command line says.
    pub fn read_command_line(&mut self, text: &[u8]) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for word in words(&String::from_utf8_lossy(text)) {
            let Some((name, value)) = word.split_once('=') else {
                continue;
            };
            let name = name.strip_prefix("rd.").unwrap_or(name);
            let result = match name.strip_prefix("reclone") {
                Some("") => self.set_mode(value),
                Some(key) if OF_ONE_BOOT.contains(&key) => {
                    self.set_for_this_boot(key, value);
                    continue;
                }
                Some(key) if key.starts_with('.') => self.set(&key[1..], value),
                _ => continue,
            };
            if let Err(what) = result {
                let place = format!("kernel command line, `{word}`");
                complaints.push(Complaint { place, what });
            }
        }
        complaints
    }

    /// Reads both, the command line last.
    pub fn read(file: &Path, text: &[u8], command_line: &[u8]) -> (Self, Vec<Complaint>) {
        let mut config = Self::default();
        let mut complaints = config.read_file(file, text);
        complaints.extend(config.read_command_line(command_line));
        (config, complaints)
    }

    /// How long this boot may spend on network and sync.
    pub fn time_to_sync(&self, has_generation: bool) -> Duration {
        match has_generation {
            true => self.timeout,
            false => self.first_timeout.max(self.timeout),
        }
    }

    /// A network boot may leave a value empty that it does not know.
    fn set_for_this_boot(&mut self, key: &str, value: &str) {
        let text = Some(value.to_owned()).filter(|it| !it.is_empty() || key == ".kernel");
        match key {
            ".install" => self.install = text.map(PathBuf::from),
            ".install-over" => self.install_over = text,
            ".hostname" => self.hostname = text,
            _ => self.kernel = text,
        }
    }

    fn set_mode(&mut self, value: &str) -> Result<(), String> {
        self.mode = match value {
            "on" => Mode::On,
            "skip" => Mode::Skip,
            "reset" => Mode::Reset { forget: false },
            "reset,forget" => Mode::Reset { forget: true },
            "rollback" => Mode::Rollback,
            "off" => Mode::Off,
            _ => return Err("must be on, skip, reset, reset,forget, rollback or off".into()),
        };
        Ok(())
    }

    /// Takes over one key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("`{key}` has no value"));
        }
        let text = Some(value.to_owned());
        match key {
            "mode" => self.follow = one_of(value, ["freeze", "follow"])?,
            "local-newer-wins" => self.local_newer_wins = one_of(value, ["no", "yes"])?,
            "session" => self.session = session(value)?,
            "store" => self.store = text,
            "offline-store" => self.offline_store = Some(OfflineStore::parse(value)?),
            "model" => self.model = text,
            "key" if value.starts_with('/') => self.key = Some(Key::File(value.into())),
            "key" => self.key = Some(Key::Text(value.into())),
            "pool" => self.pool = pool_path(value)?,
            "pool-device" => self.pool_device = text,
            "timeout" => self.timeout = seconds(value)?,
            "first-timeout" => self.first_timeout = seconds(value)?,
            "ca" => self.ca = Some(value.into()),
            "pin" => self.pin = text,
            "token-file" => self.token_file = Some(value.into()),
            "proxy" => self.proxy = text,
            "sessions" => self.sessions = count(value)?,
            "sessions-space" => self.sessions_space = space(value)?,
            "trial.boots" => self.trial_boots = count(value)?,
            "trial.timeout" => self.trial_timeout = seconds(value)?,
            "boot-loader" => self.boot_loader = one_of(value, ["no", "yes"])?,
            _ => return Err(format!("`{key}` is not a key that this version knows")),
        }
        Ok(())
    }
}

/// What the words of a kernel command line say beyond one boot, as lines of the file.
pub fn lines(command_line: &str) -> String {
    let mut lines = String::new();
    for word in words(command_line) {
        let key = word.strip_prefix("rd.").unwrap_or(&word);
        let set = key
            .strip_prefix("reclone")
            .and_then(|it| it.split_once('='));
        if let Some((key, value)) = set
            && key.starts_with('.')
            && !OF_ONE_BOOT.contains(&key)
        {
            lines += &format!("{} = {value}\n", &key[1..]);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
