//! The boot loader of a running clone's disk: kernel and initramfs of the generation get there once both have come up on this machine, so
//! that the next boot goes straight to them. What a boot loader reads is whole at every moment: `docs/boot.md`, "The boot loader".

mod bls;
mod grub;
mod kernel;
mod place;
mod put;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::info;
use serde_json::{Value, json};

use crate::boot::kernel::{look_into, newest};
use crate::boot::pool_disk::Visit;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::running::{self, Running};
use crate::sys::mount;
use crate::trial;

pub use kernel::Kernel;

/// Where the running clone's disk is.
const DISK: &str = "/run/reclone/disk";
/// The names of what an entry starts, in its folder.
const FILES: [&str; 2] = ["vmlinuz", "initrd.img"];

/// What an entry starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name of its folder: the kernel's release and a part of a hash over both files.
    pub id: String,
    /// The kernel command line.
    pub words: String,
}

impl Entry {
    /// The kernel's release.
    pub fn release(&self) -> &str {
        self.id.rsplit_once('-').map_or(&self.id, |it| it.0)
    }
}

/// The entries of reclone's that a boot loader has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The one that boots.
    pub current: Option<Entry>,
    /// The one before it.
    pub previous: Option<Entry>,
}

impl Entries {
    fn name(&self, id: &str) -> bool {
        let mut entries = self.current.iter().chain(&self.previous);
        entries.any(|it| it.id == id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Grub,
    Bls,
}

/// A boot loader of a disk, mounted for as long as this lives.
pub struct Loader {
    kind: Kind,
    /// Where its files are: the folder of `grub.cfg`, or the top of the partition with `loader/`.
    home: PathBuf,
    _mounted: Option<Visit>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was there: nothing was written.
    Stands,
    /// It is there now.
    Done,
    /// It would be there.
    Would,
}

impl Loader {
    /// That of the system whose root partition is mounted at `disk`.
    pub fn find(disk: &Path) -> Result<Self> {
        place::find(disk)
    }

    /// How people call it.
    pub fn title(&self) -> &'static str {
        match self.kind {
            Kind::Grub => "GRUB",
            Kind::Bls => "systemd-boot",
        }
    }

    /// What it has.
    pub fn entries(&self) -> Result<Entries> {
        match self.kind {
            Kind::Grub => grub::read(&self.home),
            Kind::Bls => bls::read(&self.home),
        }
    }

    /// The files that say so: their content, or none where they are not to be; in the order in which they are to be replaced.
    fn files(&self, entries: &Entries) -> Result<Vec<(PathBuf, Option<String>)>> {
        match self.kind {
            Kind::Grub => Ok(vec![grub::write(&self.home, entries)?]),
            Kind::Bls => Ok(bls::write(&self.home, entries)),
        }
    }
}

/// After a good boot: has the boot loader start the kernel that runs, where reclone had to start it after another one. What came up
/// another way came from the boot loader, and the administrator's choice stays.
pub fn follow(pool: &Pool, config: &Config) -> Result<()> {
    let Some(release) = config.kernel.as_ref().filter(|_| config.boot_loader) else {
        return Ok(());
    };
    let started_here =
        |newest: &str| running::kernel().is_ok_and(|it| it == newest && it == *release);
    let (loader, put) = put(pool, started_here, false)?;
    if put == Put::Done {
        info!(
            "{}: the next boot starts the kernel {release} at once",
            loader.title()
        );
    }
    Ok(())
}

/// Puts the newest kernel of the generation that runs there, where it is `wanted`. The process gets mounts of its own.
pub fn put(pool: &Pool, wanted: impl FnOnce(&str) -> bool, dry_run: bool) -> Result<(Loader, Put)> {
    let running = Running::at(Path::new("/")).map(|it| it.generation);
    let running = running.ok_or_else(|| {
        Error::Usage("no generation runs here: this system has a boot loader of its own".into())
    })?;
    let number = running.number;
    let state = pool.state()?;
    if state.current != Some(running) || trial::boots_begun(&state).is_some() {
        return Err(Error::Loader(format!(
            "generation {number} has not proved itself as the current one: the boot loader stays as it is"
        )));
    }
    mount::part()?;
    let loader = Loader::find(Path::new(DISK))?;
    let done = look_into(pool, &running, Path::new("/run/reclone/look"), |root| {
        let Some(release) = newest(root) else {
            return Err(Error::Loader(format!(
                "generation {number} has no kernel with modules and an initramfs: publish /boot, with --cross /boot where it is a partition"
            )));
        };
        match wanted(&release) {
            true => loader.put(&Kernel::of_running_clone(root, &release)?, dry_run),
            false => Ok(Put::Stands),
        }
    })?;
    Ok((loader, done))
}

/// What the boot loader of this clone has, where one runs and it can be seen: its name, and the entries. The process gets mounts of its
/// own.
pub fn look() -> Option<(&'static str, Entries)> {
    Running::at(Path::new("/"))?;
    mount::part().ok()?;
    let loader = Loader::find(Path::new(DISK)).ok()?;
    Some((loader.title(), loader.entries().ok()?))
}

/// What it has, for scripts.
pub fn json(title: &str, entries: &Entries) -> Value {
    let id = |entry: &Option<Entry>| entry.as_ref().map(|it| it.id.clone());
    json!({
        "name": title,
        "current": id(&entries.current),
        "previous": id(&entries.previous),
        "runs": entries.current.as_ref().is_some_and(runs),
    })
}

/// What it boots, for people.
pub fn words(entries: &Entries) -> String {
    match &entries.current {
        None => "the disk's own kernel".into(),
        Some(it) if runs(it) => format!("{}, the kernel that runs", it.release()),
        Some(it) => format!("{}, not the kernel that runs", it.release()),
    }
}

fn runs(entry: &Entry) -> bool {
    running::kernel().is_ok_and(|it| it == entry.release())
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(Error::system("can not read", path)),
    }
}
