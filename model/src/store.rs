//! The folder of a store: where its files are, and how they are written so that a web server may read them at any moment.
//!
//! Layout: `docs/format.md`, section "Store". `head` is the one file that is ever replaced. Packs and the copies of old
//! heads are written under a temporary name, synced and renamed. `.reclone-model/` is this program's own and is not served.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use reclone_format::head::MAX_HEAD;
use reclone_format::{Head, PackId, PublicKey};
use rustix::fs::{FlockOperation, flock};

use crate::error::{Context, Error, InFile, Result};
use crate::temp_file::{TempFile, sync_folder};

/// The folder of what is not served.
const OWN: &str = ".reclone-model";
const RECORD: &str = ".reclone-model/store";
const RECORD_LINE: &str = "reclone-store 1";
const LOCK: &str = ".reclone-model/lock";
const TEMP: &str = ".reclone-model/temp";
const STAT_CACHE: &str = ".reclone-model/stat-cache";
/// More heads than anyone publishes of one generation.
const UNKNOWN_SERIALS: u64 = 1 << 20;
const PUBLIC_FOLDER: u32 = 0o755;
const OWN_FOLDER: u32 = 0o700;
/// The folders of a store, each behind those above it.
const FOLDERS: [(&str, u32); 4] = [
    ("packs", PUBLIC_FOLDER),
    ("heads", PUBLIC_FOLDER),
    (OWN, OWN_FOLDER),
    (TEMP, OWN_FOLDER),
];
/// All that is in a folder before there is a record, which comes last: nothing, or what a run left that was cut short. A fresh file system
/// has its lost+found.
const BEFORE_THE_RECORD: [(&str, &[&str]); 5] = [
    ("", &["lost+found", "packs", "heads", OWN]),
    ("packs", &[]),
    ("heads", &[]),
    (OWN, &["temp"]),
    (TEMP, &["store"]),
];

/// What a store remembers about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The model's name, as heads carry it.
    pub model: String,
    /// The public key that signs it: one line in base64.
    pub key: String,
}

/// A store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    record: Record,
}

impl Store {
    /// Makes a store in a new or empty folder, or in one where that was begun. Everything is synced.
    pub fn create(root: &Path, record: Record) -> Result<Self> {
        fs::create_dir_all(root).context("create", root)?;
        Self::check_is_free(root)?;
        let store = Self {
            root: root.to_owned(),
            record,
        };
        for (name, mode) in FOLDERS {
            let path = root.join(name);
            match DirBuilder::new().mode(mode).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.context("create", &path)?,
            }
            set_mode(&path, mode)?;
        }
        set_mode(root, PUBLIC_FOLDER)?;
        store.write_record()?;
        sync_folder(root)?;
        Ok(store)
    }

    /// Whether a store can be made at `root`: the folder is not there yet, it is empty, or it has what was made by a run that did not come
    /// to its end.
    pub fn check_is_free(root: &Path) -> Result<()> {
        for (name, may_have) in BEFORE_THE_RECORD {
            let folder = root.join(name);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.context("read", &folder)?,
            };
            for entry in entries {
                let found = entry.context("read", &folder)?.file_name();
                if !may_have.iter().any(|name| found == *name) {
                    return Err(Error::Occupied {
                        path: root.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Opens the store at `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(Error::NotAStore {
                    path: root.to_owned(),
                });
            }
            Err(error) => return Err(error).context("read", &path),
        };
        let record = Record::parse(&text).map_err(|reason| Error::Record { path, reason })?;
        Ok(Self {
            root: root.to_owned(),
            record,
        })
    }

    /// The published files in the folder `root`, a copy of a store's with this record, to read.
    pub fn at(root: &Path, record: Record) -> Self {
        Self {
            root: root.to_owned(),
            record,
        }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What it remembers.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Gives the model another name, from the next head on.
    pub fn rename(&mut self, model: &str) -> Result<()> {
        self.record.model = model.to_owned();
        self.write_record()
    }

    fn write_record(&self) -> Result<()> {
        let Record { model, key } = &self.record;
        let mut temp = self.temp("store")?;
        temp.write(format!("{RECORD_LINE}\nmodel {model}\nkey {key}\n").as_bytes())?;
        temp.persist(&self.root.join(RECORD))
    }

    /// The key that its heads must be signed by.
    pub fn public_key(&self) -> Result<PublicKey> {
        PublicKey::decode(&self.record.key).in_file(&self.root.join(RECORD))
    }

    /// Takes the store for the command `what` alone, as long as the lock lives. What an interrupted command left under
    /// temporary names is removed.
    pub fn lock(&self, what: &str) -> Result<Lock> {
        let path = self.root.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .context("open", &path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process",
                    known => known,
                };
                return Err(Error::Locked {
                    store: self.root.clone(),
                    holder: holder.to_owned(),
                });
            }
            Err(error) => return Err(error).context("lock", &path),
        }
        file.set_len(0).context("write", &path)?;
        let holder = format!("`reclone-model {what}`, process {}\n", std::process::id());
        file.write_all(holder.as_bytes()).context("write", &path)?;
        self.clear_temp()?;
        Ok(Lock { _file: file })
    }

    fn clear_temp(&self) -> Result<()> {
        let folder = self.root.join(TEMP);
        fs::create_dir_all(&folder).context("create", &folder)?;
        for entry in fs::read_dir(&folder).context("read", &folder)? {
            let path = entry.context("read", &folder)?.path();
            fs::remove_file(&path).context("remove", &path)?;
        }
        Ok(())
    }

    /// The newest generation's head, its signature checked; none before the first.
    pub fn head(&self) -> Result<Option<Head>> {
        self.read_head(&self.root.join("head"))
    }

    /// The head of an old or the newest generation, its signature checked; none if there is no such generation.
    pub fn head_of(&self, generation: u64) -> Result<Option<Head>> {
        self.read_head(&self.head_path(generation))
    }

    /// What stands in for a `head` that was lost: the newest copy that can be read; none if there is no copy. Its serial and
    /// generation are not below those of any copy, so that what follows is newer than all that clones may have seen.
    pub fn newest_copy(&self) -> Result<Option<Head>> {
        let generations = self.generations()?;
        let highest = generations.last().copied().unwrap_or_default();
        let mut unreadable = None;
        for generation in generations.iter().rev() {
            match self.head_of(*generation) {
                Ok(Some(mut head)) => {
                    // How often a generation was published is written in its copy alone.
                    let unknown = if unreadable.is_some() {
                        UNKNOWN_SERIALS
                    } else {
                        0
                    };
                    head.serial = head.serial.max(highest) + unknown;
                    head.generation = head.generation.max(highest);
                    return Ok(Some(head));
                }
                Ok(None) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    fn read_head(&self, path: &Path) -> Result<Option<Head>> {
        let Some(bytes) = read_bounded(path)? else {
            return Ok(None);
        };
        Head::verify(&bytes, &self.public_key()?)
            .in_file(path)
            .map(Some)
    }

    /// The generations that it has a head of, ascending.
    pub fn generations(&self) -> Result<Vec<u64>> {
        let folder = self.root.join("heads");
        let mut generations = Vec::new();
        for entry in fs::read_dir(&folder).context("read", &folder)? {
            let name = entry.context("read", &folder)?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            // No leading zeros, no sign: one generation has one name.
            generations.extend(number.filter(|number| *name == *number.to_string()));
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// The packs in its folder, named by a head or not.
    pub fn packs(&self) -> Result<Vec<PackId>> {
        let folder = self.root.join("packs");
        let mut packs = Vec::new();
        for entry in fs::read_dir(&folder).context("read", &folder)? {
            let name = entry.context("read", &folder)?.file_name();
            packs.extend(name.to_str().and_then(|name| name.parse::<PackId>().ok()));
        }
        packs.sort_unstable();
        Ok(packs)
    }

    /// Where a pack is.
    pub fn pack_path(&self, pack: &PackId) -> PathBuf {
        self.root.join(pack.store_path())
    }

    /// Where the write-once copy of a generation's head is.
    pub fn head_path(&self, generation: u64) -> PathBuf {
        self.root.join(format!("heads/{generation}"))
    }

    /// Where the stat cache is.
    pub fn stat_cache_path(&self) -> PathBuf {
        self.root.join(STAT_CACHE)
    }

    /// Makes a signed head the newest: first its write-once copy, then `head` by rename. Everything that it names must
    /// have been persisted before. When this returns, both are durable.
    pub fn publish_head(&self, generation: u64, signed: &str) -> Result<()> {
        for path in [self.head_path(generation), self.root.join("head")] {
            let mut temp = self.temp("head")?;
            temp.write(signed.as_bytes())?;
            temp.persist(&path)?;
        }
        Ok(())
    }

    /// Makes durable which heads there are.
    pub fn sync_heads(&self) -> Result<()> {
        sync_folder(&self.root.join("heads"))
    }

    /// A new file that nobody sees until it is persisted.
    pub fn temp(&self, name: &str) -> Result<TempFile> {
        TempFile::create(self.root.join(TEMP).join(name))
    }

    /// Scratch space on the store's disk that vanishes with its handle.
    pub fn scratch(&self, name: &str) -> Result<File> {
        let temp = self.temp(name)?;
        temp.file().try_clone().context("open", temp.path())
    }
}

impl Record {
    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(RECORD_LINE) {
            return Err(format!("its first line is not `{RECORD_LINE}`"));
        }
        let mut field = |word: &str| {
            lines
                .next()
                .and_then(|line| line.strip_prefix(word)?.strip_prefix(' '))
                .map(str::to_owned)
                .ok_or_else(|| format!("it has no line `{word}`"))
        };
        Ok(Self {
            model: field("model")?,
            key: field("key")?,
        })
    }
}

/// The right to change a store; ends with the value, or with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The content of a small file; none if there is no such file. More than a head can hold is cut off.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("open", path),
    };
    let mut bytes = Vec::new();
    file.take(MAX_HEAD as u64 + 1)
        .read_to_end(&mut bytes)
        .context("read", path)?;
    Ok(Some(bytes))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode)).context("set the mode of", path)
}

/// Whether `name` may be a model's name.
pub fn is_model_name(name: &str) -> bool {
    (1..=reclone_format::head::MAX_MODEL_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The name of this machine, as far as it can be a model's name.
pub fn host_name() -> String {
    let system = rustix::system::uname();
    let name = OsStr::new(system.nodename().to_str().unwrap_or_default());
    let mut name: String = name
        .to_string_lossy()
        .chars()
        .filter(|letter| is_model_name(&letter.to_string()))
        .collect();
    name.truncate(reclone_format::head::MAX_MODEL_NAME);
    if name.is_empty() {
        name = "model".into();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_not_as_it_was_written_is_refused() {
        let good = "reclone-store 1\nmodel lab\nkey RWQ\n";
        let record = Record {
            model: "lab".into(),
            key: "RWQ".into(),
        };
        assert_eq!(Record::parse(good), Ok(record));
        for (bad, reason) in [
            ("", "its first line is not `reclone-store 1`"),
            (
                "reclone-store 2\nmodel lab\nkey RWQ\n",
                "its first line is not `reclone-store 1`",
            ),
            ("reclone-store 1\nkey RWQ\n", "it has no line `model`"),
            ("reclone-store 1\nmodel lab\n", "it has no line `key`"),
            (
                "reclone-store 1\nmodel\nkey RWQ\n",
                "it has no line `model`",
            ),
        ] {
            assert_eq!(Record::parse(bad), Err(reason.into()), "{bad:?}");
        }
    }

    #[test]
    fn the_name_of_this_machine_can_be_a_models() {
        assert!(is_model_name(&host_name()));
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_model_name(bad), "{bad:?}");
        }
    }
}
