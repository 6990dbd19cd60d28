//! A folder beside what it is for, on the same mount, for root's eyes only: what is made there is whole before it is moved to its
//! place, and what was at that place is moved there before it is removed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use log::warn;
use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, fremovexattr, mkdirat, openat};
use rustix::io::Errno;

use crate::place::{look, remove};

/// Its name. One that is left by a run that was killed goes with the next.
pub const NAME: &str = ".reclone-restore";

/// The folder, until it is dropped.
#[derive(Debug)]
pub struct Aside {
    parent: OwnedFd,
    folder: OwnedFd,
}

impl Aside {
    /// A new one in `parent`. Fails with `WouldBlock` where another process works in one.
    pub fn create(parent: impl AsFd) -> io::Result<Self> {
        let parent = parent.as_fd().try_clone_to_owned()?;
        let folder = match Self::make(&parent) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::clear(&parent)?;
                Self::make(&parent)?
            }
            made => made?,
        };
        Ok(Self { parent, folder })
    }

    fn make(parent: &OwnedFd) -> io::Result<OwnedFd> {
        mkdirat(parent, NAME, Mode::RWXU)?;
        let folder = open(parent)?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        // What is made here must not take over anything from the folders above.
        let _ = fremovexattr(&folder, c"system.posix_acl_default");
        fchmod(&folder, Mode::RWXU)?;
        Ok(folder)
    }

    /// Removes what has the name, unless it is in use. Nobody but root can make one that is root's.
    fn clear(parent: &OwnedFd) -> io::Result<()> {
        let found = look(parent, NAME.as_bytes())?;
        let is_own = found.is_some_and(|found| found.stx_uid == 0);
        if is_own && let Ok(folder) = open(parent) {
            flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        }
        remove(parent, NAME.as_bytes())
    }

    /// The folder.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }
}

fn open(parent: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, NAME, flags, Mode::empty())
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.parent, NAME.as_bytes()) {
            warn!("can not remove {NAME}: {error}");
        }
    }
}
