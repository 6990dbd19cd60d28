//! `reclone-model export`: a copy of what clones need of a store, in a folder such as that of a USB stick. Only what is new is copied.
//! Whoever reads the copy meanwhile finds the old one or the new one: packs come first, the head last, and what the old
//! head names goes after that. File systems without modes or links, such as FAT, will do.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use reclone_format::{Head, PackId};
use rustix::fs::{Advice, FlockOperation, fadvise, flock, statvfs};

use crate::error::{Context, Error, InFile, Result};
use crate::progress::{Progress, Unit, bytes};
use crate::store::{Record, Store};
use crate::temp_file::sync_folder;
use crate::verify::verify_packs;

/// Under this name, in its own folder, a file is written before it has its final name.
const NEW: &str = ".new";
/// Bytes that are copied at a time.
const BUFFER: usize = 1 << 20;

/// What to copy.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The folder; it is made where it is missing.
    pub to: PathBuf,
    /// How many of the newest generations.
    pub generations: usize,
    /// Whether what was copied before is read, too, and copied anew where it has rotted.
    pub verify: bool,
}

/// Packs by their names, with their sizes in bytes.
type Packs = BTreeMap<PackId, u64>;

/// Copies the newest generations of `store`, and removes what only older ones need from the copy. All of it is on the disk, and every frame
/// that is new there was read back and checked, when this returns.
pub fn export(store: &Store, options: &ExportOptions) -> Result<()> {
    let heads = heads(store, options.generations)?;
    let (_, newest) = heads.last().ok_or_else(|| Error::NothingPublished {
        store: store.root().to_owned(),
    })?;
    let target = Target::open(&options.to, store.record())?;
    let old_heads = target.check_is_older(newest)?;
    let old = packs_of(old_heads.iter());
    let needed = packs_of(heads.iter().map(|(_, head)| head));
    // What an export that was cut short left, and no head names.
    let mut removed =
        target.remove_packs(|pack| !needed.contains_key(pack) && !old.contains_key(pack))?;
    if options.verify {
        target.remove_rotten(&old_heads, &old)?;
    }
    let missing = target.missing(&needed);
    target.check_room(&missing)?;
    let progress = Progress::start("copying", Unit::Bytes, missing.values().sum());
    for pack in missing.keys() {
        target.copy(&store.pack_path(pack), &format!("packs/{pack}"), &progress)?;
    }
    drop(progress);
    let unchecked = needed
        .keys()
        .filter(|pack| !old.contains_key(pack) || missing.contains_key(pack));
    let heads_alone: Vec<Head> = heads.iter().map(|(_, head)| head.clone()).collect();
    target.check(&heads_alone, &unchecked.copied().collect())?;
    for (signed, head) in &heads {
        target.write(&format!("heads/{}", head.generation), signed)?;
    }
    let (signed, _) = heads.last().expect("there is a newest one");
    target.write("head", signed)?;
    target.remove_heads(|number| !heads.iter().any(|(_, head)| head.generation == number))?;
    removed += target.remove_packs(|pack| !needed.contains_key(pack))?;
    log::info!(
        "exported generation {}: {} generations, {} packs, {}; copied {} packs, {}; removed {removed} packs",
        newest.generation,
        heads.len(),
        needed.len(),
        bytes(needed.values().sum()),
        missing.len(),
        bytes(missing.values().sum()),
    );
    Ok(())
}

/// The heads of so many of the newest generations as they are signed, oldest first; the last is the newest as the store has it now.
fn heads(store: &Store, count: usize) -> Result<Vec<(Vec<u8>, Head)>> {
    let key = store.public_key()?;
    let read = |path: &Path| -> Result<(Vec<u8>, Head)> {
        let signed = fs::read(path).context("read", path)?;
        let head = Head::verify(&signed, &key).in_file(path)?;
        Ok((signed, head))
    };
    let newest = match read(&store.root().join("head")) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        newest => newest?,
    };
    let older = store.generations()?.into_iter();
    let older: Vec<u64> = older.filter(|it| *it < newest.1.generation).collect();
    let first = older.len().saturating_sub(count.saturating_sub(1));
    let mut heads = Vec::new();
    for generation in &older[first..] {
        heads.push(read(&store.head_path(*generation))?);
    }
    heads.push(newest);
    Ok(heads)
}

fn packs_of<'a>(heads: impl Iterator<Item = &'a Head>) -> Packs {
    let packs = heads.flat_map(Head::all_packs);
    packs.map(|pack| (pack.id, pack.size)).collect()
}

/// The folder, for this process alone.
struct Target {
    /// The copy, read as a store.
    copy: Store,
    _lock: File,
}

impl Target {
    fn open(to: &Path, record: &Record) -> Result<Self> {
        if Store::open(to).is_ok() {
            return Err(Error::Usage(format!(
                "{} is a store that is published to; name another folder",
                to.display()
            )));
        }
        for folder in ["", "packs", "heads"] {
            let path = to.join(folder);
            fs::create_dir_all(&path).context("create", &path)?;
        }
        let lock = File::open(to).context("open", to)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("lock", to)?;
        for folder in ["", "packs", "heads"] {
            // Of an export that was cut short.
            let _ = fs::remove_file(to.join(folder).join(NEW));
        }
        Ok(Self {
            copy: Store::at(to, record.clone()),
            _lock: lock,
        })
    }

    fn root(&self) -> &Path {
        self.copy.root()
    }

    /// The copy's heads, none where it is new. It must be an earlier copy of the same store.
    fn check_is_older(&self, newest: &Head) -> Result<Vec<Head>> {
        let path = self.root().join("head");
        let refuse = |reason: String| {
            Err(Error::Foreign {
                path: path.clone(),
                reason,
            })
        };
        let old = match self.copy.head() {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(old)) => old,
            Err(Error::Damaged { source, .. }) => return refuse(source.to_string()),
            Err(error) => return Err(error),
        };
        if old.model != newest.model {
            return refuse(format!("it is of the model `{}`", old.model));
        }
        if old.serial > newest.serial {
            return refuse(format!(
                "its serial is {}, above {} of this store",
                old.serial, newest.serial
            ));
        }
        let mut heads = vec![old];
        for generation in self.copy.generations()? {
            // One that can not be read names nothing: what it needed is copied again.
            heads.extend(self.copy.head_of(generation).ok().flatten());
        }
        Ok(heads)
    }

    /// Those that are not there with their size.
    fn missing(&self, needed: &Packs) -> Packs {
        let is_there = |pack: &PackId, size: u64| {
            let found = fs::metadata(self.copy.pack_path(pack));
            found.is_ok_and(|it| it.is_file() && it.len() == size)
        };
        let packs = needed.iter().map(|(pack, size)| (*pack, *size));
        packs
            .filter(|(pack, size)| !is_there(pack, *size))
            .collect()
    }

    fn check_room(&self, missing: &Packs) -> Result<()> {
        let disk = statvfs(self.root()).context("read", self.root())?;
        let free = disk.f_bavail * disk.f_frsize;
        let needed = missing.values().sum::<u64>();
        match needed > free {
            true => Err(Error::NoRoom {
                path: self.root().to_owned(),
                needed: bytes(needed),
                free: bytes(free),
            }),
            false => Ok(()),
        }
    }

    /// Copies a file. It is durable under its name when this returns, and no longer in memory.
    fn copy(&self, from: &Path, name: &str, progress: &Progress) -> Result<()> {
        let mut source = File::open(from).context("open", from)?;
        self.write_as(name, |file, path| {
            let mut buffer = vec![0; BUFFER];
            loop {
                match source.read(&mut buffer).context("read", from)? {
                    0 => return Ok(()),
                    length => {
                        file.write_all(&buffer[..length]).context("write", path)?;
                        progress.add(length as u64);
                    }
                }
            }
        })
    }

    /// Writes a small file, unless it is there as it is to be. It is durable under its name when this returns.
    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        if fs::read(self.root().join(name)).is_ok_and(|old| old == content) {
            return Ok(());
        }
        self.write_as(name, |file, path| {
            file.write_all(content).context("write", path)
        })
    }

    fn write_as(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File, &Path) -> Result<()>,
    ) -> Result<()> {
        let path = self.root().join(name);
        let folder = path.parent().unwrap_or(self.root());
        let new = folder.join(NEW);
        let mut file = File::create(&new).context("create", &new)?;
        let filled = fill(&mut file, &path).and_then(|()| file.sync_all().context("sync", &path));
        if let Err(error) = filled {
            // Somebody else may need the room.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        // What is read again is to come from the disk.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        fs::rename(&new, &path).context("create", &path)?;
        // FAT writes where the content of this name is with the file, not with its folder.
        file.sync_all().context("sync", &path)?;
        sync_folder(folder)
    }

    /// Reads what these heads of the copy name, and removes what is not any more what was copied.
    fn remove_rotten(&self, heads: &[Head], packs: &Packs) -> Result<()> {
        for pack in packs.keys() {
            // What this machine wrote or read not long ago is to come from the disk, too.
            if let Ok(file) = File::open(self.copy.pack_path(pack)) {
                let _ = fadvise(&file, 0, None, Advice::DontNeed);
            }
        }
        let problems = verify_packs(&self.copy, heads, &packs.keys().copied().collect());
        for problem in &problems {
            log::warn!("{problem}");
        }
        match self.remove_packs(|pack| self.is_named(pack, &problems))? {
            0 => Ok(()),
            count => {
                log::warn!("{count} packs have rotted: what is needed of them is copied anew");
                Ok(())
            }
        }
    }

    fn is_named(&self, pack: &PackId, problems: &[String]) -> bool {
        let path = self.copy.pack_path(pack).display().to_string();
        problems.iter().any(|problem| problem.contains(&path))
    }

    /// Reads back the packs that nobody has checked here yet; those that are damaged are removed.
    fn check(&self, heads: &[Head], unchecked: &HashSet<PackId>) -> Result<()> {
        let problems = verify_packs(&self.copy, heads, unchecked);
        if problems.is_empty() {
            return Ok(());
        }
        self.remove_packs(|pack| unchecked.contains(pack) || self.is_named(pack, &problems))?;
        Err(Error::BadCopy {
            path: self.root().to_owned(),
            problems,
        })
    }

    /// Removes packs, and gives their number. That they are gone is durable when this returns.
    fn remove_packs(&self, goes: impl Fn(&PackId) -> bool) -> Result<usize> {
        let packs: Vec<PackId> = self
            .copy
            .packs()?
            .into_iter()
            .filter(|it| goes(it))
            .collect();
        for pack in &packs {
            let path = self.copy.pack_path(pack);
            fs::remove_file(&path).context("remove", &path)?;
        }
        sync_folder(&self.root().join("packs"))?;
        Ok(packs.len())
    }

    /// Removes the heads of generations, durably.
    fn remove_heads(&self, goes: impl Fn(u64) -> bool) -> Result<()> {
        for generation in self.copy.generations()?.into_iter().filter(|it| goes(*it)) {
            let path = self.copy.head_path(generation);
            fs::remove_file(&path).context("remove", &path)?;
        }
        self.copy.sync_heads()
    }
}
