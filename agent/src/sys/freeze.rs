//! A file system as somebody reads it who does not replay its journal: a boot loader. Freezing writes everything to its own place.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

mod ioctl {
    //! `FIFREEZE` and `FITHAW` of Linux `include/uapi/linux/fs.h`.
    #![allow(missing_docs)]
    nix::ioctl_readwrite!(freeze, b'X', 119, super::c_int);
    nix::ioctl_readwrite!(thaw, b'X', 120, super::c_int);
}

/// When this returns, a reader that knows nothing of a journal sees what was written to the file system of this folder. Nobody can write to
/// it for a moment. One that can not be frozen (FAT) has no journal.
pub fn settle(folder: &File) -> io::Result<()> {
    nix::unistd::syncfs(folder)?;
    // Ended between the two, this process would leave the disk frozen.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let settled = freeze_and_thaw(folder);
    mask.thread_set_mask()?;
    settled
}

fn freeze_and_thaw(folder: &File) -> io::Result<()> {
    let mut unused = 0;
    // SAFETY: the kernel looks at the number at most.
    match unsafe { ioctl::freeze(folder.as_raw_fd(), &raw mut unused) } {
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        frozen => frozen?,
    };
    loop {
        // SAFETY: as above.
        match unsafe { ioctl::thaw(folder.as_raw_fd(), &raw mut unused) } {
            Err(Errno::EINTR) => {}
            thawed => return Ok(thawed.map(drop)?),
        }
    }
}
