//! The root partition, moved aside for as long as the machine runs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use log::warn;
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::mount;

/// What a boot does with the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It writes.
    Write,
    /// It leaves it as it is.
    Read,
}

/// The partition's mount at its place in `/run`.
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Moves the mount at `root` to `path`. Makes it writable if that is `wanted` and where it can be: a disk that can not be written to may
    /// have a generation to boot all the same. Where it is not wanted, it becomes read-only. On an error it is where it was.
    pub fn take(root: &Path, path: &Path, wanted: Access) -> Result<Disk> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(Error::system("can not make the folder", path))?;
        move_mount(root, path).map_err(Error::system(
            "can not move aside the root partition mounted at",
            root,
        ))?;
        // A remount writes out everything that is pending.
        let remounted = match (wanted, mount::is_writable(path)) {
            (Access::Write, false) => mount::remount_writable(path),
            (Access::Read, true) => mount::remount_read_only(path),
            _ => Ok(()),
        };
        if let Err(error) = remounted {
            warn!("{}: {error}", path.display());
        }
        Ok(Disk { path: path.into() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the mount back to `root`. It stays as writable as it is.
    pub fn give_back(self, root: &Path) -> Result<()> {
        move_mount(&self.path, root).map_err(Error::system(
            "can not put the root partition back at",
            root,
        ))
    }
}

/// Makes those that are writable read-only, and gives them.
pub fn make_read_only<'a>(disks: &[&'a Path]) -> Vec<&'a Path> {
    let mut writable = disks.to_vec();
    writable.retain(|disk| mount::is_writable(disk));
    for disk in &writable {
        if let Err(error) = mount::remount_read_only(disk) {
            warn!("{} can not be made read-only: {error}", disk.display());
        }
    }
    writable
}

/// Moves a mount; where mounts spread to other namespaces, the one that holds `from` must stop that first.
fn move_mount(from: &Path, to: &Path) -> Result<(), Errno> {
    match mount::move_mount(from, to) {
        Err(Errno::EINVAL) => {
            mount::make_private(Path::new("/"))?;
            mount::move_mount(from, to)
        }
        moved => moved,
    }
}
