//! The tree to be published, as the kernel shows it. Everything is opened beneath the top, and no symbolic link is ever
//! followed: paths of a tree that others write to must not lead elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use reclone_format::{Timestamp, TreePath, Xattr};
use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, StatxTimestamp, openat2,
    statx,
};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// The longest list of xattr names, and the longest value, that Linux gives.
const XATTR_BUFFER: usize = 65_536;

/// What tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The file system.
    pub dev: u64,
    /// The inode; 0 is no file's.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of anything: content, owner, mode, xattrs.
    pub ctime: Timestamp,
}

/// What the kernel says about a path.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// To recognise it.
    pub stamp: Stamp,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names.
    pub links: u32,
    /// Of a device: major and minor number.
    pub device: (u32, u32),
    /// Whether it takes less room on its disk than it has bytes: then it may have holes.
    pub is_sparse: bool,
    /// Whether something is mounted here.
    pub mount_root: bool,
}

impl Meta {
    /// The bits of the type.
    pub fn kind(&self) -> u32 {
        self.mode & 0o170_000
    }
}

/// The tree.
#[derive(Debug)]
pub struct LiveTree {
    top: OwnedFd,
    path: PathBuf,
}

impl LiveTree {
    /// The tree at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(path, flags, Mode::empty()).context("open", path)?;
        Ok(Self {
            top,
            path: path.to_owned(),
        })
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder to list it.
    pub fn open_folder(&self, path: &TreePath) -> io::Result<OwnedFd> {
        self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a file to read it, without changing its access time where that is allowed. Never waits for a fifo's writer.
    pub fn open_file(&self, path: &TreePath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self.open_beneath(path, flags | OFlags::NOATIME) {
            // Only the owner and root may leave the access time as it is.
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                self.open_beneath(path, flags)
            }
            other => other,
        }
        .map(File::from)
    }

    /// The xattrs of one path. For many, keep an [`XattrReader`].
    pub fn read_xattrs(&self, path: &TreePath) -> io::Result<Vec<Xattr>> {
        let folder = TreePath::from_bytes(path.parent().to_vec()).map_err(io::Error::other)?;
        XattrReader::default().read_at(self.open_folder(&folder)?, path.name())
    }

    fn open_beneath(&self, path: &TreePath, flags: OFlags) -> io::Result<OwnedFd> {
        let name: &[u8] = if path.is_root() {
            b"."
        } else {
            path.as_bytes()
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(
            &self.top,
            name,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )?)
    }
}

/// What the kernel says about `name` in the open folder `folder`.
pub fn meta_at(folder: impl AsFd, name: &[u8]) -> io::Result<Meta> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    meta(folder.as_fd(), name, flags)
}

/// What the kernel says about an open file.
pub fn meta_of(file: impl AsFd) -> io::Result<Meta> {
    meta(file.as_fd(), b"", AtFlags::EMPTY_PATH)
}

fn meta(folder: BorrowedFd, name: &[u8], flags: AtFlags) -> io::Result<Meta> {
    let found = statx(folder, name, flags, StatxFlags::BASIC_STATS)?;
    let dev = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Ok(Meta {
        stamp: Stamp {
            dev,
            ino: found.stx_ino,
            size: found.stx_size,
            mtime: timestamp(found.stx_mtime),
            ctime: timestamp(found.stx_ctime),
        },
        mode: u32::from(found.stx_mode),
        uid: found.stx_uid,
        gid: found.stx_gid,
        links: found.stx_nlink,
        device: (found.stx_rdev_major, found.stx_rdev_minor),
        is_sparse: found.stx_blocks.saturating_mul(512) < found.stx_size,
        mount_root: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    })
}

fn timestamp(time: StatxTimestamp) -> Timestamp {
    Timestamp {
        sec: time.tv_sec,
        nsec: time.tv_nsec,
    }
}

/// Reads xattrs; keeps its buffers from file to file.
pub struct XattrReader {
    names: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
}

impl Default for XattrReader {
    fn default() -> Self {
        Self {
            names: vec![0; XATTR_BUFFER],
            value: vec![0; XATTR_BUFFER],
            path: Vec::new(),
        }
    }
}

impl XattrReader {
    /// All xattrs of `name` in the open folder `folder` (of the folder itself if `name` is empty), sorted by name.
    ///
    /// There is no call for this that takes a folder, so it goes through the folder's name in `/proc`.
    pub fn read_at(&mut self, folder: impl AsFd, name: &[u8]) -> io::Result<Vec<Xattr>> {
        self.path.clear();
        self.path.extend_from_slice(b"/proc/self/fd/");
        let number = folder.as_fd().as_raw_fd().to_string();
        self.path.extend_from_slice(number.as_bytes());
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        let path = self.path.as_slice();
        let length = match rustix::fs::llistxattr(path, &mut self.names[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Ok(length) => length,
            Err(error) => return Err(error.into()),
        };
        let mut xattrs = Vec::new();
        for name in self.names[..length].split(|byte| *byte == 0) {
            if name.is_empty() {
                continue;
            }
            match rustix::fs::lgetxattr(path, name, &mut self.value[..]) {
                Ok(length) => xattrs.push(Xattr {
                    name: name.to_vec(),
                    value: self.value[..length].to_vec(),
                }),
                // Removed since the list was made.
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error.into()),
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }
}
