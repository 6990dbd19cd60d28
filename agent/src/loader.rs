//! The boot loader of a running clone's disk: kernel and initramfs of the generation get there once both have come up on this machine, so
//! that the next boot goes straight to them. What a boot loader reads is whole at every moment: `docs/boot.md`, "The boot loader".

mod bls;
pub mod bootable;
mod clone;
mod grub;
mod kernel;
mod once;
mod place;
mod put;
pub mod room;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command_line::words as words_of;
use crate::error::{Error, Result};
use crate::partition::Visit;
use crate::running;

pub use clone::{look, put};
pub use kernel::Kernel;
pub use once::words_for_once;

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
    /// How many starts it has left, where they are counted, as they are until one comes to a good end.
    pub tries: Option<u32>,
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

/// A file that names what is started, or is to.
struct Edit {
    path: PathBuf,
    /// What is in it.
    old: String,
    /// What will be; none where it goes.
    new: Option<String>,
}

/// What a boot loader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `custom.cfg`.
    Grub,
    /// `loader/entries`.
    Bls,
}

/// Who wants a kernel there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A boot to which it came up, started by reclone. What came up another way came from the boot loader, and the administrator's choice
    /// stays.
    ByBoot,
    /// Somebody: it has to have the agent.
    ByHand,
}

/// A boot loader of a disk, mounted for as long as this lives.
pub struct Loader {
    kind: Kind,
    /// Where its files are: the folder of `grub.cfg`, or the top of the partition with `loader/`.
    home: PathBuf,
    /// The same in the system that is on the disk.
    known_as: PathBuf,
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

    /// The one of this kind that has its files in this folder.
    pub fn at(kind: Kind, home: PathBuf) -> Self {
        Self {
            kind,
            known_as: home.clone(),
            home,
            _mounted: None,
        }
    }

    fn keeping(self, mounted: Option<Visit>, known_as: PathBuf) -> Self {
        Self {
            known_as,
            _mounted: mounted,
            ..self
        }
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

    /// The folders that its files name now, each of which has to stay.
    fn named(&self) -> Result<Vec<String>> {
        match self.kind {
            Kind::Grub => grub::read(&self.home).map(|it| {
                let entries = it.current.into_iter().chain(it.previous);
                entries.map(|it| it.id).collect()
            }),
            Kind::Bls => bls::named(&self.home),
        }
    }

    /// What is to be changed for it to have these, in this order.
    fn edits(&self, entries: &Entries, asked: Asked) -> Result<Vec<Edit>> {
        let mut edits = match self.kind {
            Kind::Grub => vec![grub::write(&self.home, entries)?],
            Kind::Bls => bls::write(&self.home, entries, asked)?,
        };
        edits.retain(|it| it.old != it.new.as_deref().unwrap_or_default());
        Ok(edits)
    }

    /// What the disk's own configuration says, without what is reclone's.
    fn configured(&self) -> Result<String> {
        match self.kind {
            Kind::Grub => read(&self.home.join("grub.cfg")),
            Kind::Bls => bls::configured(&self.home),
        }
    }

    /// A boot with this command line came to a good end: if it came from the current entry, its starts are counted no more.
    pub fn confirm(&self, command_line: &str) -> Result<()> {
        match self.kind {
            Kind::Grub => Ok(()),
            Kind::Bls => self.confirm_counted(command_line),
        }
    }
}

/// Whether a boot with this command line came from the entry with this folder: GRUB names the kernel there, systemd-boot the initramfs.
fn came_from(command_line: &str, id: &str) -> bool {
    words_of(command_line).iter().any(|word| {
        let mut names = ["initrd=", "BOOT_IMAGE="].iter();
        let path = names.find_map(|name| word.strip_prefix(name));
        path.is_some_and(|path| path.split(['/', '\\']).any(|it| it == id))
    })
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
