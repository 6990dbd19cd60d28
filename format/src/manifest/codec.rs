//! One entry as bytes, and the rules that hold within one entry.

use std::io::{Read, Write};

use super::STRUCTURE;
use crate::entry::*;
use crate::tree_path::MAX_PATH;
use crate::wire::{Reader, Writer};
use crate::{Error, ObjectId, Result, TreePath};

const DIRECTORY: u8 = 1;
const REGULAR: u8 = 2;
const SYMLINK: u8 = 3;
const CHAR_DEVICE: u8 = 4;
const BLOCK_DEVICE: u8 = 5;
const FIFO: u8 = 6;
const SOCKET: u8 = 7;
const HARD_LINK: u8 = 8;

/// Reads the entry that follows the one at `previous`.
pub(super) fn read<R: Read>(fields: &mut Reader<R>, previous: &TreePath) -> Result<Entry> {
    let tag = fields.u8()?;
    let path = read_path(fields, previous)?;
    if tag == HARD_LINK {
        let to = fields.u32()?;
        return Ok(Entry::new(path, Kind::HardLink { to }));
    }
    // In one piece: manifests are read whole, again and again.
    let status = Status::of(&fields.array()?)?;
    let xattrs = read_xattrs(fields, status.xattrs)?;
    let kind = match tag {
        DIRECTORY => Kind::Directory,
        REGULAR => Kind::Regular {
            size: fields.u64()?,
            id: ObjectId::from_bytes(fields.array()?),
        },
        SYMLINK => {
            let length = usize::from(fields.u16()?);
            Kind::Symlink {
                target: fields.bytes(length, MAX_TARGET, "a link target")?,
            }
        }
        CHAR_DEVICE => Kind::CharDevice {
            major: fields.u32()?,
            minor: fields.u32()?,
        },
        BLOCK_DEVICE => Kind::BlockDevice {
            major: fields.u32()?,
            minor: fields.u32()?,
        },
        FIFO => Kind::Fifo,
        SOCKET => Kind::Socket,
        other => return Err(fields.bad(format!("an entry has the unknown type {other}"))),
    };
    let entry = Entry {
        path,
        perm: status.perm,
        uid: status.uid,
        gid: status.gid,
        mtime: status.mtime,
        xattrs,
        kind,
    };
    check(&entry)?;
    Ok(entry)
}

/// What stands between the path and the xattrs.
struct Status {
    perm: u16,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    /// How many there are.
    xattrs: usize,
}

impl Status {
    fn of(bytes: &[u8; 24]) -> Result<Self> {
        let mut fields = Reader::new(&bytes[..], STRUCTURE);
        Ok(Self {
            perm: fields.u16()?,
            uid: fields.u32()?,
            gid: fields.u32()?,
            mtime: Timestamp {
                sec: fields.i64()?,
                nsec: fields.u32()?,
            },
            xattrs: usize::from(fields.u16()?),
        })
    }
}

fn read_path<R: Read>(fields: &mut Reader<R>, previous: &TreePath) -> Result<TreePath> {
    let shared = usize::from(fields.u16()?);
    let length = usize::from(fields.u16()?);
    let start = match previous.as_bytes().get(..shared) {
        Some(start) => start,
        None => {
            return Err(fields.bad("a path shares more bytes with the one before than that has"));
        }
    };
    let mut path = Vec::with_capacity(shared + length.min(MAX_PATH));
    path.extend_from_slice(start);
    fields.append(length, MAX_PATH, "a path", &mut path)?;
    if length > 0 && path.get(shared) == previous.as_bytes().get(shared) {
        return Err(fields.bad("a path repeats a byte that it shares with the one before"));
    }
    TreePath::after(shared, path)
}

fn read_xattrs<R: Read>(fields: &mut Reader<R>, count: usize) -> Result<Vec<Xattr>> {
    let mut xattrs = Vec::with_capacity(count.min(MAX_XATTRS));
    let mut left = MAX_XATTR_BYTES;
    for _ in 0..count {
        let name_length = usize::from(fields.u8()?);
        let value_length = fields.u32()? as usize;
        let name = fields.bytes(name_length, left.min(MAX_XATTR_NAME), "an xattr name")?;
        left -= name.len();
        let value = fields.bytes(value_length, left.min(MAX_XATTR_VALUE), "an xattr value")?;
        left -= value.len();
        xattrs.push(Xattr { name, value });
    }
    Ok(xattrs)
}

/// Writes `entry`, which [`check`] accepts, after the one at `previous`.
pub(super) fn write<W: Write>(
    fields: &mut Writer<W>,
    entry: &Entry,
    previous: &TreePath,
) -> Result<()> {
    fields.u8(tag(&entry.kind))?;
    let path = entry.path.as_bytes();
    let shared = path
        .iter()
        .zip(previous.as_bytes())
        .take_while(|(a, b)| a == b)
        .count();
    fields.u16(shared as u16)?;
    fields.u16((path.len() - shared) as u16)?;
    fields.bytes(&path[shared..])?;
    if let Kind::HardLink { to } = entry.kind {
        return fields.u32(to);
    }
    fields.u16(entry.perm)?;
    fields.u32(entry.uid)?;
    fields.u32(entry.gid)?;
    fields.i64(entry.mtime.sec)?;
    fields.u32(entry.mtime.nsec)?;
    fields.u16(entry.xattrs.len() as u16)?;
    for Xattr { name, value } in &entry.xattrs {
        fields.u8(name.len() as u8)?;
        fields.u32(value.len() as u32)?;
        fields.bytes(name)?;
        fields.bytes(value)?;
    }
    match &entry.kind {
        Kind::Regular { size, id } => {
            fields.u64(*size)?;
            fields.bytes(id.as_bytes())
        }
        Kind::Symlink { target } => {
            fields.u16(target.len() as u16)?;
            fields.bytes(target)
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            fields.u32(*major)?;
            fields.u32(*minor)
        }
        Kind::Directory | Kind::Fifo | Kind::Socket | Kind::HardLink { .. } => Ok(()),
    }
}

fn tag(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => DIRECTORY,
        Kind::Regular { .. } => REGULAR,
        Kind::Symlink { .. } => SYMLINK,
        Kind::CharDevice { .. } => CHAR_DEVICE,
        Kind::BlockDevice { .. } => BLOCK_DEVICE,
        Kind::Fifo => FIFO,
        Kind::Socket => SOCKET,
        Kind::HardLink { .. } => HARD_LINK,
    }
}

/// The rules of one entry on its own. Writing truncates no field of an entry that passes.
pub(super) fn check(entry: &Entry) -> Result<()> {
    let problem = if entry.perm > 0o7777 {
        Some("its permissions exceed 07777")
    } else if entry.uid == u32::MAX || entry.gid == u32::MAX {
        Some("its owner is 2^32-1, which no file can have")
    } else if entry.mtime.nsec >= 1_000_000_000 {
        Some("its nanoseconds are a second or more")
    } else {
        check_xattrs(&entry.xattrs).or_else(|| check_kind(entry))
    };
    match problem {
        None => Ok(()),
        Some(reason) => Err(Error::malformed(
            STRUCTURE,
            format!("{}: {reason}", entry.path),
        )),
    }
}

fn check_xattrs(xattrs: &[Xattr]) -> Option<&'static str> {
    let bytes: usize = xattrs
        .iter()
        .map(|xattr| xattr.name.len() + xattr.value.len())
        .sum();
    let bad_name =
        |name: &[u8]| name.is_empty() || name.len() > MAX_XATTR_NAME || name.contains(&0);
    if xattrs.len() > MAX_XATTRS || bytes > MAX_XATTR_BYTES {
        Some("it has too many xattrs")
    } else if xattrs
        .iter()
        .any(|xattr| bad_name(&xattr.name) || xattr.value.len() > MAX_XATTR_VALUE)
    {
        Some("an xattr's name or value is not one that Linux can hold")
    } else if !xattrs.windows(2).all(|pair| pair[0].name < pair[1].name) {
        Some("its xattrs are not sorted, or one is there twice")
    } else {
        None
    }
}

fn check_kind(entry: &Entry) -> Option<&'static str> {
    match &entry.kind {
        Kind::Regular { size, .. } if *size > MAX_SIZE => Some("it is larger than 2^60 bytes"),
        Kind::Regular { size, id } if (*size == 0) != (*id == ObjectId::EMPTY) => {
            Some("its size and its id disagree about whether it is empty")
        }
        Kind::Symlink { target }
            if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) =>
        {
            Some("its link target is not one that Linux can hold")
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor }
            if *major >= 1 << 12 || *minor >= 1 << 20 =>
        {
            Some("its device number is not one that Linux can hold")
        }
        Kind::HardLink { .. }
            if entry.perm != 0
                || entry.uid != 0
                || entry.gid != 0
                || entry.mtime != Timestamp::default()
                || !entry.xattrs.is_empty() =>
        {
            Some("it is a further name but has metadata of its own")
        }
        _ => None,
    }
}
