//! Files and folders below a top folder, opened without following any symbolic link on the way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Opens the folder `top` itself.
pub fn open_top(top: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(top, flags, Mode::empty())?)
}

/// Opens the folder `path` below `top`.
pub fn open_folder(top: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let path = path.as_os_str().as_bytes();
    Ok(open(top, path, OFlags::DIRECTORY, ResolveFlags::empty())?)
}

/// Opens the file `path` below the folder `top` to read it. Never waits for a fifo's writer.
pub fn open_file(top: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let path = path.as_os_str().as_bytes();
    Ok(open(open_top(top)?, path, flags, ResolveFlags::empty())?.into())
}

/// Opens what is at `path` below `top`; the empty path is `top` itself. No link leads there, and nothing out of `top`; `further` may forbid more.
pub fn open(
    top: impl AsFd,
    path: &[u8],
    flags: OFlags,
    further: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | further;
    loop {
        match openat2(&top, path, flags, Mode::empty(), resolve) {
            // Something on the way was renamed.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}

/// A path of what is open, by way of `/proc`: for calls that take no descriptor.
pub fn path_of(open: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", open.as_fd().as_raw_fd()))
}

/// Whether `root` and every part of `folder` below it are folders and not links to some.
pub fn is_real(root: &Path, folder: &Path) -> bool {
    let mut at = root.to_owned();
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|it| it.is_dir());
    is_folder(&at)
        && folder.components().all(|part| {
            at.push(part);
            is_folder(&at)
        })
}
