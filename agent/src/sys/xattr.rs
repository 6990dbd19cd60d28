//! Extended attributes of files that are open or at a path that is ours.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// The largest list of names, and the largest value, that Linux gives.
const MAX: usize = 65_536;

/// An xattr: its name and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Every xattr of what is at `path`, a link itself and not what it leads to, in no order. A file system without any has none.
pub fn read(path: &Path) -> io::Result<Vec<Pair>> {
    read_with(
        |names| llistxattr(path, names),
        |name, value| lgetxattr(path, name, value),
    )
}

/// Every xattr of an open file or folder, in no order.
pub fn read_open(file: impl AsFd) -> io::Result<Vec<Pair>> {
    read_with(
        |names| flistxattr(&file, names),
        |name, value| fgetxattr(&file, name, value),
    )
}

fn read_with(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Vec<Pair>> {
    // Most files have few and short ones.
    let mut few = [0; 1024];
    let names = match list(&mut few) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            let mut all = vec![0; MAX];
            let length = list(&mut all)?;
            all.truncate(length);
            all
        }
        listed => few[..listed?].to_vec(),
    };
    let names = names.split(|byte| *byte == 0);
    let mut found = Vec::new();
    let mut value = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        value.resize(MAX, 0);
        let size = get(name, &mut value)?;
        found.push((name.to_owned(), value[..size].to_owned()));
    }
    Ok(found)
}

/// The xattrs of a path, sorted by name; without those by which an overlay marks the files of its layers.
pub fn all(path: &Path) -> io::Result<Vec<Pair>> {
    let mut found = read(path)?;
    found.retain(|(name, _)| !name.starts_with(b"trusted.overlay."));
    found.sort();
    Ok(found)
}

/// Whether a path has this xattr.
pub fn has(path: &Path, wanted: &[u8]) -> io::Result<bool> {
    Ok(read(path)?.iter().any(|(name, _)| name == wanted))
}

/// Copies the xattrs of `from` whose names `wanted` says yes to; others that `to` has stay.
pub fn copy(from: &Path, to: &Path, wanted: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let found = read(from)?;
    for (name, value) in found.iter().filter(|(name, _)| wanted(name)) {
        lsetxattr(to, &**name, value, XattrFlags::empty())?;
    }
    Ok(())
}
