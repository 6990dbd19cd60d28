//! GRUB as BIOS starts it: boot code in the first sector of the disk, and what that loads in a partition of its own. Where the one finds the
//! other is written into both, as `grub-bios-setup` does; that one wants a disk which the system has.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::gpt::{FIRST_SECTOR, Partition};
use crate::image::run;
use crate::site::Site;

const FOLDER: &str = "/usr/lib/grub/i386-pc";
const MODULES: &str = "biosdisk part_gpt ext2 linux serial normal search search_label echo boot test configfile password";
/// What sfdisk calls the partition.
const KIND: &str = "21686148-6449-6E6F-744E-656564454649";
/// Bytes of such a partition.
const LENGTH: u64 = 1 << 20;
/// Bytes of boot code, before the partition table.
const BOOT_CODE: usize = 440;
/// Where the boot code has the sector to load, and that sector the one behind it.
const PLACES: [u64; 2] = [0x5c, 0x1f4];

/// Makes `bios.img`, which has to be the first partition of the disk, of a GRUB with this configuration.
pub fn grub(site: &Site, config: &str) -> io::Result<Partition> {
    let (config_file, image) = (site.path("grub.cfg"), site.path("bios.img"));
    fs::write(&config_file, config)?;
    run(Command::new("grub-mkimage")
        .args(["-O", "i386-pc", "-p", "/boot/grub", "-c"])
        .arg(&config_file)
        .arg("-o")
        .arg(&image)
        .args(MODULES.split(' ')))?;
    let file = File::options().write(true).open(&image)?;
    file.write_all_at(&(FIRST_SECTOR + 1).to_le_bytes(), PLACES[1])?;
    file.set_len(LENGTH)?;
    Ok(Partition {
        name: "bios",
        kind: KIND,
        image,
    })
}

/// Writes the boot code to a disk with that partition.
pub fn write_boot_code(disk: &Path) -> io::Result<()> {
    let mut code = fs::read(Path::new(FOLDER).join("boot.img"))?;
    code.truncate(BOOT_CODE);
    let disk = File::options().write(true).open(disk)?;
    disk.write_all_at(&code, 0)?;
    disk.write_all_at(&FIRST_SECTOR.to_le_bytes(), PLACES[0])
}
