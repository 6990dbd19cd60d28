//! The last program of a machine: unmounts everything, then switches off.
//!
//! An overlay root keeps its layers busy until the very end, so systemd alone would leave the pool's disk unclean. It
//! offers a way out: where `/run/initramfs/shutdown` can be run, systemd-shutdown makes that folder the root, with the old
//! root at `/oldroot`, and runs the program as process 1. The boot puts a copy of the agent there
//! ([`crate::boot`]), which knows by its name what it is to do. Process 1 must not end, so nothing here gives up.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};

use crate::sys::mount;

/// The name under which the agent is the shutdown program.
pub const NAME: &str = "shutdown";
/// Where mounts that are busy go meanwhile, outside the old root.
const ASIDE: &str = "/aside";
/// How often everything is tried, with a pause in between.
const PASSES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// Where systemd leaves the old root.
const OLD_ROOT: &str = "/oldroot";

/// Unmounts what is below `/oldroot`, then does what `verb` says: `poweroff`, `reboot`, `halt` or `kexec`. Does not return.
pub fn shut_down(verb: &str) -> ! {
    let left = unmount_all(Path::new(OLD_ROOT));
    for (path, error) in &left {
        eprintln!(
            "reclone: {} is still in use ({error}): making it read-only",
            path.display()
        );
        if let Err(error) = mount::remount_read_only(path) {
            eprintln!("reclone: that failed, too: {error}");
        }
    }
    nix::unistd::sync();
    if left.is_empty() {
        eprintln!("reclone: all disks are clean");
    }
    let mode = mode_of(verb);
    // A kernel without a second one loaded refuses kexec; a reboot is what comes nearest.
    for mode in [mode, RebootMode::RB_AUTOBOOT, RebootMode::RB_HALT_SYSTEM] {
        // Where it works it does not return.
        let Err(error) = reboot(mode);
        eprintln!("reclone: {mode:?} failed: {error}");
    }
    loop {
        thread::park();
    }
}

fn mode_of(verb: &str) -> RebootMode {
    match verb {
        "poweroff" => RebootMode::RB_POWER_OFF,
        "halt" => RebootMode::RB_HALT_SYSTEM,
        "kexec" => RebootMode::RB_KEXEC,
        _ => RebootMode::RB_AUTOBOOT,
    }
}

/// Unmounts everything at and below `top`. What is left stays with its error.
///
/// The pool's disk is in use by the loop device of the image, that by the overlay, and the overlay, which is `top`, by
/// the disk's mount below it. So what is busy is moved out of `top` and tried again when all others are gone.
fn unmount_all(top: &Path) -> Vec<(PathBuf, Errno)> {
    if let Err(error) = mount::make_all_private(Path::new("/")) {
        eprintln!("reclone: mounts can not be made private: {error}");
    }
    let mut moved = 0;
    let mut left = Vec::new();
    for _ in 0..PASSES {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        left.clear();
        for path in [
            mounts_below(&table, top),
            mounts_below(&table, Path::new(ASIDE)),
        ]
        .concat()
        {
            let Err(error) = mount::unmount(&path) else {
                continue;
            };
            let aside = Path::new(ASIDE).join(moved.to_string());
            let out_of_the_way = path.starts_with(top)
                && path != top
                && fs::create_dir_all(&aside).is_ok()
                && mount::move_mount(&path, &aside).is_ok();
            moved += usize::from(out_of_the_way);
            left.push((if out_of_the_way { aside } else { path }, error));
        }
        if left.is_empty() {
            break;
        }
        // The kernel lets go of a loop device a moment after its last user.
        thread::sleep(PAUSE);
    }
    left
}

/// The mount points at and below `top` in a `/proc/self/mountinfo`, the youngest first.
fn mounts_below(table: &[u8], top: &Path) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let mut mounts: Vec<PathBuf> = points
        .map(unescape)
        .filter(|point| point.starts_with(top))
        .collect();
    mounts.reverse();
    mounts
}

/// The kernel writes white space and backslashes as a backslash and three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_mount_below_the_old_root_comes_first() {
        let table = b"1 1 0:2 / / rw - tmpfs tmpfs rw\n\
            36 1 0:30 / /oldroot rw,relatime - overlay overlay rw\n\
            40 36 254:0 / /oldroot/run/reclone/disk rw - ext4 /dev/vda rw\n\
            41 36 0:40 / /oldroot/a\\040\\134b\\09 rw - tmpfs x rw\n\
            42 1 0:41 / /oldroots rw - tmpfs y rw\n";
        let expected = [
            "/oldroot/a \\b\\09",
            "/oldroot/run/reclone/disk",
            "/oldroot",
        ];
        assert_eq!(
            mounts_below(table, Path::new("/oldroot")),
            expected.map(PathBuf::from)
        );
    }

    #[test]
    fn every_verb_of_systemd_has_its_mode() {
        let cases = [
            ("poweroff", RebootMode::RB_POWER_OFF),
            ("reboot", RebootMode::RB_AUTOBOOT),
            ("halt", RebootMode::RB_HALT_SYSTEM),
            ("kexec", RebootMode::RB_KEXEC),
            ("something new", RebootMode::RB_AUTOBOOT),
        ];
        for (verb, mode) in cases {
            assert_eq!(mode_of(verb), mode, "{verb}");
        }
    }
}
