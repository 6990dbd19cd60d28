//! Extended attributes of files that are open or at a path that is ours.

use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

/// The largest list of names, and the largest value, that Linux gives.
const MAX: usize = 65_536;

/// Copies the xattrs of `from` whose names `wanted` says yes to; others that `to` has stay.
pub fn copy(from: &Path, to: &Path, wanted: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let mut names = vec![0; MAX];
    let length = match llistxattr(from, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        listed => listed?,
    };
    let mut value = vec![0; MAX];
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || !wanted(name) {
            continue;
        }
        let size = lgetxattr(from, name, &mut value[..])?;
        lsetxattr(to, name, &value[..size], XattrFlags::empty())?;
    }
    Ok(())
}
