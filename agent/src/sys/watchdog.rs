//! The kernel's watchdogs: a timer that starts the machine again if nobody stops it. The interface is that of Linux
//! `Documentation/watchdog/watchdog-api.rst`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use libc::c_int;

/// The first watchdog there is.
pub const DEVICE: &str = "/dev/watchdog";
/// Whether a timer that runs can be stopped: what its driver says.
const NO_WAY_OUT: &str = "/sys/class/watchdog/watchdog0/nowayout";
/// With this last word, a watchdog that is closed stops.
const STOP: &[u8] = b"V";

mod ioctl {
    //! `include/uapi/linux/watchdog.h`.
    #![allow(missing_docs)]
    nix::ioctl_readwrite!(set_timeout, b'W', 6, super::c_int);
}

/// Starts the timer at `device`: the machine starts again after this time, unless [`stop`] comes first or somebody else takes the timer over.
/// Fails where nobody could stop it, where somebody has it, and where it can not wait so long; then it does not run.
pub fn start(device: &Path, time: Duration) -> io::Result<()> {
    if fs::read(NO_WAY_OUT).is_ok_and(|text| text.starts_with(b"1")) {
        return Err(io::Error::other("it can not be stopped"));
    }
    let mut watchdog = open(device)?;
    let wanted = c_int::try_from(time.as_secs()).unwrap_or(c_int::MAX);
    let mut seconds = wanted;
    // SAFETY: the call reads and writes the number that the pointer leads to, and nothing else.
    let set = unsafe { ioctl::set_timeout(watchdog.as_raw_fd(), &raw mut seconds) };
    if set.is_err() || seconds < wanted {
        watchdog.write_all(STOP)?;
        return Err(io::Error::other("it can not wait so long"));
    }
    // Closed without the word, it runs on.
    Ok(())
}

/// Stops the timer. Fails where somebody else has it, who is then in charge.
pub fn stop(device: &Path) -> io::Result<()> {
    open(device)?.write_all(STOP)
}

fn open(device: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(device)
}
