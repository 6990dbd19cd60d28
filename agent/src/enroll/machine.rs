//! What a machine has to be to become a clone, and what its owner should know of it.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::run::RUNNING_POOL;
use crate::running::Running;
use crate::sys::mount::in_initramfs;

/// File systems that can hold a pool, by what `statfs` calls them. From Linux `include/uapi/linux/magic.h`.
const KNOWN: [(&str, i64); 4] = [
    ("ext4", 0xef53),
    ("xfs", 0x5846_5342),
    ("btrfs", 0x9123_683e),
    ("f2fs", 0xf2f5_2010),
];

/// The variable of UEFI that tells: four bytes of attributes, then one that is 1.
const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Refuses in a system whose configuration is not the one that its boot reads.
pub fn check_is_plain() -> Result<()> {
    if in_initramfs() {
        return Err(Error::Usage(
            "an initramfs keeps nothing: run this in the installed system".into(),
        ));
    }
    if Path::new(RUNNING_POOL).exists() || Running::at(Path::new("/")).is_some() {
        return Err(Error::Usage(
            "what runs is a generation of the model, and what is changed in it goes: boot with reclone=off on the kernel command line and run this there"
                .into(),
        ));
    }
    Ok(())
}

/// The kind of the root file system, if it can hold a pool.
pub fn file_system() -> Result<&'static str> {
    let root = Path::new("/");
    let found = nix::sys::statfs::statfs(root).map_err(Error::system("can not look at", root))?;
    let kind = found.filesystem_type().0;
    let known = KNOWN.iter().find(|(_, magic)| *magic == kind);
    known.map(|(name, _)| *name).ok_or_else(|| {
        Error::Usage(format!(
            "the root file system, of type {kind:#x}, can not hold a pool: ext4, xfs, btrfs and f2fs can; or name a partition with `pool-device` in /etc/reclone/reclone.conf"
        ))
    })
}

/// Whether the firmware checks what it starts. Kernel and boot loader stay this machine's own; but a kernel that was checked may refuse to
/// start the generation's.
pub fn secure_boot() -> &'static str {
    match fs::read(SECURE_BOOT).as_deref() {
        Ok([.., 1]) => "Secure Boot",
        Ok(_) => "UEFI without Secure Boot",
        Err(_) if Path::new("/sys/firmware/efi").exists() => "UEFI",
        Err(_) => "no UEFI",
    }
}
