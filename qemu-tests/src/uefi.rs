//! System partitions that UEFI starts a machine from.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::gpt::{Partition, make_fat};
use crate::image::run;
use crate::site::{Site, store_word};

const GRUB_MODULES: &str = "--modules=part_gpt ext2 fat linux serial normal search search_label echo boot test configfile loadenv";
const SYSTEMD_BOOT: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// Where the firmware looks for what it starts.
const BOOT_LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// What a boot loader has to put on the kernel command line of a clone of this store.
pub fn words(store: &str) -> String {
    format!(
        "console=ttyS0 root=PARTLABEL=root ro panic=1 oops=panic {}",
        store_word(store)
    )
}

/// A partition of an image of the site.
pub fn partition(site: &Site, name: &'static str, kind: &'static str, image: &str) -> Partition {
    Partition {
        name,
        kind,
        image: site.path(image),
    }
}

fn file(site: &Site, name: &str, content: &str) -> io::Result<PathBuf> {
    let path = site.path(name);
    fs::write(&path, content)?;
    Ok(path)
}

/// Makes `esp.img` of a GRUB with this configuration.
pub fn grub(site: &Site, config: &str) -> io::Result<()> {
    let (config, loader) = (file(site, "grub.cfg", config)?, site.path("grub.efi"));
    run(Command::new("grub-mkstandalone")
        .args(["-O", "x86_64-efi", GRUB_MODULES, "-o"])
        .arg(&loader)
        .arg(format!("boot/grub/grub.cfg={}", config.display())))?;
    make_fat(&site.path("esp.img"), 64, &[(loader, BOOT_LOADER)])
}

/// Makes `esp.img` of systemd-boot, with the kernel of the site and an entry for it.
pub fn systemd_boot(site: &Site, words: &str, megabytes: u64) -> io::Result<()> {
    let entry = format!("title Debian\nlinux /vmlinuz\ninitrd /initrd\noptions {words}\n");
    let files = [
        (PathBuf::from(SYSTEMD_BOOT), BOOT_LOADER),
        (
            file(site, "loader.conf", "timeout 0\n")?,
            "loader/loader.conf",
        ),
        (
            file(site, "debian.conf", &entry)?,
            "loader/entries/debian.conf",
        ),
        (site.path("vmlinuz"), "vmlinuz"),
        (site.path("initrd"), "initrd"),
    ];
    make_fat(&site.path("esp.img"), megabytes, &files)
}
