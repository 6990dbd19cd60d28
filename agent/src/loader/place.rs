//! Where a disk's boot loader is: by the `etc/fstab` of its plain system, whatever is mounted at `/boot` now.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{MSDOS_SUPER_MAGIC, statfs};

use super::{Kind, Loader, grub, read};
use crate::error::{Error, Result};
use crate::partition::Visit;

/// Where its partition is mounted meanwhile.
const AT: &str = "/run/reclone/boot";
/// File systems that boot loaders read.
const FIT: [&str; 5] = ["ext4", "xfs", "btrfs", "f2fs", "vfat"];
/// Where the EFI system partition, or another one that the loader reads, may be.
const ESP: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

pub fn find(disk: &Path) -> Result<Loader> {
    let fstab = read(&disk.join("etc/fstab"))?;
    let mounted = mounted(&fstab, "/boot")?;
    let boot = mounted
        .as_ref()
        .map_or(disk.join("boot"), |it| it.top().into());
    let folders = ["grub", "grub2"].map(|name| boot.join(name));
    let grub = folders.into_iter().find(|it| it.join("grub.cfg").exists());
    if let Some(home) = &grub
        && grub::reads_custom(&read(&home.join("grub.cfg"))?)
    {
        let known_as = Path::new("/boot").join(home.file_name().unwrap_or_default());
        return Ok(Loader::at(Kind::Grub, home.clone()).keeping(mounted, known_as));
    }
    drop(mounted);
    for name in ESP {
        let found = self::mounted(&fstab, name)?;
        let home = found.as_ref().map(|it| it.top().to_owned());
        if let Some(home) = home.filter(|it| is_bls(it)) {
            return Ok(Loader::at(Kind::Bls, home).keeping(found, name.into()));
        }
    }
    Err(Error::Loader(match grub {
        Some(home) => format!(
            "{} does not read custom.cfg: run `update-grub` in the plain system (reclone=off), with /etc/grub.d/41_custom executable",
            home.join("grub.cfg").display()
        ),
        None => "this disk has no boot loader that reclone knows: no /boot/grub/grub.cfg, and no loader/entries on a FAT, by its /etc/fstab".into(),
    }))
}

/// Whether systemd-boot has its files there: on a FAT, which is all that firmware reads. Elsewhere such a folder is GRUB's own, as Fedora has it.
fn is_bls(top: &Path) -> bool {
    let loader = top.join("loader");
    let has_files = fs::metadata(loader.join("entries")).is_ok_and(|it| it.is_dir())
        || loader.join("loader.conf").exists();
    has_files && statfs(top).is_ok_and(|it| it.filesystem_type() == MSDOS_SUPER_MAGIC)
}

/// The partition that fstab has at this place, mounted.
pub fn mounted(fstab: &str, place: &str) -> Result<Option<Visit>> {
    let device = fstab.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let device = fields.next().filter(|it| !it.starts_with('#'))?;
        (fields.next()?.trim_end_matches('/') == place).then_some(device)
    });
    let visit = |device: &str| Visit::begin(device, Path::new(AT), &FIT);
    device.map(visit).transpose()
}
