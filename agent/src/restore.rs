//! A file or a folder exactly as in a generation, in a running system or on another disk, from the objects of the pool and without
//! the network. What is to be done is decided as data, then done.
//!
//! The new one is made aside and swapped in: a folder by one exchange, a file by one rename, so that no program sees a half.
//! Where that can not be, or where that much work is not wanted, only what differs is replaced, one path at a time.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::{info, warn};
use reclone_format::{Kind, TreePath};
use rustix::fs::{AtFlags, FileType, RenameFlags, futimens, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::aside::Aside;
use crate::build::{Builder, set_attributes};
use crate::compare::{self, Change, Difference, compare};
use crate::error::{Error, Result};
use crate::keep;
use crate::place::{self, Place, is_mount_root, look, open_folder, times};
use crate::policy;
use crate::pool::Pool;
use crate::running::{Running, mounts, mounts_below};
use crate::state::Generation;
use crate::tree::Tree;

/// What fsck has at the top of another disk.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// What is to be restored.
#[derive(Clone, Debug)]
pub struct Request {
    /// The generation.
    pub generation: Generation,
    /// The path in the tree.
    pub path: TreePath,
    /// The folder that stands for the top of the tree, where that is not this system's own.
    pub to: Option<PathBuf>,
    /// Read every content, whatever its time says.
    pub checksum: bool,
    /// Replace only what differs, one path at a time.
    pub in_place: bool,
}

impl Request {
    fn base(&self) -> &Path {
        self.to.as_deref().unwrap_or(Path::new("/"))
    }

    fn target(&self) -> PathBuf {
        match self.path.is_root() {
            true => self.base().into(),
            false => self.base().join(self.path.as_path()),
        }
    }
}

/// How differences are put right.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// The whole folder by one exchange.
    Exchange,
    /// One path at a time; with the reason why it is not an exchange, where one was wanted.
    InPlace(Option<String>),
}

/// What a restore will do.
pub struct Plan {
    tree: Tree,
    place: Place,
    differences: Vec<Difference>,
    way: Way,
    /// Whether another disk is filled, which is to be safe on it afterwards.
    durable: bool,
}

/// Finds out what differs and how to put it right. Changes nothing.
pub fn plan(pool: &Pool, request: &Request) -> Result<Plan> {
    let number = request.generation.number;
    let target = request.target();
    let place = open_place(request, &target);
    let tree = Tree::of_generation(pool, number, &request.path)?;
    let Some(tree) = tree else {
        return Err(match place {
            // The generation may have it under another path.
            Err(error @ Error::Usage(_)) => error,
            _ => Error::NoPath {
                path: request.path.to_string(),
                generation: number,
            },
        });
    };
    let place = place?;
    // What makes the clone itself is not the model's to say. On another disk, the tree is the model's to the last file.
    let root = Running::at(&target).filter(|root| root.at == request.base());
    let is_own = request.to.is_none() || root.is_some();
    let policy = policy::last(pool);
    let is_spared = |path: &TreePath| match is_own {
        true => keep::is_own(&policy, path),
        false => path.as_bytes() == LOST_AND_FOUND,
    };
    if is_own && is_spared(&request.path) {
        return Err(Error::Usage(format!(
            "{} makes this clone itself and is not restored",
            request.path
        )));
    }
    let running = root.filter(|root| root.generation == request.generation);
    let pool_folder = std::fs::metadata(pool.root()).map(|it| (it.dev(), it.ino()));
    let options = compare::Options {
        checksum: request.checksum,
        running: running.as_ref(),
        overlay: is_overlay(&place.folder),
        is_spared: &is_spared,
        spared_folder: pool_folder.ok(),
    };
    let differences = compare(&tree, &place, &options)?;
    let keeps = || {
        pool.keep().join(request.path.as_path()).exists() && is_own
            || tree.nodes().iter().any(|node| is_spared(&node.entry.path))
    };
    let way = way(pool, request, &tree, &place, &differences, keeps);
    Ok(Plan {
        tree,
        place,
        differences,
        way,
        durable: request.to.is_some(),
    })
}

/// Puts a tree at `target`, by one rename or exchange: what is there goes. Syncs nothing.
pub fn put(tree: Tree, target: &Path) -> Result<()> {
    let place = Place::open(target).map_err(no_folder(target))?;
    let plan = Plan {
        differences: vec![Difference {
            path: tree.top().clone(),
            node: Some(0),
            change: Change::Changed,
        }],
        tree,
        place,
        way: Way::InPlace(None),
        durable: false,
    };
    plan.apply()
}

/// The place of what is restored. Where another file system begins there, that is gone into.
fn open_place(request: &Request, target: &Path) -> Result<Place> {
    let open = || -> io::Result<Place> {
        let place = Place::open(target)?;
        let found = look(&place.folder, &place.name)?;
        let is_top = request.path.is_root() || found.as_ref().is_some_and(is_mount_root);
        match is_top && !place.is_top() {
            true => place.inside(),
            false => Ok(place),
        }
    };
    open().map_err(no_folder(target))
}

/// For `map_err`: the folder of `target` could not be opened.
fn no_folder(target: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.raw_os_error() {
        Some(libc::ELOOP) => Error::Usage(format!(
            "{} goes through a symbolic link: name the path that it leads to",
            target.display()
        )),
        _ => Error::system("can not open the folder of", target)(error),
    }
}

fn is_overlay(folder: &OwnedFd) -> bool {
    /// `OVERLAYFS_SUPER_MAGIC` of Linux `include/uapi/linux/magic.h`.
    const OVERLAY: i64 = 0x794c_7630;
    rustix::fs::fstatfs(folder).is_ok_and(|it| it.f_type == OVERLAY)
}

fn way(
    pool: &Pool,
    request: &Request,
    tree: &Tree,
    place: &Place,
    differences: &[Difference],
    keeps: impl Fn() -> bool,
) -> Way {
    let is_there = |it: &Difference| it.node == Some(0) && it.change != Change::Attributes;
    let is_folder = tree.nodes()[0].entry.kind == Kind::Directory;
    // One rename is as good as an exchange, and leaves the rest alone.
    if request.in_place || !is_folder || differences.len() < 2 || differences.iter().any(is_there) {
        return Way::InPlace(None);
    }
    let mounts = mounts();
    let reason = if place.is_top() {
        Some("a file system begins there")
    } else if let Some(at) = mounts_below(&mounts, &place.path).next() {
        return Way::InPlace(Some(format!("something is mounted at {}", at.display())));
    } else if keeps() {
        Some("some of it makes this clone itself")
    } else if pool.root().starts_with(&place.path) {
        Some("the pool is in it")
    } else {
        None
    };
    match reason {
        Some(reason) => Way::InPlace(Some(reason.into())),
        None => Way::Exchange,
    }
}

impl Plan {
    /// What differs.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Makes what is there exact. When this returns, what was restored below another top is on disk; in a running system, nothing is synced:
    /// what a power cut takes of it, the next restore brings back. After an error each file is the old or the new one.
    pub fn apply(&self) -> Result<()> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let failed = || Error::system("can not restore", &self.place.path);
        let before = look(&self.place.folder, b".").map_err(failed())?;
        let aside = Aside::create(&self.place.folder).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy(self.place.path.clone()),
            _ => failed()(error),
        })?;
        match &self.way {
            Way::Exchange if self.exchange(&aside)? => {
                drop(aside);
                self.set_folder(0).map_err(failed())?;
            }
            way => {
                if let Way::InPlace(Some(reason)) = way {
                    info!(
                        "{}: {reason}: each file is replaced on its own",
                        self.place.path.display()
                    );
                }
                self.replace(aside)?;
            }
        }
        // The folder around it is not part of it.
        if let Some(before) = before.filter(|_| !self.place.is_top()) {
            let times = times(place::mtime(&before));
            futimens(&self.place.folder, &times).map_err(|error| failed()(error.into()))?;
        }
        match self.durable {
            true => sync(&self.place),
            false => Ok(()),
        }
    }

    /// Makes the whole folder anew and exchanges it; says whether the system let that happen.
    fn exchange(&self, aside: &Aside) -> Result<bool> {
        const NEW: &[u8] = b"new";
        Builder::new(&self.tree, aside.folder()).build(0, NEW)?;
        let (place, flags) = (&self.place, RenameFlags::EXCHANGE);
        match renameat_with(aside.folder(), NEW, &place.folder, &*place.name, flags) {
            Ok(()) => Ok(true),
            Err(error @ (Errno::XDEV | Errno::BUSY | Errno::INVAL | Errno::NOSYS)) => {
                let path = place.path.display();
                info!("{path}: can not be exchanged ({error}): each file is replaced on its own");
                place::remove(aside.folder(), NEW).map_err(Error::system(
                    "can not remove what was made for",
                    &place.path,
                ))?;
                Ok(false)
            }
            Err(error) => Err(Error::system("can not exchange", &place.path)(error)),
        }
    }

    /// Puts each difference right on its own: first everything new is made, then it is moved to its place, then
    /// the folders get their attributes.
    fn replace(&self, aside: Aside) -> Result<()> {
        let failed = || Error::system("can not restore", &self.place.path);
        let mut builder = Builder::new(&self.tree, aside.folder());
        for (difference, at) in self
            .differences
            .iter()
            .filter_map(|it| Some((it, it.node?)))
        {
            if !self.is_only_folder(difference) {
                builder.build(at, at.to_string().as_bytes())?;
            }
        }
        if self.durable {
            sync(&self.place)?;
        }
        let mut touched = BTreeSet::new();
        for difference in &self.differences {
            self.put_right(difference, &aside, &mut touched)?;
        }
        drop(aside);
        // The folder above has had the folder aside in it.
        if self.place.is_top() {
            touched.insert(0);
        }
        for at in touched.into_iter().rev() {
            self.set_folder(at).map_err(failed())?;
        }
        Ok(())
    }

    /// Whether a folder stays and only gets other attributes.
    fn is_only_folder(&self, difference: &Difference) -> bool {
        let kind = difference.node.map(|at| &self.tree.nodes()[at].entry.kind);
        difference.change == Change::Attributes && kind == Some(&Kind::Directory)
    }

    /// Moves the new one to its place, or away what should not be there; notes the folders that this changes.
    fn put_right(
        &self,
        difference: &Difference,
        aside: &Aside,
        touched: &mut BTreeSet<usize>,
    ) -> Result<()> {
        if self.is_only_folder(difference) {
            touched.extend(difference.node);
            return Ok(());
        }
        let path = &difference.path;
        let full = self.full_path(path);
        let failed = || Error::system("can not restore", &full);
        let opened;
        let (folder, name) = match path == self.tree.top() {
            true => (&self.place.folder, &*self.place.name),
            false => {
                let parent = TreePath::from_bytes(path.parent().to_vec()).unwrap_or_default();
                let Some(at) = self.tree.find(&parent) else {
                    return Ok(());
                };
                touched.insert(at);
                opened = self.open(at).map_err(failed())?;
                (&opened, path.name())
            }
        };
        match difference.node {
            Some(at) => {
                // XFS gives a folder that is exchanged another time.
                if self.tree.nodes()[at].entry.kind == Kind::Directory {
                    touched.insert(at);
                }
                move_in(aside, at.to_string().as_bytes(), folder, name).map_err(failed())
            }
            None => take_out(folder, name, aside, &full).map_err(failed()),
        }
    }

    fn full_path(&self, path: &TreePath) -> PathBuf {
        let below = path.as_bytes().strip_prefix(self.tree.top().as_bytes());
        let below = below.unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        match below.is_empty() {
            true => self.place.path.clone(),
            false => self.place.path.join(std::ffi::OsStr::from_bytes(below)),
        }
    }

    /// Opens a folder of the tree where it is.
    fn open(&self, at: usize) -> io::Result<OwnedFd> {
        let top = open_folder(&self.place.folder, &self.place.name)?;
        open_folder(&top, self.tree.relative(at, 0))
    }

    fn set_folder(&self, at: usize) -> io::Result<()> {
        set_attributes(self.open(at)?, &self.tree.nodes()[at].entry)
    }
}

/// Writes everything of the place's file system to disk, and waits.
fn sync(place: &Place) -> Result<()> {
    rustix::fs::syncfs(&place.folder).map_err(Error::system("can not sync", &place.path))
}

/// Moves what was made to its place. What is there is replaced by the same call, and a folder there goes aside.
fn move_in(aside: &Aside, new: &[u8], folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match renameat(aside.folder(), new, folder, name) {
        Err(Errno::ISDIR | Errno::NOTDIR | Errno::EXIST | Errno::NOTEMPTY) => {}
        moved => return Ok(moved?),
    }
    match renameat_with(aside.folder(), new, folder, name, RenameFlags::EXCHANGE) {
        Err(Errno::XDEV | Errno::INVAL) => {
            place::remove(folder, name)?;
            Ok(renameat(aside.folder(), new, folder, name)?)
        }
        moved => Ok(moved?),
    }
}

/// Moves away what should not be there. A folder in which something is mounted stays: that is not part of the tree.
fn take_out(folder: &OwnedFd, name: &[u8], aside: &Aside, path: &Path) -> io::Result<()> {
    let Some(found) = look(folder, name)? else {
        return Ok(());
    };
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::Directory {
        return Ok(unlinkat(folder, name, AtFlags::empty())?);
    }
    let mounts = mounts();
    if let Some(at) = mounts_below(&mounts, path).next() {
        warn!(
            "{}: it stays, for something is mounted at {}",
            path.display(),
            at.display()
        );
        return Ok(());
    }
    let number = found.stx_ino.to_string();
    match renameat(folder, name, aside.folder(), format!("old-{number}")) {
        Err(Errno::XDEV | Errno::BUSY) => place::remove(folder, name),
        moved => Ok(moved?),
    }
}
