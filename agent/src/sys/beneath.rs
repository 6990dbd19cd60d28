//! Files and folders below a top folder, opened without following any symbolic link on the way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

/// Opens the folder `top` itself.
pub fn open_top(top: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(open(top, flags, Mode::empty())?)
}

/// Opens the folder `path` below `top`.
pub fn open_folder(top: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open_beneath(top, path, OFlags::DIRECTORY)
}

/// Opens the file `path` below the folder `top` to read it. Never waits for a fifo's writer.
pub fn open_file(top: &Path, path: &Path) -> io::Result<File> {
    let open = open_beneath(open_top(top)?, path, OFlags::NONBLOCK | OFlags::NOCTTY)?;
    Ok(File::from(open))
}

fn open_beneath(top: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    // The empty path is the top itself.
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(
        top,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )?)
}

/// A path of what is open, by way of `/proc`: for calls that take no descriptor.
pub fn path_of(open: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
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
