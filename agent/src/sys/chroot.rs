//! A program that has another folder as its root.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The program `name` of the system at `root`, to be run there.
pub fn command(root: &Path, name: &str) -> io::Result<Command> {
    let root = CString::new(root.as_os_str().as_bytes())?;
    let mut command = Command::new(name);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    // SAFETY: between fork and exec there are two system calls, which take no memory.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::chroot(root.as_c_str())?;
            Ok(nix::unistd::chdir(c"/")?)
        });
    }
    Ok(command)
}
