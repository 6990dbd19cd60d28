//! Copies of files and folders with all that Linux keeps about them, from trees that nobody works in meanwhile. No symbolic link is followed.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, lremovexattr, mknodat, utimensat,
};
use rustix::io::Errno;

use crate::pool::create_new;
use crate::sys::xattr;

/// An overlay's own marks say something about the layer that they are in, and nothing about the file.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Makes `to`, which must not be there, a copy of the file, link, device or pipe `from`. A folder comes without what is in it. Syncs nothing.
pub fn node(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    make(from, to, &metadata)?;
    attributes(from, to, &metadata)
}

/// Makes `to`, which must not be there, a copy of `from` and, if that is a folder, of all in it but what is mounted there. Hard links in
/// it stay links; sockets are left out. Syncs nothing; what an error leaves at `to` is the caller's.
pub fn tree(from: &Path, to: &Path) -> io::Result<()> {
    let device = fs::symlink_metadata(from)?.dev();
    let mut links = HashMap::new();
    below(from, to, device, &mut links)
}

fn below(from: &Path, to: &Path, device: u64, links: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.file_type().is_socket() {
        return Ok(());
    }
    if !metadata.is_dir() && metadata.nlink() > 1 {
        if let Some(first) = links.get(&metadata.ino()) {
            return fs::hard_link(first, to);
        }
        links.insert(metadata.ino(), to.to_owned());
    }
    make(from, to, &metadata)?;
    if metadata.is_dir() && metadata.dev() == device {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            below(&entry.path(), &to.join(entry.file_name()), device, links)?;
        }
    }
    // A folder's times are changed by what is put into it.
    attributes(from, to, &metadata)
}

fn make(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return data(&mut File::open(from)?, &mut create_new(to)?, metadata);
    }
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_dir() {
        return fs::create_dir(to);
    }
    let kind = FileType::from_raw_mode(metadata.mode());
    Ok(mknodat(
        CWD,
        to,
        kind,
        Mode::from_bits_truncate(0o600),
        metadata.rdev(),
    )?)
}

/// Copies the content, and leaves holes where there are some.
fn data(from: &mut File, to: &mut File, metadata: &Metadata) -> io::Result<()> {
    if metadata.blocks() * 512 >= metadata.len() {
        return io::copy(from, to).map(drop);
    }
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(&*from, rustix::fs::SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            start => start?,
        };
        let end = rustix::fs::seek(&*from, rustix::fs::SeekFrom::Hole(start))?;
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        io::copy(&mut Read::by_ref(from).take(end - start), to)?;
        at = end;
    }
    to.flush()?;
    to.set_len(metadata.len())
}

/// Gives `to` owner, mode, xattrs and times of `from`, which `metadata` is of.
pub fn attributes(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    // The folder that it is in may have given it some.
    for acl in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        let _ = lremovexattr(to, acl);
    }
    // After the owner, whose change takes capabilities away.
    xattr::copy(from, to, |name| !name.starts_with(OVERLAY))?;
    if !metadata.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    let time = |sec: i64, nsec: i64| Timespec {
        tv_sec: sec,
        tv_nsec: nsec as _,
    };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether two files are the same to all who look at them. Files above 1 MiB are believed when size and time are the same.
pub fn is_same(left: &Path, right: &Path) -> io::Result<bool> {
    const READ_UP_TO: u64 = 1 << 20;
    let (a, b) = (fs::symlink_metadata(left)?, fs::symlink_metadata(right)?);
    let facts = |it: &Metadata| (it.mode(), it.uid(), it.gid(), it.len(), it.rdev());
    if facts(&a) != facts(&b) || xattr::all(left)? != xattr::all(right)? {
        return Ok(false);
    }
    if a.is_symlink() {
        return Ok(fs::read_link(left)? == fs::read_link(right)?);
    }
    let times = |it: &Metadata| (it.mtime(), it.mtime_nsec());
    match a.is_file() && a.len() <= READ_UP_TO {
        true => Ok(fs::read(left)? == fs::read(right)?),
        false => Ok(times(&a) == times(&b)),
    }
}

/// Bytes of disk that a copy of `from` takes.
pub fn size(from: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(from)?;
    let mut sum = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.dev() == metadata.dev() {
                sum += size(&path)?;
            }
        }
    }
    Ok(sum)
}
