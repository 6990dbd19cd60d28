//! Mounts, each named for what it is to reclone. Everything here needs root.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::Error;

const NO_DATA: Option<&str> = None;

/// Mounts an EROFS image on a block device, read-only.
pub fn erofs(device: &Path, at: &Path) -> Result<(), Errno> {
    mount(Some(device), at, Some("erofs"), MsFlags::MS_RDONLY, NO_DATA)
}

/// Mounts the file system of this kind on a block device.
pub fn disk(device: &Path, at: &Path, kind: &str) -> Result<(), Errno> {
    mount(Some(device), at, Some(kind), MsFlags::empty(), NO_DATA)
}

/// Mounts the file system of this kind on a block device that somebody brought, to be read and nothing else.
pub fn stick(device: &Path, at: &Path, kind: &str) -> Result<(), Errno> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(device), at, Some(kind), flags, NO_DATA)
}

/// Mounts an overlay with these options; read-only where it has no upper layer.
pub fn overlay(options: &OsString, at: &Path, read_only: bool) -> Result<(), Errno> {
    let flags = if read_only {
        MsFlags::MS_RDONLY
    } else {
        MsFlags::empty()
    };
    mount(
        Some("reclone"),
        at,
        Some("overlay"),
        flags,
        Some(options.as_os_str()),
    )
}

/// Mounts a new memory file system, for root's eyes only, of this size as tmpfs takes it, or of half the memory.
pub fn tmpfs(at: &Path, size: Option<&str>) -> Result<(), Errno> {
    let size = size.map_or(String::new(), |size| format!(",size={size}"));
    let options = format!("mode=0700{size}");
    mount(
        Some("reclone"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
}

/// Mounts the variables of UEFI.
pub fn efi_variables(at: &Path) -> Result<(), Errno> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("efivarfs"), at, Some("efivarfs"), flags, NO_DATA)
}

/// Moves a mount. Its parent's mount must be private, as all are in an initramfs.
pub fn move_mount(from: &Path, to: &Path) -> Result<(), Errno> {
    mount(Some(from), to, NO_DATA, MsFlags::MS_MOVE, NO_DATA)
}

/// Makes `to` show what is at `from`.
pub fn bind(from: &Path, to: &Path) -> Result<(), Errno> {
    mount(Some(from), to, NO_DATA, MsFlags::MS_BIND, NO_DATA)
}

/// Keeps mounts below `at` from spreading to other namespaces.
pub fn make_private(at: &Path) -> Result<(), Errno> {
    mount(NO_DATA, at, NO_DATA, MsFlags::MS_PRIVATE, NO_DATA)
}

/// The same for `at` and everything mounted below it.
pub fn make_all_private(at: &Path) -> Result<(), Errno> {
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(NO_DATA, at, NO_DATA, flags, NO_DATA)
}

/// Gives this process mounts of its own: what it mounts from here on nobody else sees, and it ends with the process. What others mount it sees.
pub fn part() -> crate::error::Result<()> {
    let apart = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS);
    let flags = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    let apart = apart.and_then(|()| mount(NO_DATA, "/", NO_DATA, flags, NO_DATA));
    apart.map_err(Error::system("can not part the mounts of", Path::new("/")))
}

/// Makes a mounted file system writable.
pub fn remount_writable(at: &Path) -> Result<(), Errno> {
    mount(NO_DATA, at, NO_DATA, MsFlags::MS_REMOUNT, NO_DATA)
}

/// Makes a mounted file system read-only, which writes all of it to disk.
pub fn remount_read_only(at: &Path) -> Result<(), Errno> {
    mount(
        NO_DATA,
        at,
        NO_DATA,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        NO_DATA,
    )
}

/// Takes the mount at `at` out of the tree; it goes when nobody uses it any more.
pub fn detach(at: &Path) -> Result<(), Errno> {
    umount2(at, MntFlags::MNT_DETACH)
}

/// Ends the mount at `at`.
pub fn unmount(at: &Path) -> Result<(), Errno> {
    umount2(at, MntFlags::empty())
}

/// Whether another file system begins at the folder `at`.
pub fn is_mount_point(at: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|it| it.dev()).ok();
    let own = device(at);
    own.is_some() && own != at.parent().and_then(device)
}

/// Whether the file system at `at` takes writes: it is not mounted read-only.
pub fn is_writable(at: &Path) -> bool {
    rustix::fs::access(at, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Whether this system has its root in memory, as an initramfs has.
pub fn in_initramfs() -> bool {
    use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
    /// `RAMFS_MAGIC` of Linux `include/uapi/linux/magic.h`.
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    statfs("/").is_ok_and(|it| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&it.filesystem_type()))
}

/// A path as an overlay's option takes it: its separators are escaped.
pub fn option_path(path: &Path) -> OsString {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    OsString::from_vec(escaped)
}
