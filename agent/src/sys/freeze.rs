//! A file system as somebody reads it who does not replay its journal: a boot loader. A checkpoint of ext4's journal writes everything to
//! its own place, and so does freezing.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

mod ioctl {
    //! `FIFREEZE` and `FITHAW` of Linux `include/uapi/linux/fs.h`, `EXT4_IOC_CHECKPOINT` of `include/uapi/linux/ext4.h`.
    #![allow(missing_docs)]
    nix::ioctl_readwrite!(freeze, b'X', 119, super::c_int);
    nix::ioctl_readwrite!(thaw, b'X', 120, super::c_int);
    nix::ioctl_write_ptr!(checkpoint, b'f', 43, u32);
}

/// When this returns, a reader that knows nothing of a journal sees what was written to the file system of this folder. Where that can not
/// be had from the journal, nobody can write to it for a moment. One that can not be frozen (FAT) has no journal.
pub fn settle(folder: &File) -> io::Result<()> {
    nix::unistd::syncfs(folder)?;
    if checkpoint(folder)? {
        return Ok(());
    }
    // Ended between the two, this process would leave the disk frozen; nothing keeps it from being killed.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let settled = freeze_and_thaw(folder);
    mask.thread_set_mask()?;
    match settled? {
        true => Ok(()),
        // FAT's `syncfs` leaves what it wrote in the disk's own cache.
        false => folder.sync_all(),
    }
}

/// Has ext4 write to their own places what its journal has of the file system of this folder. Whether it can: Linux 5.14 and later.
pub fn checkpoint(folder: &File) -> io::Result<bool> {
    // SAFETY: the kernel reads one number.
    match unsafe { ioctl::checkpoint(folder.as_raw_fd(), &0) } {
        // Without a journal, what is synced is in its place.
        Ok(_) | Err(Errno::ENODEV) => Ok(true),
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether it can be frozen.
fn freeze_and_thaw(folder: &File) -> io::Result<bool> {
    let mut unused = 0;
    // SAFETY: the kernel looks at the number at most.
    match unsafe { ioctl::freeze(folder.as_raw_fd(), &raw mut unused) } {
        Err(Errno::EOPNOTSUPP) => return Ok(false),
        frozen => frozen?,
    };
    loop {
        // SAFETY: as above.
        match unsafe { ioctl::thaw(folder.as_raw_fd(), &raw mut unused) } {
            Err(Errno::EINTR) => {}
            thawed => return Ok(thawed.map(|_| true)?),
        }
    }
}
