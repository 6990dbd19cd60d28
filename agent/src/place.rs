//! Places in a tree that others may change meanwhile: folders are held open and reached without following any link or
//! crossing into another mount, so that nothing leads root elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reclone_format::{Timestamp, Xattr};
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, Timespec,
    Timestamps,
};
use rustix::io::Errno;

use crate::sys::{beneath, xattr};

/// A name in a folder that is held open. The folder itself has the name `.`.
#[derive(Debug)]
pub struct Place {
    /// The folder.
    pub folder: OwnedFd,
    /// The name.
    pub name: Vec<u8>,
    /// The whole path, for messages.
    pub path: PathBuf,
}

impl Place {
    /// The place of `path`, which must not go through a link. The top of a tree has no name in another folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (folder, name) = match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => (folder, name.as_bytes()),
            _ => (path, &b"."[..]),
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = rustix::fs::openat2(rustix::fs::CWD, folder, flags, Mode::empty(), resolve)?;
        Ok(Self {
            folder,
            name: name.to_owned(),
            path: path.into(),
        })
    }

    /// The folder that is at the place, itself as a place.
    pub fn inside(&self) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.folder, &*self.name, flags, Mode::empty())?;
        Ok(Self {
            folder,
            name: b".".to_vec(),
            path: self.path.clone(),
        })
    }

    /// Whether this is the top of what is mounted here, or of the whole system.
    pub fn is_top(&self) -> bool {
        self.name == b"."
    }
}

/// Opens the folder at `path` below `top`; the empty path is `top` itself.
pub fn open_folder(top: impl AsFd, path: &[u8]) -> io::Result<OwnedFd> {
    Ok(beneath::open(
        top,
        path,
        OFlags::DIRECTORY,
        ResolveFlags::NO_XDEV,
    )?)
}

/// Opens the regular file `name` to read it.
pub fn open_file(folder: impl AsFd, name: &[u8]) -> io::Result<File> {
    // What was a file a moment ago may be a pipe now.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(beneath::open(folder, name, flags, ResolveFlags::NO_XDEV)?.into())
}

/// What the system says about a name, a link itself and not what it leads to; nothing where there is no such name.
pub fn look(folder: impl AsFd, name: &[u8]) -> io::Result<Option<Statx>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS) {
        Err(Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// Whether another file system, or another part of one, begins here.
pub fn is_mount_root(found: &Statx) -> bool {
    found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
}

/// The modification time of what was found.
pub fn mtime(found: &Statx) -> Timestamp {
    Timestamp {
        sec: found.stx_mtime.tv_sec,
        nsec: found.stx_mtime.tv_nsec,
    }
}

/// The names in a folder, in no order.
pub fn names(folder: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_owned();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// A path to a name in an open folder, for the calls that take nothing else.
pub fn path_of(folder: BorrowedFd, name: &[u8]) -> PathBuf {
    beneath::path_of(folder).join(std::ffi::OsStr::from_bytes(name))
}

/// Whether an xattr is a file system's own word for something that has another name, too: XFS shows its ACLs twice.
pub fn is_double(name: &[u8]) -> bool {
    name.starts_with(b"trusted.SGI_ACL_")
}

/// The xattrs of a name, sorted by theirs.
pub fn xattrs(folder: impl AsFd, name: &[u8]) -> io::Result<Vec<Xattr>> {
    Ok(sorted(xattr::read(&path_of(folder.as_fd(), name))?))
}

/// The same of an open file or folder.
pub fn own_xattrs(file: impl AsFd) -> io::Result<Vec<Xattr>> {
    Ok(sorted(xattr::read_open(file)?))
}

fn sorted(pairs: Vec<xattr::Pair>) -> Vec<Xattr> {
    let pairs = pairs.into_iter();
    let mut xattrs: Vec<Xattr> = pairs.map(|(name, value)| Xattr { name, value }).collect();
    xattrs.sort();
    xattrs
}

/// This modification time; the access time stays.
pub fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.sec,
            tv_nsec: i64::from(mtime.nsec),
        },
    }
}

/// Removes what has this name, with all that is below it. What is mounted there stays, and is an error.
pub fn remove(folder: impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        removed => return Ok(removed?),
    }
    // Folders are gone through by their paths, not held open: there may be more of them than a process may open files.
    let mut folders = vec![name.to_owned()];
    while let Some(path) = folders.last().cloned() {
        let at = open_folder(&folder, &path)?;
        let mut is_empty = true;
        for name in names(&at)? {
            match rustix::fs::unlinkat(&at, &*name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    is_empty = false;
                    folders.push([&path, &b"/"[..], &name].concat());
                }
                Err(Errno::NOENT) => {}
                removed => removed?,
            }
        }
        if is_empty {
            rustix::fs::unlinkat(&folder, &*path, AtFlags::REMOVEDIR)?;
            folders.pop();
        }
    }
    Ok(())
}
