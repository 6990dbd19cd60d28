//! One path of the tree with everything a Linux file system keeps about it.

use crate::{ObjectId, TreePath};

/// The longest xattr name, in bytes (Linux `XATTR_NAME_MAX`).
pub const MAX_XATTR_NAME: usize = 255;
/// The longest xattr value, in bytes (Linux `XATTR_SIZE_MAX`).
pub const MAX_XATTR_VALUE: usize = 65_536;
/// The most xattrs of one entry.
pub const MAX_XATTRS: usize = 1024;
/// The most bytes of all names and values of one entry's xattrs.
pub const MAX_XATTR_BYTES: usize = 1 << 20;
/// The longest symbolic link target, in bytes.
pub const MAX_TARGET: usize = 4095;
/// The largest regular file, in bytes (2^60).
pub const MAX_SIZE: u64 = 1 << 60;

/// A modification time. Before 1970 `sec` is negative; `nsec` always counts forward, below 1,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: u32,
}

/// An extended attribute: full name with its namespace (`security.capability`), raw value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Full name, 1 to 255 bytes, no NUL.
    pub name: Vec<u8>,
    /// At most 65,536 bytes.
    pub value: Vec<u8>,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file; an empty one has the id [`ObjectId::EMPTY`] and is no object of any pack.
    Regular {
        /// Bytes.
        size: u64,
        /// The content's name.
        id: ObjectId,
    },
    /// A symbolic link.
    Symlink {
        /// 1 to 4,095 bytes, no NUL.
        target: Vec<u8>,
    },
    /// A character device; 0:0 too, which an overlay takes for a whiteout.
    CharDevice {
        /// At most 2^12 - 1.
        major: u32,
        /// At most 2^20 - 1.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// At most 2^12 - 1.
        major: u32,
        /// At most 2^20 - 1.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// One more name of an earlier entry that is not a directory. All else about it is that entry's.
    HardLink {
        /// The ordinal of the first name, counted from 0.
        to: u32,
    },
}

/// One path of the tree. For a [`Kind::HardLink`] all fields but `path` are zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// Permission bits, set-id bits and sticky bit: at most `0o7777`.
    pub perm: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Sorted by name, no name twice.
    pub xattrs: Vec<Xattr>,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// An entry with nothing but a path and what it is; root's, mode 0, epoch.
    pub fn new(path: TreePath, kind: Kind) -> Self {
        Self {
            path,
            perm: 0,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: Vec::new(),
            kind,
        }
    }

    /// The object that holds this entry's content, if it has one: id and size of a regular file that is not empty.
    pub fn object(&self) -> Option<(ObjectId, u64)> {
        match self.kind {
            Kind::Regular { size, id } if size > 0 => Some((id, size)),
            _ => None,
        }
    }
}
