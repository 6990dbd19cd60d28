//! Another kernel, loaded beside the running one, which starts it: kexec_file_load(2), and reboot(2).

use std::convert::Infallible;
use std::ffi::{CString, c_int, c_ulong};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::reboot::{RebootMode, reboot};

/// `KEXEC_FILE_UNLOAD` of Linux `include/uapi/linux/kexec.h`.
const UNLOAD: c_ulong = 1;

/// Has the kernel read another one, with its initramfs and command line. Nothing starts yet.
pub fn load(kernel: &File, initramfs: &File, command_line: &str) -> io::Result<()> {
    let command_line = CString::new(command_line)?;
    call(kernel.as_raw_fd(), initramfs.as_raw_fd(), &command_line, 0)
}

/// Has the kernel forget what was loaded.
pub fn unload() -> io::Result<()> {
    call(-1, -1, c"", UNLOAD)
}

/// Starts what was loaded, at once: no disk is synced or unmounted. Returns only where it can not.
pub fn start() -> io::Result<Infallible> {
    Ok(reboot(RebootMode::RB_KEXEC)?)
}

/// Starts the machine again, at once: no disk is synced or unmounted. Returns only where it can not.
pub fn restart() -> io::Result<Infallible> {
    Ok(reboot(RebootMode::RB_AUTOBOOT)?)
}

fn call(
    kernel: c_int,
    initramfs: c_int,
    command_line: &std::ffi::CStr,
    flags: c_ulong,
) -> io::Result<()> {
    let length = command_line.count_bytes() + 1;
    // SAFETY: the kernel reads `length` bytes of a text that lives until the call returns, and the files by their descriptors.
    let done = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel,
            initramfs,
            length,
            command_line.as_ptr(),
            flags,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
